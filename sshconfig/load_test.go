package sshconfig

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// load reads a configuration for a host in fixed surroundings. $HOME in it is
// the home folder.
func load(t testing.TB, text string, change ...func(*Options)) (*Config, string, error) {
	t.Helper()
	home := t.TempDir()
	path := filepath.Join(home, ".ssh", "config")
	write(t, path, strings.ReplaceAll(text, "$HOME", home))
	o := Options{
		Host: "web", User: "ann", UID: "1000", Home: home, LocalHost: "laptop.example",
		SystemFile: filepath.Join(home, "system"), Resolver: fakeResolver{},
		Getenv:     func(name string) (string, bool) { return "of-" + name, name != "UNSET" },
		Exec:       func(context.Context, string) (int, error) { return 1, nil },
		Interfaces: func() ([]netip.Addr, error) { return []netip.Addr{netip.MustParseAddr("192.0.2.7")}, nil },
	}
	for _, f := range change {
		f(&o)
	}
	c, err := Load(t.Context(), o)
	return c, home, err
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func mustLoad(t testing.TB, text string, change ...func(*Options)) *Config {
	t.Helper()
	c, _, err := load(t, text, change...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestOrderOfSources(t *testing.T) {
	c, home, err := load(t, "Port 2\nUser file\n", func(o *Options) {
		write(t, o.SystemFile, "User system\nPort 3\nBatchMode yes\n")
		o.CommandLine = []string{"Port=1"}
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct{ keyword, text, origin string }{
		{"Port", "1", "command line"},
		{"User", "file", home + "/.ssh/config:2"},
		{"BatchMode", "yes", home + "/system:3"},
		{"Compression", "no", "default"},
	} {
		for _, v := range c.Values() {
			if v.Keyword == want.keyword && (v.Text != want.text || v.Origin.String() != want.origin) {
				t.Errorf("%s: got %s from %s, want %s from %s", want.keyword, v.Text, v.Origin, want.text, want.origin)
			}
		}
	}
	if c.Port != 1 || c.User != "file" || !c.BatchMode {
		t.Errorf("got port %d, user %s, batch mode %v", c.Port, c.User, c.BatchMode)
	}
}

func TestBlocksTellWhy(t *testing.T) {
	c := mustLoad(t, `Host db *.example
Host web !w*
Host *e
Match host web,mail user ann
Match user bob
Match exec "check %h" localuser ann
Match !originalhost web
Match localnetwork 192.0.2.0/24
Match localnetwork 198.51.100.0/24
Match tagged ""
Match sessiontype shell command ""
Match version OpenSSH_1.*
Match final
Match all
`)
	want := []struct {
		matched bool
		reason  string
	}{
		{false, "no pattern matches web"}, {false, "!w* excludes web"}, {false, "no pattern matches web"},
		{true, "all conditions hold"}, {false, `user bob: it is "ann"`}, {false, "exec check %h: it ended with status 1"},
		{false, "!originalhost web: the host was given as web"}, {true, "all conditions hold"},
		{false, "localnetwork 198.51.100.0/24: no address of this machine is in it"}, {true, "all conditions hold"}, {true, "all conditions hold"},
		{false, `version OpenSSH_1.*: it is "` + Version + `"`}, {false, "final: this is the first pass"}, {true, "all conditions hold"},
	}
	if len(c.Blocks) != 2*len(want) {
		t.Fatalf("got %d blocks, want %d in each of two passes", len(c.Blocks), len(want))
	}
	for i, w := range want {
		b := c.Blocks[i]
		if b.Matched != w.matched || b.Reason != w.reason || b.Origin.Line != i+1 || b.Pass != 1 {
			t.Errorf("%s (line %d, pass %d): got %v, %q, want %v, %q", b.Text, b.Origin.Line, b.Pass, b.Matched, b.Reason, w.matched, w.reason)
		}
	}
	if b := c.Blocks[len(want)+12]; !b.Matched || b.Pass != 2 {
		t.Errorf("Match final: got %+v, want it to match in pass 2", b)
	}
}

// A command is run only when it can decide something.
func TestMatchExecIsNotRunInVain(t *testing.T) {
	var ran []string
	c := mustLoad(t, "Match user bob exec one\nMatch exec \"two %h %p %r\"\n Include inc\nHost other\n Include inc\n", func(o *Options) {
		write(t, filepath.Join(o.Home, ".ssh/inc"), "Match exec three\n Port 7\n")
		o.Exec = func(_ context.Context, command string) (int, error) { ran = append(ran, command); return 0, nil }
	})
	if got, want := strings.Join(ran, ","), "two web 22 ann,three"; got != want || c.Port != 7 {
		t.Errorf("got %s run and port %d, want %s and 7", got, c.Port, want)
	}
	_, _, err := load(t, "Match exec x\n", func(o *Options) {
		o.Exec = func(context.Context, string) (int, error) { return 0, errors.New("no shell") }
	})
	if err == nil || !strings.Contains(err.Error(), "config:1: match: run \"x\": no shell") {
		t.Errorf("a command that can't be run: got %v", err)
	}
}

func TestMistakes(t *testing.T) {
	for _, c := range []struct{ text, want, hint string }{
		{"Prot 22\n", "config:1: prot: the keyword is not known", "IgnoreUnknown prot"},
		{"Port\n", "config:1: port: a value is missing", ""},
		{"\nPort 0\n", "config:2: port: \"0\" is not a port", ""},
		{"Port 22 23\n", "config:1: port: \"23\" is one value too many", ""},
		{"User \"x\n", "config:1: user: a quote is not closed", ""},
		{"BatchMode maybe\n", "config:1: batchmode: \"maybe\" is not one of yes", ""},
		{"Match nosuch x\n", "config:1: match: the condition \"nosuch\" is not known", "localnetwork"},
		{"Match # x\n", "config:1: match: no condition is given", ""},
		{"Match canonical=x\n", "config:1: match: the condition canonical takes no value", ""},
		{"Match host\n", "config:1: match: the condition host lacks its value", ""},
		{"Match host a all b\n", "config:1: match: all can't be combined", ""},
		{"Match localnetwork 10.0.0.1/8\n", "network 10.0.0.1/8 has bits beyond its mask", ""},
		{"Ciphers aes128-ctr,rot13\n", "config:1: ciphers: \"rot13\" is not an algorithm", "known here"},
		{"Include ~nosuchuser0/x\n", "config:1: include: ~nosuchuser0/x", ""},
		{"HostName %p\n", "config:1: hostname: %p in \"%p\" means nothing here", ""},
		{"ControlPath ${UNSET}/x\n", "config:1: controlpath: the environment variable UNSET is not set", "export UNSET"},
		{"ProxyJump web\n", "config:1: proxyjump: web would be reached through itself", "Host * !web"},
		{"ProxyJump a b\n", "", ""},
		{"RefuseConnection \"ask ops first\"\n", "config:1: refuseconnection: the configuration refuses to connect: ask ops first", ""},
		{"LocalForward 8080\n", "config:1: localforward: a target is missing", ""},
		{"Match final\nPort x\n", "config:2: port: \"x\"", ""},
		{"RekeyLimit 15\n", "too small", ""}, {"RekeyLimit 1X\n", "not a size", ""},
		{"ForkAfterAuthentication yes\n", "config:1: forkafterauthentication: there is no command", ""},
		{"ConnectionAttempts 0\n", "at least 1", ""},
		{"ProxyCommand -\nProxyUseFdpass yes\n", "config:2: proxyusefdpass", ""},
		{"CanonicalizeHostname yes\nCanonicalDomains nowhere.test\nCanonicalizeFallbackLocal no\n", "config:3: canonicalizefallbacklocal: the host web was found in none", "full name"},
	} {
		_, _, err := load(t, c.text)
		if c.want == "" {
			if err != nil {
				t.Errorf("%q: got %v, want no mistake", c.text, err)
			}
			continue
		}
		le, ok := errors.AsType[*LineError](err)
		if !ok || !strings.Contains(err.Error(), c.want) || !strings.Contains(le.Hint, c.hint) {
			t.Errorf("%q: got %v (%+v), want %q with the hint %q", c.text, err, le, c.want, c.hint)
		}
	}
	if _, _, err := load(t, "Foo 1\nPort x\nBar 2\n"); strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("three mistakes: got %v, want a line for each", err)
	}
	if _, _, err := load(t, strings.Repeat("Foo 1\n", 5000)); strings.Count(err.Error(), "\n") != maxErrors-1 {
		t.Errorf("got %d lines for 5000 mistakes, want %d", strings.Count(err.Error(), "\n")+1, maxErrors)
	}
}

func TestFilesThatOthersCanWrite(t *testing.T) {
	for _, mode := range []os.FileMode{0o602, 0o646, 0o666} {
		_, _, err := load(t, "Include inc\n", func(o *Options) {
			path := filepath.Join(o.Home, ".ssh/inc")
			write(t, path, "Port 9\n")
			if err := os.Chmod(path, mode); err != nil {
				t.Fatal(err)
			}
		})
		if err == nil || !strings.Contains(err.Error(), "others can write it") {
			t.Errorf("mode %o: got %v, want it refused", mode, err)
		}
	}
	c := mustLoad(t, "Port 9\n", func(o *Options) {
		o.File = filepath.Join(o.Home, "named")
		write(t, o.File, "Port 10\n")
		os.Chmod(o.File, 0o666)
	})
	if c.Port != 10 {
		t.Errorf("a file named with -F: got port %d, want 10 whatever its mode", c.Port)
	}
}

func TestNamedFileMustBeThere(t *testing.T) {
	if _, _, err := load(t, "", func(o *Options) { o.File = filepath.Join(o.Home, "nothere") }); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want that the file does not exist", err)
	}
	if c := mustLoad(t, "Port 9\n", func(o *Options) { o.File = "none"; write(t, o.SystemFile, "Port 8\n") }); c.Port != 22 {
		t.Errorf("-F none: got port %d, want 22", c.Port)
	}
}

func TestIncludeHasLimits(t *testing.T) {
	if _, _, err := load(t, "Include config\n"); err == nil || !strings.Contains(err.Error(), "deeper than 16 times") {
		t.Errorf("a file that includes itself: got %v", err)
	}
	_, _, err := load(t, "Include 1\n", func(o *Options) {
		for depth, name := range []string{"1", "2", "3", "4", "5"} {
			write(t, filepath.Join(o.Home, ".ssh", name), strings.Repeat("Include "+string(rune('2'+depth))+"\n", 30))
		}
	})
	if err == nil || !strings.Contains(err.Error(), "more than 4000 files") {
		t.Errorf("files that include each other many times: got %v", err)
	}
}

func TestFilesHaveLimits(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"bytes":    {strings.Repeat("#"+strings.Repeat("x", 1000)+"\n", 9000), "more than 8388608 bytes"},
		"one line": {"User " + strings.Repeat("x", maxBytes), "more than 8388608 bytes"},
		"forwards": {strings.Repeat("LocalForward 1 a:2\n", 100) + many("DynamicForward %d", maxValues+1), "config:4101: dynamicforward: more than 4000 values"},
		"names":    {"SendEnv" + strings.Repeat(" A", maxValues+1) + "\n", "config:1: sendenv: more than 4000 values"},
	} {
		if _, _, err := load(t, c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
	if c := mustLoad(t, strings.Repeat("RSAAuthentication no\n", 100_000)); len(c.Warnings) != maxWarnings {
		t.Errorf("got %d warnings of 100000, want %d", len(c.Warnings), maxWarnings)
	}
}

// many is n lines with a number each.
func many(format string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format+"\n", i+1)
	}
	return b.String()
}

func TestLateMistakesAreToldByCheck(t *testing.T) {
	c := mustLoad(t, "IdentityFile ~/%x\nIdentityFile ${UNSET}\nIdentityFile ~/%r@%h\nCiphers -*\n")
	err := c.Check()
	if err == nil {
		t.Fatal("got nothing")
	}
	for _, want := range []string{"config:1: identityfile: %x", "config:2: identityfile: the environment variable UNSET", "config:4: ciphers: no algorithm is left"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
	if got := c.IdentityFiles[2]; !strings.HasSuffix(got, "/ann@web") {
		t.Errorf("IdentityFile ~/%%r@%%h: got %s", got)
	}
}

func TestProxy(t *testing.T) {
	for _, c := range []struct{ text, command, jump string }{
		{"ProxyJump a\nProxyCommand b\n", "", "a"},
		{"ProxyCommand b\nProxyJump a\n", "b", ""},
		{"ProxyJump none\nProxyCommand b\nProxyJump a\n", "b", ""},
		{"ProxyCommand none\nProxyJump a\n", "", ""},
		{"ProxyJump ann@a:2,ssh://b:3\nProxyUseFdpass yes\n", "", "ann@a:2,b:3"},
		{"ProxyJump ::1\n", "", ""},
	} {
		got, _, err := load(t, c.text)
		if err != nil {
			if c.text != "ProxyJump ::1\n" {
				t.Errorf("%q: %v", c.text, err)
			}
			continue
		}
		if got.ProxyCommand != c.command || got.ProxyJump != c.jump || c.jump != "" && got.ProxyUseFdpass {
			t.Errorf("%q: got command %q, jump %q, fdpass %v, want %q and %q", c.text, got.ProxyCommand, got.ProxyJump, got.ProxyUseFdpass, c.command, c.jump)
		}
	}
	c := mustLoad(t, "ProxyCommand nc %h %p %%%r\nHostName %h.example\n")
	if got, err := c.ExpandProxyCommand(); err != nil || got != "nc web.example 22 %ann" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestAlgorithmsThatTheEngineLacks(t *testing.T) {
	engine := func(o *Options) {
		o.Algorithms.Ciphers = AlgorithmList{Default: []string{"aes256-ctr"}, Supported: []string{"aes256-ctr", "aes128-ctr"}}
	}
	c := mustLoad(t, "Ciphers +aes128-cbc,aes128-ctr\n", engine)
	if strings.Join(c.Ciphers, ",") != "aes256-ctr,aes128-ctr" || len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0].String(), "config:1: ciphers: not supported here, left out: aes128-cbc") {
		t.Errorf("got %v with %v", c.Ciphers, c.Warnings)
	}
	if _, _, err := load(t, "Ciphers aes128-cbc\n", engine); err == nil || !strings.Contains(err.Error(), "none of these algorithms is supported") {
		t.Errorf("got %v", err)
	}
}

func TestWarningsOnce(t *testing.T) {
	c := mustLoad(t, "UseKeychain yes\nRSAAuthentication yes\nProtocol 2\nMatch final\n")
	if len(c.Warnings) != 2 || !strings.Contains(c.Warnings[0].String(), "config:1: usekeychain is known only") {
		t.Errorf("got %v, want one about UseKeychain and one about RSAAuthentication", c.Warnings)
	}
}

func TestStdioChangesDefaults(t *testing.T) {
	c := mustLoad(t, "LocalForward 1 a:2\nDynamicForward 3\n", func(o *Options) { o.Stdio = true })
	if len(c.LocalForwards) != 0 || !c.ExitOnForwardFailure {
		t.Errorf("with -W: got %v, ExitOnForwardFailure %v, want no forwards and yes", c.LocalForwards, c.ExitOnForwardFailure)
	}
	c = mustLoad(t, "ClearAllForwardings no\nLocalForward 1 a:2\n", func(o *Options) { o.Stdio = true })
	if len(c.LocalForwards) != 1 {
		t.Errorf("ClearAllForwardings no: got %v, want one forward", c.LocalForwards)
	}
}

func TestHostsThatAreNotSafe(t *testing.T) {
	for _, host := range []string{"", "-oProxyCommand=x", "a;b", "$(x)", "a b", "a\nb", "`x`"} {
		if _, _, err := load(t, "", func(o *Options) { o.Host = host }); err == nil {
			t.Errorf("host %q was taken", host)
		}
	}
	for _, user := range []string{"-x", "a;b", "a -x", "`x`", `x\`} {
		if _, _, err := load(t, "", func(o *Options) { o.RemoteUser = user }); err == nil {
			t.Errorf("user %q was taken", user)
		}
	}
	for _, jump := range []string{"-x", "a;b", "u`x`@a"} {
		if _, _, err := load(t, "", func(o *Options) { o.CommandLine = []string{"ProxyJump=" + jump} }); err == nil {
			t.Errorf("jump %q was taken", jump)
		}
	}
}

func TestCommandLineForwards(t *testing.T) {
	c := mustLoad(t, "LocalForward 5 e:6\n", func(o *Options) {
		o.CommandLine = []string{"LocalForward=1:b:2", "LocalForward [::1]:3 d:4", "DynamicForward=*:7", "RemoteForward=8:x:9", "RemoteForward 10"}
	})
	var got []string
	for _, f := range append(c.LocalForwards, c.RemoteForwards...) {
		got = append(got, f.listen()+" "+f.target())
	}
	if want := "1 [b]:2,[::1]:3 [d]:4,5 [e]:6,[*]:7 [socks]:0,8 [x]:9,10 [socks]:0"; strings.Join(got, ",") != want {
		t.Errorf("got %s, want %s", strings.Join(got, ","), want)
	}
}

func TestParseTarget(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Target
		ok   bool
	}{
		{"h", Target{Host: "h"}, true}, {"u@h", Target{Host: "h", User: "u"}, true}, {"a@b@h", Target{Host: "h", User: "a@b"}, true},
		{"@h", Target{Host: "h"}, false}, {"u@", Target{User: "u"}, false}, {"::1", Target{Host: "::1"}, true},
		{"ssh://u%40x@h:22/", Target{Host: "h", User: "u@x", Port: 22}, true}, {"ssh://[::1]:2", Target{Host: "::1", Port: 2}, true},
		{"ssh://h:x", Target{Host: "h"}, false}, {"ssh://h/path", Target{}, false}, {"ssh://", Target{}, false},
	} {
		got, ok := ParseTarget(c.in)
		if ok != c.ok || ok && got != c.want {
			t.Errorf("%s: got %+v, %v, want %+v, %v", c.in, got, ok, c.want, c.ok)
		}
	}
}
