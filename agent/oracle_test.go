package agent

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/adit-ssh/adit/internal/testpeer"
)

// patience bounds what should take no time: only tests that fail wait for it.
const patience = 30 * time.Second

// realAgent is OpenSSH's ssh-agent, to be asked the same as ours.
type realAgent struct {
	path  string
	major int // of its version
	minor int
}

// startAgent starts ssh-agent, or the one that ADIT_SSH_AGENT names, which ends with
// the test.
func startAgent(t testing.TB) *realAgent {
	t.Helper()
	version := exec.Command("ssh", "-V")
	if program := os.Getenv("ADIT_SSH_AGENT"); program != "" {
		version = exec.Command(program, "-V") // since 10.1
	} else {
		testpeer.Need(t, "ssh")
	}
	a := &realAgent{path: testpeer.SSHAgent(t)}
	said, err := version.CombinedOutput()
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`OpenSSH_(\d+)\.(\d+)`).FindSubmatch(said)
	if m == nil {
		t.Fatalf("%s says %q", version, said)
	}
	a.major, _ = strconv.Atoi(string(m[1]))
	a.minor, _ = strconv.Atoi(string(m[2]))
	return a
}

// since says whether the agent is of a version or newer.
func (a *realAgent) since(major, minor int) bool {
	return a.major > major || a.major == major && a.minor >= minor
}

// dial returns a connection on which raw requests are made.
func (a *realAgent) dial(t testing.TB) (ask func(request []byte) []byte, hangUp func()) {
	t.Helper()
	nc, err := net.Dial("unix", a.path)
	if err != nil {
		t.Fatal(err)
	}
	ask = func(request []byte) []byte {
		t.Helper()
		nc.SetDeadline(time.Now().Add(patience))
		if err := writeFrame(nc, request); err != nil {
			t.Fatalf("ssh-agent, request %x: %v", request, err)
		}
		reply, err := readFrame(nc)
		if err != nil {
			t.Fatalf("ssh-agent, request %x: %v", request, err)
		}
		return reply
	}
	return ask, func() { nc.Close() }
}

// duo are both agents, which are asked the same and have to answer the same, byte
// for byte.
type duo struct {
	testing.TB
	real     *realAgent
	ours     *Keyring
	compared int      // replies
	lines    []func() // hang up
}

func newDuo(t testing.TB) *duo {
	d := &duo{TB: t, real: startAgent(t), ours: &Keyring{Tokens: &Tokens{
		SKHelper: os.Getenv("SSH_SK_HELPER"), PKCS11Helper: os.Getenv("SSH_PKCS11_HELPER"),
	}}}
	t.Cleanup(d.ours.Close)
	t.Cleanup(d.hangUp)
	return d
}

// line is one connection to each of both.
type line struct {
	d    *duo
	real func([]byte) []byte
	ours *Connection
	said [][]byte // the requests, for the failure's text
}

func (d *duo) line() *line {
	d.Helper()
	ask, hangUp := d.real.dial(d)
	d.lines = append(d.lines, hangUp)
	return &line{d: d, real: ask, ours: d.ours.NewConnection()}
}

func (d *duo) hangUp() {
	for _, hangUp := range d.lines {
		hangUp()
	}
	d.lines = nil
}

// ask asks both and compares. It returns our reply.
func (l *line) ask(what string, request []byte) []byte {
	l.d.Helper()
	want := l.real(request)
	var why error
	l.ours.Log = func(_ string, err error) { why = err }
	got := l.ours.Answer(l.d.Context(), request)
	l.said = append(l.said, request)
	l.d.compared++
	// A failure of its own for extensions that are known came with 10.3.
	if len(got) == 1 && got[0] == numExtensionFailure && !l.d.real.since(10, 3) {
		got = []byte{numFailure}
	}
	if !bytes.Equal(got, want) {
		before := ""
		for _, r := range l.said {
			before += fmt.Sprintf("\n  %.400x", r)
		}
		l.d.Fatalf("%s: got %x (%v), ssh-agent answers %x; requests:%s", what, got, why, want, before)
	}
	return got
}

// empty has both forget everything, and ends all lines.
func (d *duo) empty() {
	d.Helper()
	d.hangUp()
	d.line().ask("remove all", []byte{numRemoveAll})
}
