//go:build unix

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/testpeer"
	"github.com/adit-ssh/adit/knownhosts"
)

// hostKeyCase is a known_hosts file and what else holds. In texts {H} is the
// server in the files' form, {P} its port, {K} and {R} its Ed25519 and RSA keys,
// {O}, {OR} and {OE} others' keys, {CA} the authority of the server's certificate,
// {HASH}, {NOPORT} and {FAR} hashed names: of the server, of it without its port,
// of another; {DIR} the folder.
type hostKeyCase struct {
	name    string
	known   string
	global  string
	second  string // another user's file
	host    string // 127.0.0.1 if empty
	cert    bool   // the server may show its certificate
	options []string
	// stricter says why we refuse where ssh does not.
	stricter string
}

var hostKeyCases = []hostKeyCase{
	{name: "nothing"},
	{name: "comments only", known: "# a comment\n\n   \n"},
	{name: "known", known: "{H} {K}\n"},
	{name: "known, comment behind", known: "{H} {K} a comment\n"},
	{name: "tabs and blanks", known: "  {H}\t{K}\n"},
	{name: "line ends of DOS", known: "# one\r\n{H} {K}\r\n"},
	{name: "no line end", known: "{H} {K}"},
	{name: "unknown, no line end", known: "else {O}"},
	{name: "capitals", known: "[LOCALHOST]:{P} {K}\n", host: "localhost"},
	{name: "capitals typed", known: "[localhost]:{P} {K}\n", host: "LocalHost"},
	{name: "several names", known: "a,{H},b {K}\n"},
	{name: "wildcard", known: "[127.*]:* {K}\n"},
	{name: "wildcard without port", known: "127.0.0.? {K}\n"},
	{name: "wildcard changed", known: "*:{P} {O}\n"},
	{name: "negated", known: "*,!{H} {K}\n"},
	{name: "negated elsewhere", known: "*,!else {K}\n"},
	{name: "hashed", known: "{HASH} {K}\n"},
	{name: "hashed without port", known: "{NOPORT} {K}\n"},
	{name: "hashed elsewhere", known: "{FAR} {K}\n"},
	{name: "hashed changed", known: "{HASH} {O}\n"},
	{name: "without port", known: "127.0.0.1 {K}\n"},
	{name: "without port, changed", known: "127.0.0.1 {O}\n"},
	{name: "without port, but port changed", known: "127.0.0.1 {K}\n{H} {O}\n"},
	{name: "other port", known: "[127.0.0.1]:1 {K}\n"},
	{name: "changed", known: "{H} {O}\n"},
	{name: "changed, several lines", known: "{H} {O}\n{H} {OR}\n"},
	{name: "one of two", known: "{H} {O}\n{H} {K}\n"},
	{name: "RSA only", known: "{H} {R}\n"},
	{name: "RSA only, wrong", known: "{H} {OR}\n"},
	{name: "RSA without port", known: "127.0.0.1 {R}\n"},
	{name: "type that the server lacks", known: "{H} {OE}\n"},
	{name: "RSA right, Ed25519 wrong", known: "{H} {R}\n{H} {O}\n"},
	{name: "known elsewhere", known: "a,b {K}\n{FAR} {K}\n*.x {K}\n"},
	{name: "known elsewhere, many", known: strings.Repeat("a {K}\n", 12)},
	{name: "malformed around", known: "{H}\n{H} ssh-ed25519 !!!\n{H} ssh-rsa AAAA\nx\n@what {H} {K}\n{H} {K}\n"},
	{name: "malformed only", known: "{H} ssh-ed25519 AAAAC3NzaC1lZDI1NTE5\n{H} ssh-what {K}\n"},
	{name: "key of another type's name", known: "{H} ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIJb4dN33YoNtPDpXnyS/5fJ8imgzrl0N8rRT+4MYlurX\n"},
	{name: "global", global: "{H} {K}\n"},
	{name: "global changed", global: "{H} {O}\n"},
	{name: "changed for the user, known globally", known: "{H} {O}\n", global: "{H} {K}\n"},
	{name: "second file", known: "x {O}\n", second: "{H} {K}\n"},
	{name: "second file, changed", known: "", second: "{H} {O}\n"},
	{name: "revoked", known: "@revoked {H} {K}\n", stricter: "no"},
	{name: "revoked for all", known: "{H} {K}\n@revoked * {K}\n", stricter: "no"},
	{name: "revoked for another host", known: "{H} {K}\n@revoked else {K}\n", stricter: "every host"},
	{name: "another key revoked", known: "{H} {K}\n@revoked * {O}\n"},
	{name: "authority for a plain key", known: "@cert-authority {H} {K}\n"},
	{name: "authority", known: "@cert-authority {H} {CA}\n", cert: true},
	{name: "authority for all", known: "@cert-authority * {CA}\n", cert: true},
	{name: "authority without port", known: "@cert-authority 127.0.0.1 {CA}\n", cert: true},
	{name: "authority, hashed", known: "@cert-authority {HASH} {CA}\n", cert: true},
	{name: "authority elsewhere", known: "@cert-authority else {CA}\n", cert: true},
	{name: "another authority", known: "@cert-authority {H} {O}\n", cert: true},
	{name: "another authority, key known", known: "@cert-authority {H} {O}\n{H} {K}\n", cert: true},
	{name: "certificate, key known", known: "{H} {K}\n", cert: true},
	{name: "certificate, key changed", known: "{H} {O}\n", cert: true},
	{name: "certificate, nothing known", cert: true},
	{name: "certificate for other names", known: "@cert-authority * {CA}\n", cert: true, options: []string{"HostKeyAlias=else"}},
	{name: "certificate for other names, key known", known: "@cert-authority * {CA}\nelse {K}\n", cert: true, options: []string{"HostKeyAlias=else"}},
	{name: "certificate's signature not accepted", known: "@cert-authority * {CA}\n", cert: true, options: []string{"CASignatureAlgorithms=rsa-sha2-512"}},
	{name: "authority revoked", known: "@cert-authority * {CA}\n@revoked * {CA}\n", cert: true, stricter: "no"},
	{name: "certificate's key revoked", known: "@cert-authority * {CA}\n@revoked * {K}\n", cert: true, stricter: "no"},
	{name: "alias known", known: "prod {K}\n", options: []string{"HostKeyAlias=prod"}},
	{name: "alias, capitals", known: "prod {K}\n", options: []string{"HostKeyAlias=PROD"}},
	{name: "alias unknown", known: "{H} {K}\n", options: []string{"HostKeyAlias=prod"}},
	{name: "alias changed", known: "{H} {K}\nprod {O}\n", options: []string{"HostKeyAlias=prod"}},
	{name: "hashes", options: []string{"HashKnownHosts=yes"}},
	{name: "MD5", options: []string{"FingerprintHash=md5"}},
	{name: "SHA512, changed", known: "{H} {O}\n", options: []string{"FingerprintHash=sha512"}},
	{name: "localhost is trusted", known: "{H} {O}\n", options: []string{"NoHostAuthenticationForLocalhost=yes"}},
	{name: "localhost with alias", known: "prod {O}\n", options: []string{"NoHostAuthenticationForLocalhost=yes", "HostKeyAlias=prod"}},
	{name: "CheckHostIP here", known: "[localhost]:{P} {K}\n{H} {O}\n", host: "localhost", options: []string{"CheckHostIP=yes"}},
	{name: "revoked list", known: "{H} {K}\n", options: []string{"RevokedHostKeys={DIR}/server.pub"}},
	{name: "revoked list of others", known: "{H} {K}\n", options: []string{"RevokedHostKeys={DIR}/other.pub"}},
	{name: "no file", options: []string{"UserKnownHostsFile=none"}},
	{name: "null file", options: []string{"UserKnownHostsFile=/dev/null"}},
	{name: "command knows", options: []string{"KnownHostsCommand=/bin/echo %H {K}"}},
	{name: "command knows another", options: []string{"KnownHostsCommand=/bin/echo %H {O}"}},
	{name: "command revokes", known: "{H} {K}\n", options: []string{"KnownHostsCommand=/bin/echo @revoked * {K}"}, stricter: "no"},
	{name: "command is an authority", options: []string{"KnownHostsCommand=/bin/echo @cert-authority * {CA}"}, cert: true},
	{name: "command has RSA", options: []string{"KnownHostsCommand=/bin/echo %H {R}"}},
	{name: "command's tokens", options: []string{"KnownHostsCommand=/bin/sh -c \"echo \\\"$@\\\" >>{DIR}/tokens\" x %I %H %t %f %K %h %n %p"}},
	{name: "command fails", known: "{H} {K}\n", options: []string{"KnownHostsCommand=/bin/false"}},
	{name: "command is missing", known: "{H} {K}\n", options: []string{"KnownHostsCommand=/nowhere/command"}},
	{name: "command is none", known: "{H} {K}\n", options: []string{"KnownHostsCommand=none"}},
	{name: "forwards", known: "{H} {O}\n", options: []string{"LocalForward={DIR}/socket 127.0.0.1:1", "PasswordAuthentication=no"}},
	{name: "forwards or nothing", known: "{H} {O}\n", options: []string{"ExitOnForwardFailure=yes"}},
}

// hostKeyModes are StrictHostKeyChecking, and what a person answers to a question;
// "" is BatchMode.
var hostKeyModes = []struct{ strict, answer string }{
	{"yes", ""}, {"accept-new", ""}, {"no", ""}, {"ask", ""}, {"ask", "yes"}, {"ask", "no"},
}

// noShell has sshd run no login shell, which may say something of its own: every
// command ends with status 1 and a line about SFTP.
const noShell = "ForceCommand internal-sftp"

// TestHostKeysAsSSH connects with ssh and with adit from the same known_hosts
// files. Who is let in, what is asked, what is told and the files afterwards must
// be the same.
func TestHostKeysAsSSH(t *testing.T) {
	t.Parallel()
	testpeer.Need(t, "ssh", "sshd", "ssh-keygen")
	s := testpeer.SSHD(t, testpeer.SSHDOptions{HostKeys: []string{"ed25519", "rsa"}, HostCertificate: true, Config: []string{noShell, "MaxStartups 100"}})
	o := newOracle(t, s)
	every := 5 // of all combinations; make full takes all
	switch {
	case os.Getenv("ADIT_ORACLE") != "":
		every = 1
	case testing.Short():
		every = 10
	}
	var compared, accepted, refused, stricter atomic.Int32
	work := make(chan func())
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			for f := range work {
				f()
			}
		})
	}
	for i, c := range hostKeyCases {
		for j, m := range hostKeyModes {
			if (i+j)%every != 0 {
				continue
			}
			work <- func() {
				name := fmt.Sprintf("%s, %s %s", c.name, m.strict, m.answer)
				dir := filepath.Join(o.dir, fmt.Sprintf("%d-%d", i, j))
				theirs, ours := o.run(t, "ssh", dir+"s", c, m.strict, m.answer), o.run(t, "adit", dir+"a", c, m.strict, m.answer)
				compared.Add(1)
				if ours.status == 1 {
					accepted.Add(1)
				} else {
					refused.Add(1)
				}
				if theirs == ours {
					return
				}
				if c.stricter == "every host" || c.stricter == m.strict {
					stricter.Add(1)
					if ours.status != 255 || ours.files != theirs.files {
						t.Errorf("%s: %+v, want it refused", name, ours)
					}
					return
				}
				t.Errorf("%s:\nadit %s\nssh  %s", name, ours, theirs)
			}
		}
	}
	close(work)
	workers.Wait()
	t.Logf("%d connections compared with ssh's: %d accepted, %d refused, of these %d stricter than ssh", compared.Load(), accepted.Load(), refused.Load(), stricter.Load())
}

// outcome is all that one connection shows.
type outcome struct {
	status                      int
	said, asked, files, command string
}

func (o outcome) String() string {
	return fmt.Sprintf("status %d\nsaid:\n%s\nasked:\n%s\nfiles:\n%s\ncommand: %s", o.status, o.said, o.asked, o.files, o.command)
}

// cheapKex spares ssh and sshd a key exchange that costs more than all the rest.
const cheapKex = "-oKexAlgorithms=curve25519-sha256"

type oracle struct {
	s    *testpeer.Server
	dir  string
	text *strings.Replacer
}

func newOracle(t *testing.T, s *testpeer.Server) *oracle {
	key := func(k gossh.PublicKey) string { return strings.TrimSpace(string(gossh.MarshalAuthorizedKey(k))) }
	port := s.Port()
	hash := func(h knownhosts.Host) string {
		name, _, _ := strings.Cut(knownhosts.Line(h, s.HostKeys[0], true), " ")
		return name
	}
	other := testpeer.NewKey(t, "ed25519").Public
	o := &oracle{s: s, dir: t.TempDir()}
	pairs := []string{
		"{H}", fmt.Sprintf("[127.0.0.1]:%d", port), "{P}", fmt.Sprint(port), "{K}", key(s.HostKeys[0]), "{R}", "", "{CA}", "",
		"{O}", key(other), "{OR}", key(testpeer.NewKey(t, "rsa").Public), "{OE}", key(testpeer.NewKey(t, "ecdsa").Public),
		"{HASH}", hash(knownhosts.Host{Name: "127.0.0.1", Port: port}), "{NOPORT}", hash(knownhosts.Host{Name: "127.0.0.1", Port: 22}),
		"{FAR}", hash(knownhosts.Host{Name: "else", Port: 22}), "{DIR}", o.dir,
	}
	if len(s.HostKeys) > 1 {
		pairs[slices.Index(pairs, "{R}")+1] = key(s.HostKeys[1])
	}
	if s.Authority != nil {
		pairs[slices.Index(pairs, "{CA}")+1] = key(s.Authority)
	}
	o.text = strings.NewReplacer(pairs...)
	for name, text := range map[string]string{
		"server.pub": key(s.HostKeys[0]) + "\n", "other.pub": key(other) + "\n",
		"askpass": "#!/bin/sh\nprintf '%s\\n' \"$1\" >>\"$ASKED\"\necho \"$ANSWER\"\n",
	} {
		if err := os.WriteFile(filepath.Join(o.dir, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return o
}

var saltedHash = regexp.MustCompile(`\|1\|[^ ]*`)

// run connects with a program in a folder of its own.
func (o *oracle) run(t *testing.T, program, dir string, c hostKeyCase, strict, answer string) outcome {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Error(err)
	}
	files := []string{"known", "second", "global"}
	for i, text := range []string{c.known, c.second, c.global} {
		if text != "" {
			if err := os.WriteFile(filepath.Join(dir, files[i]), []byte(o.text.Replace(text)), 0o600); err != nil {
				t.Error(err)
			}
		}
	}
	args := []string{"-F", "none", "-n", cheapKex, "-p", fmt.Sprint(o.s.Port()), "-i", o.s.Key.Path, "-l", o.s.User, "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=" + strict}
	for _, option := range c.options {
		args = append(args, "-o", strings.NewReplacer("{DIR}/tokens", dir+"/tokens", "{DIR}/socket", dir+"/socket").Replace(option))
	}
	args = append(args, "-o", "UserKnownHostsFile="+dir+"/known "+dir+"/second", "-o", "GlobalKnownHostsFile="+dir+"/global")
	if !c.cert {
		args = append(args, "-o", "HostKeyAlgorithms=-*-cert-v01@openssh.com")
	}
	if answer == "" {
		args = append(args, "-o", "BatchMode=yes")
	}
	host := c.host
	if host == "" {
		host = "127.0.0.1"
	}
	for i := range args {
		args[i] = o.text.Replace(args[i])
	}
	args = append(args, host, "true")
	if program == "adit" {
		args = append([]string{"ssh"}, args...)
	}
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_CACHE_HOME="+dir+"/cache", "SSH_AUTH_SOCK=", "DISPLAY=:0", "SSH_ASKPASS="+o.dir+"/askpass", "SSH_ASKPASS_REQUIRE=force",
		"ASKED="+dir+"/asked", "ANSWER="+answer)
	out, err := cmd.CombinedOutput()
	status, err := exitStatusOf(err)
	if err != nil {
		t.Error(err)
	}
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return "none\n"
		}
		return saltedHash.ReplaceAllString(strings.ReplaceAll(string(b), dir, "DIR"), "HASH")
	}
	// Not every ssh ends a last line that lacks its newline before it appends.
	glued := regexp.MustCompile(`(\w)\[127\.0\.0\.1\]:`)
	r := outcome{status: status, said: words(strings.ReplaceAll(string(out), dir, "DIR")), asked: read("asked"), command: read("tokens")}
	for _, f := range files {
		r.files += f + ": " + glued.ReplaceAllString(read(f), "$1\n[127.0.0.1]:")
	}
	return r
}

// words are what OpenSSH says, without what only some builds of it or only we do.
func words(out string) string {
	var lines []string
	for l := range strings.Lines(strings.ReplaceAll(out, "\r", "")) {
		l = strings.TrimRight(l, "\n")
		switch {
		case strings.HasPrefix(l, "adit: "), strings.HasPrefix(l, "  remove with:"), strings.HasPrefix(l, "  ssh-keygen -f "):
		case strings.Contains(l, "KnownHostsCommand-ORDER"), strings.Contains(l, "KnownHostsCommand failed"), strings.HasPrefix(l, "Could not stat KnownHostsCommand"), strings.HasPrefix(l, "KnownHostsCommand-HOSTNAME /nowhere"):
		case l != "":
			lines = append(lines, l)
		}
	}
	return strings.Join(lines, "\n")
}
