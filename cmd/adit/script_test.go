package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/testpeer"
)

// TestMain makes this program adit when it is called by that name, as scripts
// and terminals here call it.
func TestMain(m *testing.M) {
	// Else the race detector makes each adit wait for a second at its end.
	os.Setenv("GORACE", os.Getenv("GORACE")+" atexit_sleep_ms=0")
	if filepath.Base(os.Args[0]) == "ssh" { // a link that a test made: see main
		main()
	}
	if filepath.Base(os.Args[0]) != "adit" {
		for _, s := range []os.Signal{os.Interrupt, syscall.SIGHUP} {
			// Programs here are to end at it, even if these tests run behind nohup
			// or &: what is handled here is not ignored by a child.
			if signal.Ignored(s) {
				signal.Notify(make(chan os.Signal, 1), s)
			}
		}
	}
	testscript.Main(m, map[string]func(){"adit": main})
}

// patience is how long something may take that should take no time. It bounds
// only tests that fail.
const patience = time.Minute

// TestScript runs testdata/script: adit alone, and `adit ssh` with `adit serve`.
func TestScript(t *testing.T) {
	testpeer.Need(t, "curl")
	runScripts(t, "testdata/script", nil)
}

// TestScriptSSHD runs testdata/sshd: `adit ssh` with OpenSSH's sshd at $SSHD,
// port $PORT, which lets $KEY in.
func TestScriptSSHD(t *testing.T) {
	testpeer.Need(t, "curl", "sshd", "ssh-keygen")
	s := testpeer.SSHD(t, testpeer.SSHDOptions{Config: []string{"AcceptEnv LC_* FRUIT", "Subsystem cat exec cat"}})
	runScripts(t, "testdata/sshd", map[string]string{
		"PORT": strconv.Itoa(s.Port()), "KEY": s.Key.Path, "KNOWN": s.KnownHosts(t), "FINGERPRINT": fingerprint(s.HostKeys[0]),
		"USER_NAME": s.User,
	})
}

// runScripts runs the scripts in dir. Each finds in its folder, which is also
// its HOME, the keys id, other and host_key, authorized_keys with id, and limited,
// which lets id go to $ECHO only. $WEB is a web service that says "a page, PATH", $ECHO a service that sends back what it
// gets, at $ECHO_PORT, $REFUSED an address that refuses, $BUSY a port that is taken.
func runScripts(t *testing.T, dir string, vars map[string]string) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "a page, %s\n", r.URL.Path)
	}))
	t.Cleanup(web.Close)
	busy, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { busy.Close() })
	keys := map[string]*testpeer.Key{}
	for _, name := range []string{"id", "other", "host_key"} {
		keys[name] = testpeer.NewKey(t, "ed25519")
	}
	echo := testpeer.EchoTarget(t).Addr
	shared := map[string]string{
		"WEB": web.Listener.Addr().String(), "ECHO": echo, "ECHO_PORT": echo[strings.LastIndexByte(echo, ':')+1:], "REFUSED": testpeer.RefusedAddr(t),
		"BUSY": portOf(busy.Addr()), "HOST_FINGERPRINT": fingerprint(keys["host_key"].Public),
	}
	testscript.Run(t, testscript.Params{
		Dir:                 dir,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Values[spawned{}] = map[string]*child{}
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("GORACE", os.Getenv("GORACE"))
			for _, m := range []map[string]string{shared, vars} {
				for k, v := range m {
					env.Setenv(k, v)
				}
			}
			for name, k := range keys {
				for _, suffix := range []string{"", ".pub"} {
					if err := copyFile(k.Path+suffix, filepath.Join(env.WorkDir, name+suffix)); err != nil {
						return err
					}
				}
			}
			limited := fmt.Sprintf("permitopen=%q %s\n", shared["ECHO"], keys["id"].Line())
			if err := os.WriteFile(filepath.Join(env.WorkDir, "limited"), []byte(limited), 0o600); err != nil {
				return err
			}
			return copyFile(keys["id"].Path+".pub", filepath.Join(env.WorkDir, "authorized_keys"))
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": cmdExits, "spawn": cmdSpawn, "end": cmdEnd,
		},
	})
}

// cmdExits is "exits STATUS PROGRAM ARG…": like exec, for one exit status.
func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits status program arg…")
	}
	got, err := exitStatusOf(ts.Exec(args[1], args[2:]...))
	ts.Check(err)
	if strconv.Itoa(got) != args[0] {
		ts.Fatalf("%s: exit status %d, want %s", args[1], got, args[0])
	}
}

func exitStatusOf(err error) (int, error) {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode(), nil
	}
	return 0, err
}

// spawned is the key of a script's children by name.
type spawned struct{}

// child is a program that runs beside a script.
type child struct {
	cmd    *exec.Cmd
	stdout bytes.Buffer // read after Wait
	stderr output
	wait   func() error // idempotent
}

// output collects what a program writes and tells when there is more.
type output struct {
	mu    sync.Mutex
	text  []byte        // guarded by mu
	more  chan struct{} // guarded by mu; closed at the next write
	ended bool          // guarded by mu
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text = append(o.text, p...)
	o.wakeLocked()
	return len(p), nil
}

func (o *output) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = true
	o.wakeLocked()
}

func (o *output) wakeLocked() {
	if o.more != nil {
		close(o.more)
		o.more = nil
	}
}

// await waits for text that matches, from offset on, and returns the match's
// groups and where it ends.
func (o *output) await(re *regexp.Regexp, offset int) (groups []string, end int, err error) {
	text, ended := "", false
	err = o.until(func() bool {
		text, ended = string(o.text[offset:]), o.ended
		groups = re.FindStringSubmatch(text)
		return groups != nil || ended
	})
	switch {
	case groups != nil:
		return groups, offset + re.FindStringIndex(text)[1], nil
	case ended:
		err = errors.New("it has ended")
	}
	return nil, 0, fmt.Errorf("%q does not come: %w; it says\n%s", re, err, text)
}

// rest waits for the output's end and returns what came from offset on.
func (o *output) rest(offset int) (text string, err error) {
	err = o.until(func() bool {
		text = string(o.text[offset:])
		return o.ended
	})
	return text, err
}

// until waits for done, which is called under the lock at each change.
func (o *output) until(done func() bool) error {
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		o.mu.Lock()
		if done() {
			o.mu.Unlock()
			return nil
		}
		if o.more == nil {
			o.more = make(chan struct{})
		}
		more := o.more
		o.mu.Unlock()
		select {
		case <-more:
		case <-timeout.C:
			return fmt.Errorf("nothing for %v", patience)
		}
	}
}

// cmdSpawn is "spawn NAME REGEXP VARIABLE… -- PROGRAM ARG…": it starts a program,
// waits until its standard error matches, and puts the match's groups into the
// variables. Its standard input is silent and has no end.
func cmdSpawn(ts *testscript.TestScript, neg bool, args []string) {
	dashes := 2
	for dashes < len(args) && args[dashes] != "--" {
		dashes++
	}
	if neg || len(args) < dashes+2 {
		ts.Fatalf("usage: spawn name regexp variable… -- program arg…")
	}
	re, err := regexp.Compile(args[1])
	ts.Check(err)
	program := args[dashes+1]
	c := &child{cmd: exec.Command(program, args[dashes+2:]...)}
	c.cmd.Dir = ts.MkAbs(".")
	c.cmd.Env = append(os.Environ(), "HOME="+ts.Getenv("HOME"), "SSH_AUTH_SOCK="+ts.Getenv("SSH_AUTH_SOCK"))
	c.cmd.Stdout, c.cmd.Stderr = &c.stdout, &c.stderr
	c.cmd.WaitDelay = patience
	_, err = c.cmd.StdinPipe() // stays open until it ends
	ts.Check(err)
	ts.Check(c.cmd.Start())
	c.wait = sync.OnceValue(func() error {
		defer c.stderr.end()
		return c.cmd.Wait()
	})
	go c.wait() // ends with the program
	ts.Defer(func() {
		c.cmd.Process.Kill()
		c.wait()
	})
	groups, _, err := c.stderr.await(re, 0)
	if err != nil {
		ts.Fatalf("%s: %v", program, err)
	}
	for i, name := range args[2:dashes] {
		ts.Setenv(name, groups[i+1])
	}
	ts.Value(spawned{}).(map[string]*child)[args[0]] = c
}

// cmdEnd is "end NAME INT|TERM STATUS": it sends the signal, waits, compares the
// exit status and leaves the output for stdout and stderr. The signal "none"
// only waits.
func cmdEnd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: end name signal status")
	}
	c := ts.Value(spawned{}).(map[string]*child)[args[0]]
	if c == nil {
		ts.Fatalf("nothing of the name %s was spawned", args[0])
	}
	if s := map[string]os.Signal{"INT": os.Interrupt, "TERM": syscall.SIGTERM}[args[1]]; s != nil {
		ts.Check(c.cmd.Process.Signal(s))
	}
	hung := time.AfterFunc(patience, func() { c.cmd.Process.Kill() })
	defer hung.Stop()
	err := c.wait()
	ts.Stdout().Write(c.stdout.Bytes())
	ts.Stderr().Write(c.stderr.text)
	got, err := exitStatusOf(err)
	ts.Check(err)
	if strconv.Itoa(got) != args[2] {
		ts.Fatalf("%s: exit status %d, want %s; it said\n%s", args[0], got, args[2], c.stderr.text)
	}
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

func fingerprint(k gossh.PublicKey) string { return gossh.FingerprintSHA256(k) }

func portOf(a net.Addr) string { return portIn(a.String()) }

func portIn(addr string) string {
	_, port, _ := strings.Cut(addr, ":")
	return port
}
