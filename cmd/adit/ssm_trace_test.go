//go:build linux

package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/adit-ssh/adit/internal/testpeer"
	"github.com/adit-ssh/adit/internal/testpeer/ssmgw"
	"github.com/adit-ssh/adit/trace"
)

// readEntries reads a trace, which must be whole.
func readEntries(t *testing.T, name string) []trace.Entry {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := trace.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	all, err := r.ReadAll()
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return all
}

// countLines counts entries whose line has all of some texts.
func countLines(all []trace.Entry, texts ...string) (n int) {
	for i := range all {
		line, has := all[i].Line(), true
		for _, text := range texts {
			has = has && strings.Contains(line, text)
		}
		if has {
			n++
		}
	}
	return n
}

// A trace of `adit ssh` through Session Manager has the session's messages beside
// SSH's, and that of `adit ssm` has them alone.
func TestSSMTrace(t *testing.T) {
	t.Parallel()
	testpeer.Need(t, "sshd", "ssh-keygen")
	server := testpeer.SSHD(t, testpeer.SSHDOptions{})
	env := append(os.Environ(), append(ssmEnv(t, &ssmgw.Gateway{}), "HOME="+t.TempDir(), "SSH_AUTH_SOCK=")...)
	// The input ends when there is some output, or the program ends without.
	run := func(args ...string) (string, error) {
		cmd := exec.Command("adit", args...)
		cmd.Env = env
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		in, out := pipes(t, cmd)
		out.Read(make([]byte, 1))
		in.Close()
		io.Copy(io.Discard, out)
		err := cmd.Wait()
		return stderr.String(), err
	}
	dir := t.TempDir()
	port := strconv.Itoa(server.Port())

	name := filepath.Join(dir, "ssh.jsonl")
	if said, err := run("ssh", "-F", "none", "-i", server.Key.Path, "-p", port, "-o", "StrictHostKeyChecking=accept-new", "--trace", name, "ssm://"+server.User+"@"+ssmNode, "true"); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	all := readEntries(t, name)
	for _, texts := range [][]string{
		{"dial:stage", "stage=ssm:StartSession"}, {"dial:stage", `stage="data channel"`}, {"dial:stage", "stage=handshake", "agent 3.3.987.0"},
		{"#1 <-", "output_stream_data", "agent version=3.3.987.0"}, {"#1 ->", "KEXINIT"}, {"#1 ->", "input_stream_data", `flag="terminate session"`},
	} {
		if countLines(all, texts...) == 0 {
			t.Errorf("the trace of adit ssh has no line with %q", texts)
		}
	}
	out, err := exec.Command("adit", "trace", "stats", name).Output()
	if err != nil || !strings.Contains(string(out), "ssm:StartSession") || !strings.Contains(string(out), "Session Manager's messages") {
		t.Errorf("stats: %v\n%s", err, out)
	}

	name = filepath.Join(dir, "ssm.jsonl")
	if said, err := run("ssm", "--trace", name, ssmNode, port); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	all = readEntries(t, name)
	if countLines(all, "connection:start role=ssm target="+ssmNode) != 1 || countLines(all, "connection:end") != 1 || countLines(all, "output_stream_data", "data length=") == 0 {
		t.Errorf("the trace of adit ssm has %d lines, the first %s", len(all), all[0].Line())
	}
	for _, verb := range [][]string{{"stats"}, {"ladder", "--text"}} {
		if out, err := exec.Command("adit", append(append([]string{"trace"}, verb...), name)...).CombinedOutput(); err != nil || !strings.Contains(string(out), "handshake") {
			t.Errorf("%v: %v\n%s", verb, err, out)
		}
	}

	said, err := run("ssm", "--trace", filepath.Join(dir, "x.pcapng"), ssmNode)
	if err == nil || !strings.Contains(said, "Session Manager's messages are not SSH, which is all that a capture can show") {
		t.Errorf("a capture: %v\n%s", err, said)
	}
}

// --local tells who connected, and how much went each way; each session is a connection
// of its own, one for each client where the agent can't share one; a signal leaves a
// whole file.
func TestSSMForwardTrace(t *testing.T) {
	t.Parallel()
	echo := testpeer.EchoTarget(t)
	_, port, _ := strings.Cut(echo.Addr, ":")
	for _, c := range []struct {
		name, sessions, version string
		clients, want           int // connections in the trace besides the program's
	}{
		{"one", "1", "", 1, 1},
		{"three", "3", "", 3, 3},
		{"one each", "1", "3.0.196.0", 2, 3}, // and one that showed it
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			name := filepath.Join(t.TempDir(), "forward.jsonl")
			g := &ssmgw.Gateway{Agent: ssmgw.Agent{Version: c.version}}
			cmd := ssmProgram(t, g, "ssm", "--trace", name, "--sessions", c.sessions, "--local", "0", "--remote", port, ssmNode)
			addr := started(t, cmd, forwardingTo)
			for range c.clients {
				if got := exchange(t, addr, "over there"); got != "over there" {
					t.Errorf("got %q", got)
				}
			}
			cmd.Process.Signal(syscall.SIGHUP)
			cmd.Wait()
			all := readEntries(t, name)
			for _, l := range []struct {
				want  int
				texts []string
			}{
				{1, []string{"what=listen"}}, {c.clients, []string{"what=accept", "originator=127.0.0.1:"}}, {c.clients, []string{"what=done", "bytes out=10", "bytes in=10"}},
				{1 + c.want, []string{"connection:start role=ssm target=" + ssmNode}}, {1 + c.want, []string{"connection:end"}},
			} {
				if n := countLines(all, l.texts...); n != l.want {
					t.Errorf("%d lines with %q, want %d", n, l.texts, l.want)
				}
			}
			if n := countLines(all, "#1 ", "_stream_data"); n != 0 {
				t.Errorf("%d messages of sessions are the program's", n)
			}
			for n := range c.want {
				if countLines(all, "#"+strconv.Itoa(2+n)+" ", "output_stream_data") == 0 {
					t.Errorf("session %d has no messages", n+1)
				}
			}
		})
	}
}
