package sshconfig

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/adit-ssh/adit/internal/testpeer"
)

var (
	oracleRuns = flag.Int("oracle", envInt("ADIT_ORACLE", 250), "random configurations to compare with ssh -G (ADIT_ORACLE)")
	oracleSeed = flag.Uint64("oracle-seed", 0, "seed of the random configurations; 0 takes the clock")
)

func envInt(name string, initial int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return initial
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// oracle is the installed ssh, which answers with -G.
type oracle struct {
	path    string
	modern  bool   // 10 or later
	version string // OpenSSH_9.2p1
	home    string
	env     []string
}

// newOracle finds ssh (ADIT_SSH, or the one in PATH). nss_wrapper shows it a home
// folder and a hosts file of ours.
func newOracle(t *testing.T) *oracle {
	t.Helper()
	testpeer.Need(t, "ssh", "nss_wrapper")
	o := &oracle{path: os.Getenv("ADIT_SSH"), home: t.TempDir()}
	if o.path == "" {
		o.path, _ = exec.LookPath("ssh")
	}
	out, err := exec.Command(o.path, "-V").CombinedOutput()
	m := regexp.MustCompile(`^(OpenSSH_(\d+)\.\d+\w*)`).FindSubmatch(out)
	if err != nil || m == nil {
		testpeer.Missing(t, "%s -V: %v %s", o.path, err, out)
	}
	major, _ := strconv.Atoi(string(m[2]))
	o.version, o.modern = string(m[1]), major >= 10
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{
		"passwd": fmt.Sprintf("%s:x:%s:%s::%s:/bin/sh\n", u.Username, u.Uid, u.Gid, o.home),
		"group":  fmt.Sprintf("g:x:%s:\n", u.Gid),
		"hosts":  oracleHosts,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	wrapper, _ := filepath.Glob("/usr/lib/*/libnss_wrapper.so")
	o.env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + o.home, "SHELL=/bin/sh", "ADIT_DIR=/dev", "SSH_AUTH_SOCK=/agent",
		"LD_PRELOAD=" + wrapper[0], "NSS_WRAPPER_PASSWD=" + dir + "/passwd", "NSS_WRAPPER_GROUP=" + dir + "/group", "NSS_WRAPPER_HOSTS=" + dir + "/hosts"}
	return o
}

// oracleHosts is what names there are, for both sides.
const oracleHosts = `10.1.1.1 foo.example.com foo
10.1.1.2 canon.example.net alias.example.com
10.1.1.3 db.example.com
::1 six.example.com
`

// fakeResolver knows oracleHosts.
type fakeResolver struct{}

func (fakeResolver) Resolve(_ context.Context, network, name string) (string, error) {
	for line := range strings.Lines(oracleHosts) {
		f := strings.Fields(line)
		a := netip.MustParseAddr(f[0])
		if network == "ip4" && !a.Is4() || network == "ip6" && !a.Is6() {
			continue
		}
		if slices.Contains(f[1:], strings.TrimSuffix(strings.ToLower(name), ".")) {
			return f[1], nil
		}
	}
	return "", errors.New("no such host")
}

// ask runs ssh -G. A mistake is told as an error with ssh's words.
func (o *oracle) ask(t *testing.T, args ...string) ([]string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c := exec.CommandContext(ctx, o.path, append([]string{"-G"}, args...)...)
	c.Env, c.Dir = o.env, o.home
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, &errs)
	}
	return strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n"), nil
}

// query asks ssh for its algorithms.
func (o *oracle) query(t *testing.T, what string) []string {
	t.Helper()
	out, err := exec.Command(o.path, "-Q", what).Output()
	if err != nil {
		t.Fatalf("%s -Q %s: %v", o.path, what, err)
	}
	return strings.Fields(string(out))
}

// options are Load's for a sample, in the oracle's surroundings.
func (o *oracle) options(s sample, algorithms Algorithms) Options {
	opts := Options{
		Host: s.host, RemoteUser: s.user, CommandLine: s.options, Command: s.command, Home: o.home, Algorithms: algorithms, Resolver: fakeResolver{}, Version: o.version,
		Getenv: func(name string) (string, bool) {
			for _, e := range o.env {
				if v, ok := strings.CutPrefix(e, name+"="); ok {
					return v, true
				}
			}
			return "", false
		},
	}
	if s.file != "" {
		opts.File = filepath.Join(o.home, s.file)
	}
	return opts
}

func (s sample) args(home string) []string {
	var args []string
	if s.file != "" {
		args = append(args, "-F", filepath.Join(home, s.file))
	}
	for _, opt := range s.options {
		args = append(args, "-o", opt)
	}
	if s.user != "" {
		args = append(args, "-l", s.user)
	}
	args = append(args, s.host)
	if s.command != "" {
		args = append(args, s.command)
	}
	return args
}

// What may differ between any OpenSSH and us.
var (
	// Only some builds print them: those with GSSAPI, Debian's patches to it,
	// and releases after 9.2.
	oracleAbsent = []string{"gssapiauthentication", "gssapidelegatecredentials", "gssapikeyexchange", "gssapitrustdns", "gssapirenewalforcesrekey", "gssapikexalgorithms",
		"warnweakcrypto", "obscurekeystroketiming", "channeltimeout", "revokedhostkeys"}
	// Defaults differ between releases or are patched by distributions; a value
	// that was set must agree all the same.
	oracleDefaults = []string{"forwardx11trusted", "ipqos", "identityfile", "serveraliveinterval", "xauthlocation", "securitykeyprovider"}
)

// compare returns the differences, a line each.
func compare(ssh []string, c *Config) (diffs []string, values int) {
	var b bytes.Buffer
	c.Print(&b)
	ours := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	group := func(lines []string) map[string][]string {
		m := map[string][]string{}
		for _, l := range lines {
			key, text, _ := strings.Cut(l, " ")
			m[key] = append(m[key], text)
		}
		return m
	}
	theirs, mine := group(ssh), group(ours)
	// OpenSSH prints a forward to a socket as a proxy, too.
	for _, f := range c.LocalForwards {
		if f.TargetPath != "" {
			if i := slices.Index(theirs["dynamicforward"], f.listen()); i >= 0 {
				theirs["dynamicforward"] = slices.Delete(theirs["dynamicforward"], i, i+1)
			}
		}
	}
	if slices.Equal(theirs["loglevel"], []string{"SILENT"}) { // Debian's name for QUIET
		theirs["loglevel"] = []string{"QUIET"}
	}
	keys := append(sortedKeys(theirs), sortedKeys(mine)...)
	slices.Sort(keys)
	for _, key := range slices.Compact(keys) {
		values += len(mine[key])
		switch {
		case slices.Contains(oracleAbsent, key) && (len(theirs[key]) == 0 || len(mine[key]) == 0):
		case slices.Contains(oracleDefaults, key) && c.Origin(key) == (Origin{}):
		case !slices.Equal(theirs[key], mine[key]):
			diffs = append(diffs, fmt.Sprintf("%s: got %q, want ssh's %q", key, mine[key], theirs[key]))
		}
	}
	return diffs, values
}

// compareOrder tells when keywords that both sides print come in another order.
func compareOrder(ssh []string, c *Config) (diffs []string) {
	var b bytes.Buffer
	c.Print(&b)
	theirs, ours := keysInOrder(ssh), keysInOrder(strings.Split(b.String(), "\n"))
	both := func(keys, others []string) []string {
		return slices.DeleteFunc(slices.Clone(keys), func(k string) bool {
			return !slices.Contains(others, k) || k == "revokedhostkeys" // which has moved since 9.2
		})
	}
	if a, b := both(ours, theirs), both(theirs, ours); !slices.Equal(a, b) {
		diffs = append(diffs, fmt.Sprintf("order: got %q, want ssh's %q", a, b))
	}
	return diffs
}

// setUp asks the oracle for its algorithms and for what it says without files.
func (o *oracle) setUp(t *testing.T) (Algorithms, map[string][]string) {
	base, err := o.ask(t, "-F", "none", "x")
	if err != nil {
		t.Fatal(err)
	}
	initial := func(key string) []string {
		for _, l := range base {
			if v, ok := strings.CutPrefix(l, key+" "); ok {
				return strings.Split(v, ",")
			}
		}
		return nil
	}
	keys := o.query(t, "HostKeyAlgorithms")
	a := Algorithms{
		Ciphers:      AlgorithmList{initial("ciphers"), o.query(t, "Ciphers")},
		MACs:         AlgorithmList{initial("macs"), o.query(t, "MACs")},
		Kex:          AlgorithmList{initial("kexalgorithms"), o.query(t, "KexAlgorithms")},
		HostKeys:     AlgorithmList{initial("hostkeyalgorithms"), keys},
		CASignatures: AlgorithmList{initial("casignaturealgorithms"), o.query(t, "sig")},
	}
	return a, map[string][]string{
		"Ciphers": a.Ciphers.Supported, "MACs": a.MACs.Supported, "KexAlgorithms": a.Kex.Supported, "CASignatureAlgorithms": a.CASignatures.Supported,
		"HostKeyAlgorithms": keys, "HostbasedAcceptedAlgorithms": keys, "PubkeyAcceptedAlgorithms": keys, "PubkeyAcceptedKeyTypes": keys,
	}
}

// lacking finds the keywords that come only with some libraries, or some
// distributions' patches, and that this ssh does not take.
func (o *oracle) lacking(t *testing.T) map[string]bool {
	m := map[string]bool{}
	for _, key := range []string{"ProtocolKeepAlives", "SetupTimeOut", "GSSAPIKeyExchange", "GSSAPIAuthentication", "GSSAPIDelegateCredentials", "PKCS11Provider", "Compression", "LogLevel "} {
		value, _, _ := strings.Cut(sampleValues[key], " ")
		_, err := o.ask(t, "-F", "none", "-o", key+"="+value, "x")
		m[key] = err != nil
		if strings.HasPrefix(key, "GSSAPI") { // without it, all is taken and nothing meant
			_, err := o.ask(t, "-F", "none", "-o", key+"=bogus", "x")
			m[key] = m[key] || err == nil
		}
	}
	return m
}

// TestOracle asks ssh and Load the same random questions.
func TestOracle(t *testing.T) {
	o := newOracle(t)
	algorithms, names := o.setUp(t)
	seed := *oracleSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	runs := *oracleRuns
	if testing.Short() {
		runs = min(runs, 150)
	}
	g := &grammar{algorithms: names, modern: o.modern, faults: true, lacking: o.lacking(t)}
	var values, refused, failed int
	for i := range runs {
		g.Rand = rand.New(rand.NewPCG(seed, uint64(i)))
		s := g.sample()
		if err := os.RemoveAll(o.home); err != nil {
			t.Fatal(err)
		}
		if err := s.write(o.home); err != nil {
			t.Fatal(err)
		}
		theirs, sshErr := o.ask(t, s.args(o.home)...)
		c, err := Load(t.Context(), o.options(s, algorithms))
		var diffs []string
		n := 0
		switch {
		case sshErr == nil && err == nil:
			diffs, n = compare(theirs, c)
			diffs = append(diffs, compareOrder(theirs, c)...)
		case (sshErr == nil) != (err == nil):
			diffs = []string{fmt.Sprintf("error: got %v, want as ssh %v", err, sshErr)}
		default:
			refused++
		}
		values += n
		if diffs != nil {
			t.Errorf("-oracle-seed=%d, configuration %d:\n%s%s", seed, i, s, strings.Join(diffs, "\n"))
			if failed++; failed == 5 {
				t.Fatal("and perhaps more")
			}
		}
	}
	t.Logf("%s: %d configurations, %d of them mistaken, %d values, %d differ; seed %d", o.version, runs, refused, values, failed, seed)
	if refused > runs*3/4 {
		t.Errorf("%d of %d configurations were refused by both: the grammar makes too many mistakes", refused, runs)
	}
}

// TestGrammarCoversEveryKeyword keeps the comparison from forgetting one.
func TestGrammarCoversEveryKeyword(t *testing.T) {
	for _, k := range keywords {
		if _, ok := sampleValues[k.name]; !ok && !slices.Contains([]string{"Host", "Match", "Include"}, k.name) {
			t.Errorf("the grammar has no values for %s", k.name)
		}
	}
}
