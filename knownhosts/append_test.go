package knownhosts

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	gossh "golang.org/x/crypto/ssh"
)

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestAppendTogether has many append while others replace lines: nothing may be
// lost or torn, and comments stay.
func TestAppendTogether(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no locks there")
	}
	const writers, each = 24, 20
	s, key := newKey(t)
	rotating := make([]gossh.PublicKey, 2)
	for i := range rotating {
		k, _ := newKey(t)
		rotating[i] = k.PublicKey()
	}
	file := filepath.Join(t.TempDir(), "known_hosts")
	if err := os.WriteFile(file, []byte("# mine\nfirst "+key), 0o640); err != nil { // no newline at its end
		t.Fatal(err)
	}
	for i := range each {
		var all sync.WaitGroup
		for w := range writers {
			all.Go(func() {
				if err := Append(file, Host{fmt.Sprintf("w%d-%d", w, i), 22}, s.PublicKey(), w%2 == 1); err != nil {
					t.Errorf("Append: %v", err)
				}
			})
			if w%8 == 0 {
				all.Go(func() {
					if err := Replace(file, Host{"rotating", 22}, "", rotating[(i+w/8)%2:][:1], false); err != nil {
						t.Errorf("Replace: %v", err)
					}
				})
			}
		}
		all.Wait()
	}
	db, err := Load(file)
	if err != nil || len(db.Warnings) > 0 {
		t.Fatalf("%v, lines that are torn: %v", err, db.Warnings)
	}
	if want := writers*each + 2; len(db.Entries) != want {
		t.Errorf("%d lines, want %d", len(db.Entries), want)
	}
	for w := range writers {
		for i := range each {
			if status, _ := db.Lookup(fmt.Sprintf("w%d-%d", w, i), s.PublicKey()); status != IsKnown {
				t.Errorf("the line of w%d-%d is lost", w, i)
			}
		}
	}
	if text := read(t, file); !strings.HasPrefix(text, "# mine\nfirst "+key+"\n") {
		t.Errorf("the file begins with %.200q", text)
	}
	if st, err := os.Stat(file); err != nil || st.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v, want 0640", st.Mode(), err)
	}
}

func TestAppendAddress(t *testing.T) {
	s, key := newKey(t)
	file := filepath.Join(t.TempDir(), "known_hosts")
	for _, hash := range []bool{false, true} {
		if err := AppendAddress(file, Host{"DB", 2222}, "[10.0.0.1]:2222", s.PublicKey(), hash); err != nil {
			t.Fatal(err)
		}
	}
	lines := strings.Split(read(t, file), "\n")
	if len(lines) != 4 || lines[0] != "[db]:2222,[10.0.0.1]:2222 "+key || !strings.HasPrefix(lines[1], "|1|") || !strings.HasPrefix(lines[2], "|1|") {
		t.Errorf("got %q, want one plain line, and two hashed ones", lines)
	}
}

func TestReplace(t *testing.T) {
	a, lineA := newKey(t)
	b, lineB := newKey(t)
	_, other := newKey(t)
	start := "# comment\nbroken\n  h " + lineA + " note\nh,x " + other + "\n@revoked h " + other + "\nelse " + other + "\n\nH " + other + "\n|1|a|b " + other
	want := "# comment\nbroken\n  h " + lineA + " note\n@revoked h " + other + "\nelse " + other + "\n\n|1|a|b " + other + "\nh " + lineB + "\n"
	dir := t.TempDir()
	real, link := filepath.Join(dir, "real"), filepath.Join(dir, "known_hosts")
	if err := os.WriteFile(real, []byte(start), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(real, link); err != nil {
		t.Skipf("no symbolic links: %v", err)
	}
	keys := []gossh.PublicKey{a.PublicKey(), b.PublicKey()}
	for i := range 2 { // the second time changes nothing
		if err := Replace(link, Host{"h", 22}, "", keys, false); err != nil {
			t.Fatal(err)
		}
		if got := read(t, link); got != want {
			t.Errorf("time %d: got\n%s\nwant\n%s", i+1, got, want)
		}
		if got := read(t, real+".old"); got != start {
			t.Errorf("time %d: the old file is %q", i+1, got)
		}
	}
	if st, err := os.Lstat(link); err != nil || st.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("the link is %v, %v now", st.Mode(), err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 3 {
		t.Errorf("files left: %q", left)
	}
	if err := Replace(filepath.Join(dir, "missing"), Host{"h", 22}, "", keys, false); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

func TestCompare(t *testing.T) {
	a, lineA := newKey(t)
	b, lineB := newKey(t)
	_, lineO := newKey(t)
	keys := []gossh.PublicKey{a.PublicKey(), b.PublicKey()}
	for name, c := range map[string]struct {
		text, address   string
		added, obsolete int
		refused         bool
	}{
		"one known":                       {"h " + lineA, "", 1, 0, false},
		"both":                            {"h " + lineA + "\nh " + lineB, "", 0, 0, false},
		"an old one":                      {"h " + lineA + "\nh " + lineO, "", 1, 1, false},
		"an old one with another name":    {"h " + lineA + "\nh " + lineO + "\nx " + lineO, "", 1, 1, true},
		"new one has another name":        {"h " + lineA + "\nx " + lineB, "", 1, 0, true},
		"hashed":                          {Line(Host{"h", 22}, a.PublicKey(), true), "", 1, 0, false},
		"wildcard":                        {"h* " + lineA, "", 2, 0, true},
		"list of three":                   {"h,i,j " + lineA, "", 2, 0, true},
		"list of two":                     {"h,i " + lineA, "", 1, 0, false},
		"authority":                       {"h " + lineA + "\n@cert-authority h " + lineO, "", 1, 0, true},
		"with its address":                {"h,10.0.0.1 " + lineA, "10.0.0.1", 1, 0, false},
		"with another address":            {"h,10.0.0.2 " + lineA, "10.0.0.1", 1, 0, true},
		"another name with its address":   {"h " + lineA + "\nx,10.0.0.1 " + lineA, "10.0.0.1", 1, 0, true},
		"lines of others and broken ones": {"x " + lineO + "\nbroken\nh " + lineA, "", 1, 0, false},
	} {
		u := load(t, c.text).Compare(Host{"h", 22}, c.address, keys)
		if len(u.New) != c.added || len(u.Old) != c.obsolete || (u.Refused != "") != c.refused {
			t.Errorf("%s: %d new, %d old, refused %q; want %d, %d, %v", name, len(u.New), len(u.Old), u.Refused, c.added, c.obsolete, c.refused)
		}
	}
}

// What is no file is not replaced by one: /dev/null would be gone.
func TestReplaceRegularOnly(t *testing.T) {
	key, _ := newKey(t)
	files := []string{t.TempDir()}
	null := filepath.Join(t.TempDir(), "null")
	if exec.Command("mknod", null, "c", "1", "3").Run() == nil { // it takes root
		files = append(files, null)
	}
	for _, file := range files {
		if err := Replace(file, Host{"h", 22}, "", []gossh.PublicKey{key.PublicKey()}, false); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("%s: got %v, want a refusal", file, err)
		}
		if st, err := os.Stat(file); err != nil || st.Mode().IsRegular() {
			t.Errorf("%s has become a file: %v, %v", file, st, err)
		}
	}
}

// A device that never ends is not read for ever.
func TestLoadBounded(t *testing.T) {
	if _, err := os.Stat("/dev/zero"); err != nil {
		t.Skip(err)
	}
	file := filepath.Join(t.TempDir(), "known_hosts")
	_, line := newKey(t)
	if err := os.WriteFile(file, []byte("h "+line+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := Load("/dev/zero", file)
	if err == nil || !strings.Contains(err.Error(), "/dev/zero: more than") || len(db.Entries) != 1 {
		t.Errorf("got %d entries, %v; want one and a refusal", len(db.Entries), err)
	}
	if _, err := LoadRevoked("/dev/zero"); err == nil || !strings.Contains(err.Error(), "/dev/zero: more than") {
		t.Errorf("revoked keys: got %v, want a refusal", err)
	}
}
