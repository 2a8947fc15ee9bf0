package forward

import (
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/adit-ssh/adit/internal/testpeer"
)

func TestParseLocal(t *testing.T) {
	for _, tt := range []struct {
		arg  string
		want Spec
	}{
		{"8080:a:80", Spec{Port: 8080, Host: "a", HostPort: 80}},
		{" 8080:a:80", Spec{Port: 8080, Host: "a", HostPort: 80}},
		{"8080:a:80:", Spec{Port: 8080, Host: "a", HostPort: 80}},
		{"http:a:https", Spec{Port: 80, Host: "a", HostPort: 443}},
		{":8080:a:80", Spec{Bind: "*", Port: 8080, Host: "a", HostPort: 80}},
		{"*:8080:a:80", Spec{Bind: "*", Port: 8080, Host: "a", HostPort: 80}},
		{"localhost:8080:a:80", Spec{Bind: "localhost", Port: 8080, Host: "a", HostPort: 80}},
		{"[::1]:8080:[2001:db8::1]:80", Spec{Bind: "::1", Port: 8080, Host: "2001:db8::1", HostPort: 80}},
		{`a\:b:80:c:90`, Spec{Bind: "a:b", Port: 80, Host: "c", HostPort: 90}},
		{"8080:/run/db.sock", Spec{Port: 8080, TargetPath: "/run/db.sock"}},
		{"b:8080:/run/db.sock", Spec{Bind: "b", Port: 8080, TargetPath: "/run/db.sock"}},
		{"/tmp/s:a:80", Spec{ListenPath: "/tmp/s", Host: "a", HostPort: 80}},
		{"/tmp/s:/run/db.sock", Spec{ListenPath: "/tmp/s", TargetPath: "/run/db.sock"}},
		{"[/tmp/a:b]:/run/db.sock", Spec{ListenPath: "/tmp/a:b", TargetPath: "/run/db.sock"}},
	} {
		if got, err := ParseLocal(tt.arg); got != tt.want || err != nil {
			t.Errorf("%q: %+v, %v; want %+v", tt.arg, got, err, tt.want)
		}
	}
}

func TestParseRemote(t *testing.T) {
	for _, tt := range []struct {
		arg, addr, target string
		want              Spec
	}{
		{"8080:a:80", "localhost", "a:80", Spec{Port: 8080, Host: "a", HostPort: 80}},
		{"0:a:80", "localhost", "a:80", Spec{Host: "a", HostPort: 80}},
		{":8080:a:80", "", "a:80", Spec{Bind: "*", Port: 8080, Host: "a", HostPort: 80}},
		{"*:8080:a:80", "", "a:80", Spec{Bind: "*", Port: 8080, Host: "a", HostPort: 80}},
		{"localhost:8080:a:80", "localhost", "a:80", Spec{Bind: "localhost", Port: 8080, Host: "a", HostPort: 80}},
		{"[::]:8080:[::1]:80", "::", "::1:80", Spec{Bind: "::", Port: 8080, Host: "::1", HostPort: 80}},
		{"8080", "localhost", "socks:0", Spec{Port: 8080, Dynamic: true}},
		{"b:8080", "b", "socks:0", Spec{Bind: "b", Port: 8080, Dynamic: true}},
		{"[::1]:0", "::1", "socks:0", Spec{Bind: "::1", Dynamic: true}},
		{"/run/s", "localhost", "socks:0", Spec{ListenPath: "/run/s", Dynamic: true}},
		{"a/80", "localhost", "socks:0", Spec{ListenPath: "a/80", Dynamic: true}},
		{"8080:/run/s", "localhost", "/run/s", Spec{Port: 8080, TargetPath: "/run/s"}},
		{"/run/s:a:80", "localhost", "a:80", Spec{ListenPath: "/run/s", Host: "a", HostPort: 80}},
		{"/run/s:/run/t", "localhost", "/run/t", Spec{ListenPath: "/run/s", TargetPath: "/run/t"}},
	} {
		tt.want.Remote = true
		got, err := ParseRemote(tt.arg)
		if got != tt.want || err != nil {
			t.Errorf("%q: %+v, %v; want %+v", tt.arg, got, err, tt.want)
		}
		if addr, target := got.RequestAddr(), got.Target(); addr != tt.addr || target != tt.target {
			t.Errorf("%q asks for %q and leads to %q, want %q, %q", tt.arg, addr, target, tt.addr, tt.target)
		}
	}
}

// What we take and OpenSSH's client does not.
func TestParseLocalBeyondOpenSSH(t *testing.T) {
	for _, tt := range []struct {
		arg  string
		want Spec
	}{
		{"0:a:80", Spec{Host: "a", HostPort: 80}},
		{"8080/a/80", Spec{Port: 8080, Host: "a", HostPort: 80}},
		{"::1/8080/2001:db8::1/80", Spec{Bind: "::1", Port: 8080, Host: "2001:db8::1", HostPort: 80}},
		{"*/8080/a/80", Spec{Bind: "*", Port: 8080, Host: "a", HostPort: 80}},
	} {
		if got, err := ParseLocal(tt.arg); got != tt.want || err != nil {
			t.Errorf("%q: %+v, %v; want %+v", tt.arg, got, err, tt.want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	local := func(s string) error { _, err := ParseLocal(s); return err }
	dynamic := func(s string) error { _, err := ParseDynamic(s); return err }
	remote := func(s string) error { _, err := ParseRemote(s); return err }
	stdio := func(s string) error { _, err := ParseStdio(s); return err }
	target := func(s string) error { _, _, err := ParseTarget(s); return err }
	for _, tt := range []struct {
		parse     func(string) error
		arg, says string
	}{
		{local, "", "it is empty; the form is -L [bind_address:]port:host:hostport"},
		{local, "8080", "one field only"},
		{local, "a:80", "2 fields"},
		{local, "/x:80", "2 fields"},
		{local, "8080::80", "the host is missing"},
		{local, "8080:a:", "2 fields"},
		{local, "8080:a:0", "port 0 is no target"},
		{local, "8080:a:nonsense", `"nonsense" is no port`},
		{local, "8080:a:65536", `"65536" is no port`},
		{local, "-1:a:80", `"-1" is no port`},
		{local, "::1:8080:a:80", "IPv6 addresses stand in brackets"},
		{local, "[::1:8080:a:80", "a bracket is not closed"},
		{local, "8080:[a]b:90", "follows a bracket"},
		{local, "8080:a b:80", "blank or a control character"},
		{local, "8080:a\x1b:80", "blank or a control character"},
		{local, "8080:/x\n", "control character"},
		{local, "8080:a/b:80", "is no host"},
		{local, "8080:/" + strings.Repeat("p", 107), "at most 107 bytes"},
		{local, "8080:" + strings.Repeat("h", 1025) + ":80", "a host of 1025 bytes"},
		{local, `8080:a:80\`, "nothing follows the backslash"},
		{dynamic, "", "it is empty; the form is -D [bind_address:]port"},
		{dynamic, "a:b:c", "3 fields"},
		{dynamic, "/x", "not on a path"},
		{dynamic, "a:/x", "not on a path"},
		{dynamic, "a:", "is no port"},
		{remote, "", "it is empty; the form is -R [bind_address:]port[:host:hostport]"},
		{remote, "nonsense", "is no port"},
		{remote, "/x:80", "is no port"},
		{remote, "8080:a:0", "port 0 is no target"},
		{remote, "8080:a:b:c:d", "5 fields; IPv6 addresses stand in brackets"},
		{stdio, "", "it is empty; the form is -W host:port"},
		{stdio, "80", "one field only"},
		{stdio, ":80", "the host is missing"},
		{stdio, "a:0", "port 0 is no target"},
		{stdio, "a:b:c", "3 fields"},
		{target, "/x", "a path is no host"},
	} {
		err := tt.parse(tt.arg)
		if err == nil {
			t.Errorf("%q was accepted", tt.arg)
		} else if !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%q: %q does not say %q", tt.arg, err, tt.says)
		}
	}
}

func TestParseDynamicAndStdio(t *testing.T) {
	for arg, want := range map[string]Spec{
		"1080":         {Dynamic: true, Port: 1080},
		"0":            {Dynamic: true},
		":1080":        {Dynamic: true, Bind: "*", Port: 1080},
		"[::1]:1080":   {Dynamic: true, Bind: "::1", Port: 1080},
		"::1/1080":     {Dynamic: true, Bind: "::1", Port: 1080},
		"127.0.0.2:99": {Dynamic: true, Bind: "127.0.0.2", Port: 99},
	} {
		if got, err := ParseDynamic(arg); got != want || err != nil {
			t.Errorf("-D %q: %+v, %v; want %+v", arg, got, err, want)
		}
	}
	for arg, want := range map[string]Spec{
		"a:80":       {Host: "a", HostPort: 80},
		"a:ssh":      {Host: "a", HostPort: 22},
		"[::1]:22":   {Host: "::1", HostPort: 22},
		"/run/s":     {TargetPath: "/run/s"},
		"/80":        {TargetPath: "/80"},
		"[/a:b]":     {TargetPath: "/a:b"},
		"10.0.0.1:1": {Host: "10.0.0.1", HostPort: 1},
	} {
		if got, err := ParseStdio(arg); got != want || err != nil {
			t.Errorf("-W %q: %+v, %v; want %+v", arg, got, err, want)
		}
	}
}

// OpenSSH's client is the oracle: it takes what we take and reads it the same.
func TestParseLocalAsOpenSSH(t *testing.T) {
	asOpenSSH(t, "-L", "localforward ", ParseLocal, []string{
		"8080:a:80", "[::1]:8080:[::1]:80", ":8080:a:80", "*:8080:a:80", "8080:/x", "/x:a:80", "/x:/y", "b:8080:/x",
		"http:a:https", "8080:a:80:", " 8080:a:80", `a\:b:80:c:90`, "[a:b]:80:c:90", "localhost:1:2:3",
		"8080:a:0", "8080:a:nonsense", "[::1:8080:a:80", "b:[/x/y]:a:80", "8080:a:65536", "8080:[a]b:90", "8080", "a:80",
		"/x:80", "::1:8080:a:80", "8080:a:80:90:", "8080:a:-1",
	})
}

func TestParseRemoteAsOpenSSH(t *testing.T) {
	asOpenSSH(t, "-R", "remoteforward ", ParseRemote, []string{
		"8080:a:80", "0:a:80", "[::1]:8080:[::1]:80", ":8080:a:80", "*:8080:a:80", "8080:/x", "/x:a:80", "/x:/y", "b:8080:/x",
		"8080", "0", "b:8080", ":8080", "*:0", "[::1]:8080", "/x", "a/80", "./x", "nonsense", "a:nonsense", "8080:a:0", "8080:a:b:c:d",
		"a:65536", "", "http", "8080:",
	})
}

func asOpenSSH(t *testing.T, flag, keyword string, parse func(string) (Spec, error), args []string) {
	testpeer.Need(t, "ssh")
	for _, arg := range args {
		out, err := exec.Command("ssh", "-G", "-F", "none", flag, arg, "host").Output()
		theirs := ""
		if err == nil {
			for line := range strings.Lines(string(out)) {
				if rest, ok := strings.CutPrefix(line, keyword); ok {
					theirs = strings.TrimSpace(rest)
				}
			}
		}
		ours := ""
		if s, err := parse(arg); err == nil {
			ours = printed(s)
		}
		if ours != theirs && ours != strings.Replace(theirs, "[]:", "[*]:", 1) {
			t.Errorf("%q: we read %q, ssh reads %q", arg, ours, theirs)
		}
	}
}

// printed is s as ssh -G prints a LocalForward or RemoteForward.
func printed(s Spec) string {
	listen, target := s.ListenPath, s.TargetPath
	if listen == "" {
		listen = strconv.Itoa(int(s.Port))
		if s.Bind != "" {
			listen = "[" + s.Bind + "]:" + listen
		}
	}
	if s.Dynamic {
		target = "[socks]:0"
	} else if target == "" {
		target = "[" + s.Host + "]:" + strconv.Itoa(int(s.HostPort))
	}
	return listen + " " + target
}

// What is read is written so that it is read again.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"8080", "[::1]:0", "/tmp/s", "8080:a:80", "[::1]:8080:[2001:db8::1]:80", "/tmp/s:/run/db.sock", "::1/8080/a/80", `a\:b\]:1:\[:2`, "0:a:80:", "b:8080:/x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, arg string) {
		for _, parse := range []func(string) (Spec, error){ParseLocal, ParseRemote, ParseDynamic} {
			s, err := parse(arg)
			if err != nil {
				if strings.ContainsAny(err.Error(), "\n\x1b") {
					t.Errorf("the error carries control characters: %q", err)
				}
				continue
			}
			if again, err := parse(s.String()); err != nil || again != s {
				t.Errorf("%q is %+v, written as %q is %+v, %v", arg, s, s, again, err)
			}
		}
	})
}
