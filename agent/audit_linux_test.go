package agent

import (
	"bytes"
	"errors"
	"os"
	"os/signal"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// A line that was not written wholly, since the disk was full, is an error, and does
// not spoil the next.
func TestAuditTorn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit")
	f := &AuditFile{Path: path}
	if err := f.Write(Request{Operation: "list"}); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	signal.Ignore(unix.SIGXFSZ)
	defer signal.Reset(unix.SIGXFSZ)
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &before); err != nil {
		t.Fatal(err)
	}
	full := unix.Rlimit{Cur: uint64(len(whole) + 10), Max: before.Max}
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &full); err != nil {
		t.Fatal(err)
	}
	err = f.Write(Request{Operation: "sign"})
	unix.Setrlimit(unix.RLIMIT_FSIZE, &before)
	if !errors.Is(err, unix.EFBIG) {
		t.Errorf("got %v, want EFBIG", err)
	}
	another := &AuditFile{Path: path} // as after the agent was started again
	for _, f := range []*AuditFile{another, f} {
		if err := f.Write(Request{Operation: "list"}); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(b, []byte("\n"))
	if len(lines) != 5 || len(lines[1]) != 11 || len(lines[2]) != len(whole) || len(lines[3]) != len(whole) {
		t.Errorf("the file has\n%s", b)
	}
}
