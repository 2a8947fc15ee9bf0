package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/adit-ssh/adit/internal/algo"
	"github.com/adit-ssh/adit/internal/forward"
	"github.com/adit-ssh/adit/internal/setup"
)

// sshOptions is OpenSSH's option string.
const sshOptions = "1246ab:c:e:fgi:kl:m:no:p:qstvxAB:CD:E:F:GI:J:KL:MNO:P:Q:R:S:TVw:W:XYy"

// sshArgs is the command line of `adit ssh`.
type sshArgs struct {
	setup.Options
	forwards   []forward.Spec
	stdio      *forward.Spec // -W
	noCommand  bool          // -N
	noStdin    bool          // -n
	noPty      bool          // -T
	quiet      bool
	verbose    int
	gateway    bool
	exitOnFail bool // ExitOnForwardFailure
	version    bool
	command    []string
}

// parseSSH reads the command line: flags, host, flags, command.
func parseSSH(args []string) (*sshArgs, error) {
	a := new(sshArgs)
	opts, rest, err := getopt(sshOptions, args)
	if err != nil {
		return nil, err
	}
	if len(rest) > 0 {
		if err := a.setHost(rest[0]); err != nil {
			return nil, err
		}
		var more []option
		if more, rest, err = getopt(sshOptions, rest[1:]); err != nil {
			return nil, err
		}
		opts = append(opts, more...)
		a.command = rest
	}
	for _, o := range opts {
		if err := a.apply(o); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// setHost reads [user@]host or ssh://[user@]host[:port].
func (a *sshArgs) setHost(s string) error {
	if uri, ok := strings.CutPrefix(s, "ssh://"); ok {
		s = strings.TrimSuffix(uri, "/")
		if i := strings.LastIndexByte(s, ':'); i >= 0 && !strings.HasSuffix(s, "]") {
			if err := a.setPort(s[i+1:]); err != nil {
				return err
			}
			s = s[:i]
		}
	}
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		a.User, s = s[:i], s[i+1:]
	}
	if host, port, ok := strings.Cut(s, ":"); ok && !strings.Contains(port, ":") {
		return fmt.Errorf("bad host name %q: the port stands apart, as in: adit ssh -p %s %s", s, port, host)
	}
	a.Host = strings.Trim(s, "[]")
	if a.Host == "" || strings.HasPrefix(a.Host, "-") {
		return fmt.Errorf("bad host name %q", s)
	}
	return nil
}

func (a *sshArgs) setPort(s string) error {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 {
		return fmt.Errorf("bad port %q: a number from 1 to 65535 is due", s)
	}
	if a.Port == 0 { // the first value wins
		a.Port = int(n)
	}
	return nil
}

func (a *sshArgs) apply(o option) (err error) {
	switch o.letter {
	case 'L', 'D':
		parse := forward.ParseLocal
		if o.letter == 'D' {
			parse = forward.ParseDynamic
		}
		var s forward.Spec
		if s, err = parse(o.value); err == nil {
			a.forwards = append(a.forwards, s)
		}
	case 'W':
		var s forward.Spec
		s, err = forward.ParseStdio(o.value)
		a.stdio, a.noPty = &s, true
	case 'N':
		a.noCommand = true
	case 'n':
		a.noStdin = true
	case 'T':
		a.noPty = true
	case 'p':
		err = a.setPort(o.value)
	case 'i':
		a.IdentityFiles = append(a.IdentityFiles, o.value)
	case 'b':
		a.BindAddress = o.value
	case 'l':
		if a.User == "" {
			a.User = o.value
		}
	case 'o':
		err = a.setOption(o.value)
	case 'c':
		a.Ciphers, err = algorithms("Ciphers", o.value, algo.DefaultCiphers(), algo.SupportedCiphers())
	case 'm':
		a.MACs, err = algorithms("MACs", o.value, algo.DefaultMACs(), algo.SupportedMACs())
	case 'v':
		a.verbose++
	case 'q':
		a.quiet = true
	case 'g':
		a.gateway = true
	case '4':
		a.AddressFamily = "tcp4"
	case '6':
		a.AddressFamily = "tcp6"
	case 'F':
		if o.value != "none" {
			err = fmt.Errorf("-F %s: configuration files are not read yet; use -F none and -o", o.value)
		}
	case 'V':
		a.version = true
	case 'x', 'a', 'k':
		// Off already: X11, agent forwarding, GSSAPI delegation.
	default:
		err = fmt.Errorf("option -%c is not supported yet", o.letter)
	}
	return err
}

// setOption reads "Keyword=value" or "Keyword value".
func (a *sshArgs) setOption(s string) (err error) {
	key, value, ok := strings.Cut(s, "=")
	if k, v, blank := strings.Cut(strings.TrimSpace(s), " "); blank && (!ok || len(k) < len(key)) {
		key, value, ok = k, strings.TrimPrefix(strings.TrimSpace(v), "="), true
	}
	key, value = strings.TrimSpace(key), strings.Trim(strings.TrimSpace(value), `"`)
	if !ok || value == "" {
		return fmt.Errorf("-o %s: keyword and value are due, as in -o Port=22", s)
	}
	switch strings.ToLower(key) {
	case "port":
		err = a.setPort(value)
	case "user":
		if a.User == "" {
			a.User = value
		}
	case "hostname":
		a.Host = value
	case "identityfile":
		a.IdentityFiles = append(a.IdentityFiles, value)
	case "identityagent":
		a.IdentityAgent = value
	case "stricthostkeychecking":
		err = oneOf(&a.StrictHostKey, value, "yes", "no", "off", "ask", "accept-new")
	case "userknownhostsfile":
		a.KnownHosts = append(a.KnownHosts, strings.Fields(value)...)
	case "globalknownhostsfile", "loglevel", "controlmaster", "controlpath", "controlpersist", "updatehostkeys", "checkhostip", "compression",
		"identitiesonly", "preferredauthentications", "gssapiauthentication", "forwardagent", "forwardx11", "requesttty":
		// Nothing here depends on them yet.
	case "hostkeyalias":
		a.HostKeyAlias = value
	case "hashknownhosts":
		err = yesNo(&a.HashKnown, value, true)
	case "batchmode":
		err = yesNo(&a.BatchMode, value, true)
	case "pubkeyauthentication":
		err = yesNo(&a.NoPublicKey, value, false)
	case "passwordauthentication":
		err = yesNo(&a.NoPassword, value, false)
	case "kbdinteractiveauthentication", "challengeresponseauthentication":
		err = yesNo(&a.NoKbdint, value, false)
	case "exitonforwardfailure":
		err = yesNo(&a.exitOnFail, value, true)
	case "gatewayports":
		err = yesNo(&a.gateway, value, true)
	case "addressfamily":
		err = a.setFamily(value)
	case "bindaddress":
		a.BindAddress = value
	case "tcpkeepalive":
		err = yesNo(&a.NoTCPKeepAlive, value, false)
	case "connecttimeout":
		err = seconds(&a.ConnectTimeout, value)
	case "serveraliveinterval":
		err = seconds(&a.AliveInterval, value)
	case "serveralivecountmax":
		a.AliveCountMax, err = strconv.Atoi(value)
	case "ciphers":
		a.Ciphers, err = algorithms(key, value, algo.DefaultCiphers(), algo.SupportedCiphers())
	case "macs":
		a.MACs, err = algorithms(key, value, algo.DefaultMACs(), algo.SupportedMACs())
	case "kexalgorithms":
		a.Kex, err = algorithms(key, value, algo.DefaultKex(), algo.SupportedKex())
	case "hostkeyalgorithms":
		a.HostKeyAlgorithms, err = algorithms(key, value, algo.DefaultHostKeys(), algo.SupportedHostKeys())
	case "rekeylimit":
		a.RekeyBytes, err = size(strings.Fields(value)[0])
	case "localforward":
		err = a.apply(option{'L', strings.Join(strings.Fields(value), ":")})
	case "dynamicforward":
		err = a.apply(option{'D', value})
	default:
		return fmt.Errorf("-o %s: the keyword %s is not supported yet", s, key)
	}
	if err != nil {
		return fmt.Errorf("-o %s: %w", s, err)
	}
	return nil
}

// setFamily reads AddressFamily's value.
func (a *sshArgs) setFamily(value string) error {
	var family string
	if err := oneOf(&family, value, "any", "inet", "inet6"); err != nil {
		return err
	}
	a.AddressFamily = map[string]string{"any": "tcp", "inet": "tcp4", "inet6": "tcp6"}[family]
	return nil
}

func oneOf(dst *string, value string, allowed ...string) error {
	for _, v := range allowed {
		if strings.EqualFold(v, value) {
			*dst = v
			return nil
		}
	}
	return fmt.Errorf("one of %s is due", strings.Join(allowed, ", "))
}

// yesNo sets dst to want when value is yes.
func yesNo(dst *bool, value string, want bool) error {
	switch strings.ToLower(value) {
	case "yes", "true":
		*dst = want
	case "no", "false":
		*dst = !want
	default:
		return fmt.Errorf("yes or no is due, not %q", value)
	}
	return nil
}

func seconds(dst *time.Duration, value string) error {
	if n, err := strconv.Atoi(value); err == nil && n >= 0 {
		*dst = time.Duration(n) * time.Second
		return nil
	}
	d, err := time.ParseDuration(value)
	if err != nil || d < 0 {
		return fmt.Errorf("a time such as 30 or 2m is due, not %q", value)
	}
	*dst = d
	return nil
}

func size(s string) (uint64, error) {
	if strings.EqualFold(s, "default") || s == "none" {
		return 0, nil
	}
	shift := 0
	switch s[len(s)-1] {
	case 'k', 'K':
		shift = 10
	case 'm', 'M':
		shift = 20
	case 'g', 'G':
		shift = 30
	}
	if shift > 0 {
		s = s[:len(s)-1]
	}
	n, err := strconv.ParseUint(s, 10, 64-shift)
	if err != nil {
		return 0, fmt.Errorf("a size such as 512K or 1G is due, not %q", s)
	}
	return n << shift, nil
}

// algorithms reads a list that replaces the default, or with + - ^ in front adds
// to it, takes from it, or puts names first.
func algorithms(what, value string, def, supported []string) ([]string, error) {
	known := map[string]bool{}
	for _, n := range supported {
		known[n] = true
	}
	mode := value[0]
	if strings.IndexByte("+-^", mode) >= 0 {
		value = value[1:]
	} else {
		mode = 0
	}
	names := strings.Split(value, ",")
	in := map[string]bool{}
	for _, n := range names {
		if !known[n] && mode != '-' {
			return nil, fmt.Errorf("%s: %q is not supported; supported are %s", what, n, strings.Join(supported, ","))
		}
		in[n] = true
	}
	var others []string
	for _, n := range def {
		if !in[n] {
			others = append(others, n)
		}
	}
	switch mode {
	case '+':
		return append(others, names...), nil
	case '^':
		return append(names, others...), nil
	case '-':
		return others, nil
	}
	return names, nil
}
