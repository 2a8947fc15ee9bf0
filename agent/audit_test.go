package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/adit-ssh/adit/internal/testnet"
	"github.com/adit-ssh/adit/internal/wire"
)

// lines are those of an audit file.
func auditLines(t testing.TB, path string) (lines []AuditLine) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(b) {
		var l AuditLine
		d := json.NewDecoder(bytes.NewReader(line))
		d.DisallowUnknownFields()
		if err := d.Decode(&l); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		lines = append(lines, l)
	}
	return lines
}

// A line has all that is known about a request, by name.
func TestAuditLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit")
	f := &AuditFile{Path: path, Hosts: theHosts()}
	user := testKeys.user.PublicKey().Marshal()
	r := Request{
		Peer: Peer{7, 1000, "/usr/bin/ssh"}, Connection: 3, Operation: "sign", Key: user, Comment: "laptop",
		Hops: [][]byte{hostKey(0), hostKey(2)}, Host: hostKey(1), Signing: &Signing{Kind: SignsLogin, User: "alice", Method: "publickey", SessionID: []byte("id")},
		Rule: "--allow user=alice", Confirmed: true,
	}
	refused := Request{Peer: Peer{UID: -1}, Operation: "sign", Err: &RuleError{Rule: "--deny user=root"}, Signing: &Signing{Kind: SignsSSHSIG, Namespace: "git"}}
	for _, r := range []Request{r, refused, {Operation: "list", Listed: 0, Hidden: 2}, {Operation: "add", Begun: true}} {
		if err := f.Write(r); err != nil {
			t.Fatal(err)
		}
	}
	lines := auditLines(t, path)
	for i, l := range lines {
		when, err := time.Parse(time.RFC3339Nano, l.Time)
		if err != nil || time.Since(when) < 0 || time.Since(when) > time.Minute {
			t.Errorf("the time is %s, %v", l.Time, err)
		}
		lines[i].Time = ""
	}
	none := 0
	want := []AuditLine{
		{
			PID: 7, UID: 1000, Exe: "/usr/bin/ssh", Connection: 3, Operation: "sign", Key: Fingerprint(user), Type: "ssh-ed25519", Comment: "laptop",
			Via:  []AuditHost{{Fingerprint(hostKey(0)), []string{"bastion", "10.0.0.1"}}, {Key: Fingerprint(hostKey(2))}},
			Host: &AuditHost{Fingerprint(hostKey(1)), []string{"db.example.com"}}, Signs: "login", User: "alice", Method: "publickey",
			Decision: "allowed", Confirmed: true, Rule: "--allow user=alice",
		},
		{UID: -1, Operation: "sign", Signs: "sshsig", Namespace: "git", Decision: "refused", Rule: "--deny user=root", Why: "a rule refuses it: --deny user=root"},
		{Operation: "list", Listed: &none, Hidden: 2, Decision: "allowed"},
		{Operation: "add", Decision: "begun"},
	}
	if !reflect.DeepEqual(lines, want) {
		t.Errorf("got\n%+v\nwant\n%+v", lines, want)
	}
	if fi, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && fi.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
}

// What a peer says can neither break a line nor reach a terminal, and is not lost.
func TestAuditHostile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit")
	f := &AuditFile{Path: path}
	hostile := "a\nb\x1b[2J\x00\x7f\u009b31m\u202e\u2028\U0001f600 </script>\"\\é"
	if err := f.Write(Request{Operation: "sign", Comment: hostile + "\xff", Extension: hostile, Signing: &Signing{Kind: SignsLogin, User: hostile, Namespace: hostile}, Err: errors.New(hostile)}); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range b {
		if (c < ' ' || c > '~') && !(c == '\n' && i == len(b)-1) {
			t.Errorf("byte %d is %#x in %s", i, c, b)
		}
	}
	l := auditLines(t, path)[0]
	if l.Comment != hostile+"\ufffd" || l.User != hostile || l.Why != hostile || l.Extension != hostile || l.Namespace != hostile {
		t.Errorf("got %+v", l)
	}
}

// A file that others may read, or that is none, is not written; one that was moved
// away comes anew; many write at once.
func TestAuditFiles(t *testing.T) {
	testnet.Census(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "audit")
	f, g := &AuditFile{Path: path}, &AuditFile{Path: path}
	if err := f.Check(); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for range 50 {
				if err := []*AuditFile{f, g}[i%2].Write(Request{Operation: "list", Comment: strings.Repeat("x", 1000)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if n := len(auditLines(t, path)); n != 400 {
		t.Errorf("%d lines, want 400", n)
	}
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if err := f.Write(Request{Operation: "list"}); err != nil || len(auditLines(t, path)) != 1 {
		t.Errorf("after the file was moved away: %v", err)
	}
	if err := (&AuditFile{Path: dir}).Check(); err == nil {
		t.Error("a folder was taken for a file")
	}
	if runtime.GOOS == "windows" {
		return
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{"Check": f.Check(), "Write": f.Write(Request{})} {
		if e, ok := errors.AsType[*PublicAuditError](err); !ok || e.Mode != 0o640 || !strings.Contains(e.Hint(), "chmod 600 "+path) {
			t.Errorf("%s to a file that others may read: %v", name, err)
		}
	}
	if err := (&AuditFile{Path: filepath.Join(dir, "no", "audit")}).Check(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("in a folder that there is not: %v", err)
	}
}

// The Server says who asked, refuses what it can't record, and says that it did.
func TestServerAudit(t *testing.T) {
	testnet.Census(t)
	dir := t.TempDir()
	f := &AuditFile{Path: filepath.Join(dir, "audit")}
	said := make(chan Request, 10)
	path, stop := serveRing(t, &Server{Agent: ringWith(t, AddedKey{Comment: "laptop"}), Audit: f.Write, Log: func(r Request) { said <- r }})
	for range 2 {
		c := NewClient(dialAgent(t, path))
		if ids, err := c.List(t.Context()); err != nil || len(ids) != 1 {
			t.Fatalf("%v, %v", ids, err)
		}
		<-said
	}
	if err := os.Rename(dir+"/audit", dir+"/moved"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir+"/audit", 0o700); err != nil {
		t.Fatal(err)
	}
	c := NewClient(dialAgent(t, path))
	if _, err := c.List(t.Context()); !errors.Is(err, ErrRefused) {
		t.Errorf("a list that can't be recorded: %v", err)
	}
	if _, ok := errors.AsType[*AuditError]((<-said).Err); !ok {
		t.Error("nothing was said of it")
	}
	if err := c.RemoveAll(t.Context()); !errors.Is(err, ErrRefused) {
		t.Errorf("removing all: %v", err)
	}
	if r := <-said; r.Operation != "remove all" || !r.Begun {
		t.Errorf("said %+v", r)
	}
	os.Remove(dir + "/audit")
	if ids, err := c.List(t.Context()); err != nil || len(ids) != 1 {
		t.Errorf("after it can be written again: %v, %v", ids, err)
	}
	stop()
	lines := auditLines(t, dir+"/moved")
	exe, _ := os.Executable()
	if len(lines) != 2 || lines[0].Connection != 1 || lines[1].Connection != 2 || *lines[0].Listed != 1 {
		t.Errorf("got %+v", lines)
	}
	if l := lines[0]; runtime.GOOS == "linux" && (l.PID != os.Getpid() || l.UID != os.Geteuid() || l.Exe != exe) {
		t.Errorf("the peer is %+v, want %d, %d, %s", l, os.Getpid(), os.Geteuid(), exe)
	}
}

// No byte of a key or of a passphrase gets into the file, and no session.
func TestAuditHasNoSecrets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit")
	f := &AuditFile{Path: path}
	ring := &Keyring{}
	defer ring.Close()
	c := ring.connect(f.Write)
	add := addRequest(t, AddedKey{PrivateKey: testKeys.raw, Comment: "the comment"})
	for n := range add {
		c.Answer(t.Context(), add[:n])
	}
	user := testKeys.user.PublicKey()
	for _, request := range [][]byte{
		add, signing(user, string(loginData([]byte("the session"), "alice", wire.MethodPublickey, user.Type(), user.Marshal(), nil)), 0), signing(user, "to be signed", 0),
		wire.AppendString([]byte{numLock}, "hunter seven"), wire.AppendString([]byte{numUnlock}, "hunter eight"), wire.AppendString([]byte{numUnlock}, "hunter seven"),
	} {
		c.Answer(t.Context(), request)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"hunter", "the session", "to be signed", string(testKeys.raw[:8]), string(testKeys.raw[24:32])} {
		if bytes.Contains(b, []byte(secret)) {
			t.Errorf("the file has %q in it", secret)
		}
	}
	if lines := auditLines(t, path); len(lines) < len(add)*2 || lines[len(lines)-1].Decision != "allowed" {
		t.Errorf("%d lines", len(lines))
	}
}
