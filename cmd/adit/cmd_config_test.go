package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/adit-ssh/adit/internal/testpeer"
)

// capture runs adit and returns its standard output.
func capture(t *testing.T, args ...string) (out string, status int) {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "out")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	stdout := os.Stdout
	os.Stdout = f
	status = run(t.Context(), args)
	os.Stdout = stdout
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(b), status
}

// Each flag means to adit ssh -G what it means to ssh -G. What is not compared:
// lists of algorithms, which are ours, and defaults that distributions patch.
func TestFlagsAreThoseOfSSH(t *testing.T) {
	testpeer.Need(t, "ssh")
	config := filepath.Join(t.TempDir(), "config")
	text := "Host web\n HostName web.example\n LocalForward 1 a:2\n Port 99\n User file\n AddressFamily any\n ExitOnForwardFailure no\nMatch user flag\n BindAddress 192.0.2.1\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	settings := func(out string) map[string][]string {
		m := map[string][]string{}
		for line := range strings.Lines(out) {
			key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
			switch {
			case strings.HasSuffix(key, "algorithms"), strings.HasPrefix(key, "gssapi"), key == "ciphers", key == "macs":
			case key == "forwardx11trusted", key == "ipqos", key == "identityfile" && strings.HasPrefix(value, "~/.ssh/id_"), key == "xauthlocation":
			case key == "warnweakcrypto", key == "obscurekeystroketiming", key == "channeltimeout", key == "revokedhostkeys":
			case key == "loglevel" && value == "SILENT": // Debian's QUIET
				m[key] = []string{"QUIET"}
			case key == "userknownhostsfile", key == "securitykeyprovider": // they depend on the home, and on the build
			default:
				m[key] = append(m[key], value)
			}
		}
		return m
	}
	for _, args := range []string{
		"web", "ann@web", "-l flag web", "ssh://ann@web:7", "-p 7 web", "-p 7 ssh://web:8", "-4 web", "-6 web", "-o AddressFamily=inet -6 web",
		"-N web", "-T web", "-n web", "-g web", "-q web", "-b 127.0.0.1 web", "-a web", "-A web", "-x web", "-X web", "-i /dev/null web",
		"-L 2:b:3 web", "-L 1:a:2 web", "-L [::1]:2:b:3 -D 4 web", "-D localhost:4 web", "-R 5:c:6 web", "-R 7 web", "-W x:1 web", "-J ann@j:3,k web",
		"-o ClearAllForwardings=yes -L 2:b:3 web", "-t web", "-M -S /s web", "-MM web", "-MMM -S none web", "-f web true", "-C web", "-e none web", "-B lo web", "-s web sftp",
		"-tt web", "-t web -t ls", "-tT web", "-Tt web", "-Y web", "-w 1:2 web", "-e ^x web", "-fN web", "-I /p11 web",
		"-l bob ann@web", "ann@web -l bob", "-l a -l b web", "ssh://web:7 -p 8", "-p 8 ssh://web:7", "-o User=x ann@web", "ann@web -o User=x", "-o Port=3 -p 4 web", "-W x:1 -o ClearAllForwardings=no web", "-4 -o AddressFamily=inet6 web uptime",
	} {
		theirs, err := exec.Command("ssh", append([]string{"-G", "-F", config}, strings.Fields(args)...)...).Output()
		if err != nil {
			t.Errorf("ssh -G %s: %v", args, err)
			continue
		}
		ours, status := capture(t, append([]string{"ssh", "-G", "-F", config}, strings.Fields(args)...)...)
		if status != 0 {
			t.Errorf("adit ssh -G %s: exit status %d", args, status)
		}
		want, got := settings(string(theirs)), settings(ours)
		if len(want) < 40 {
			t.Fatalf("ssh -G says only %d things", len(want))
		}
		for key := range want {
			if fmt.Sprint(got[key]) != fmt.Sprint(want[key]) {
				t.Errorf("%s: %s: got %q, want ssh's %q", args, key, got[key], want[key])
			}
		}
		for key := range got {
			if want[key] == nil {
				t.Errorf("%s: got %s %q, which ssh does not print", args, key, got[key])
			}
		}
	}
}

func TestConfigExplain(t *testing.T) {
	config := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(config, []byte("Host web\n  Port 7\n  User ann\nMatch user bob\n  Port 8\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, status := capture(t, "config", "explain", "-F", config, "-o", "Compression=yes", "web")
	if status != 0 {
		t.Fatalf("exit status %d", status)
	}
	for _, want := range [][]string{
		{"Port", config + ":2", "7"}, {"User", config + ":3", "ann"}, {"Compression", "command line", "yes"}, {"BatchMode", "default", "no"},
		{config + ":1", "applies", "Host web", "web matches web"}, {config + ":4", "no", "Match user bob", `user bob: it is "ann"`},
	} {
		found := false
		for line := range strings.Lines(out) {
			found = found || strings.Join(strings.Fields(line), " ") == strings.Join(want, " ")
		}
		if !found {
			t.Errorf("got\n%swant a line %q", out, want)
		}
	}
	if out, _ := capture(t, "config", "explain", "--set", "-F", config, "web"); strings.Contains(out, "default") || !strings.Contains(out, "Port") {
		t.Errorf("--set: got\n%swant Port, and no default", out)
	}

	out, status = capture(t, "config", "explain", "--json", "-F", config, "web")
	var got struct {
		Host   string
		Values []struct {
			Keyword, Value, Origin, File string
			Line                         int
		}
		Blocks []struct {
			Text, Reason, File string
			Line, Pass         int
			Matched            bool
		}
		Warnings []string
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || status != 0 {
		t.Fatalf("--json: %v, status %d:\n%s", err, status, out)
	}
	if len(got.Blocks) != 2 || !got.Blocks[0].Matched || got.Blocks[1].Matched || got.Blocks[1].Line != 4 || got.Blocks[1].File != config || got.Warnings == nil {
		t.Errorf("--json: got %+v", got.Blocks)
	}
	for _, v := range got.Values {
		if v.Keyword == "Port" && (v.Value != "7" || v.Line != 2 || v.File != config) {
			t.Errorf("--json: got %+v, want 7 from line 2", v)
		}
	}

	if err := os.WriteFile(config, []byte("Prot 7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, status := capture(t, "config", "explain", "-F", config, "web"); status != 255 || out != "" {
		t.Errorf("a mistake in the file: got status %d and %q, want 255 and nothing", status, out)
	}
}
