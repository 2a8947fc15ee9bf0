package knownhosts

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/adit-ssh/adit/internal/testpeer"
)

// foundLine is what ssh-keygen -F says before each line that it finds.
var foundLine = regexp.MustCompile(`(?m)^# Host .* found: line (\d+)`)

// keygenFind returns the numbers of the lines that ssh-keygen finds for a host
// in the files' form.
func keygenFind(t *testing.T, file, host string) (lines []int) {
	t.Helper()
	out, err := exec.Command("ssh-keygen", "-F", host, "-f", file).CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && (!ok || exit.ExitCode() != 1) {
		t.Fatalf("ssh-keygen -F %q: %v\n%s", host, err, out)
	}
	for _, m := range foundLine.FindAllSubmatch(out, -1) {
		n, _ := strconv.Atoi(string(m[1]))
		lines = append(lines, n)
	}
	return lines
}

// find returns the numbers of the lines that we find, revocations with them.
func (db *DB) find(host string) (lines []int) {
	for _, e := range db.Entries {
		if e.matches(host) {
			lines = append(lines, e.Line)
		}
	}
	return lines
}

// grammar makes lines and hosts out of so few words that they often meet.
type grammar struct {
	*rand.Rand
	keys []string
	hash func(host string) string
}

func (g *grammar) pick(of ...string) string { return of[g.IntN(len(of))] }

func (g *grammar) name() string {
	name := g.pick("a", "b", "ab", "host", "db.example", "10.0.0.1", "fe80::1", "::1")
	if g.IntN(4) == 0 {
		name = strings.ToUpper(name)
	}
	return name
}

// host is a name in the files' form, with a port or without.
func (g *grammar) host() string {
	if g.IntN(3) == 0 {
		return "[" + g.name() + "]:" + g.pick("22", "222", "2222")
	}
	return g.name()
}

func (g *grammar) pattern() string {
	p := g.host()
	if g.IntN(3) == 0 {
		b := []byte(p)
		i := g.IntN(len(b))
		p = string(b[:i]) + g.pick("*", "?", "**", "*?") + string(b[min(len(b), i+g.IntN(3)):])
	}
	if g.IntN(5) == 0 {
		p = "!" + p
	}
	if g.IntN(20) == 0 {
		p = g.pick("*", "?", "!*", "", "[*]:22", "*:2222", "[a]", "!")
	}
	return p
}

func (g *grammar) line() string {
	switch g.IntN(12) {
	case 0:
		return g.pick("", "# a comment", "   ", "#a "+g.keys[0])
	case 1, 2:
		return g.hash(strings.ToLower(g.host())) + " " + g.pick(g.keys...)
	}
	var patterns []string
	for range 1 + g.IntN(3) {
		patterns = append(patterns, g.pattern())
	}
	names := strings.Join(patterns, ",")
	if names == "" || names[0] == '#' {
		names = "a" + names
	}
	return g.pick("", "", "", "", "@cert-authority ", "@revoked ", "\t") + names + g.pick(" ", "  ", "\t") + g.pick(g.keys...) + g.pick("", " comment")
}

// TestFindsWhatKeygenFinds compares which lines are for a host with
// ssh-keygen -F, over random files and hosts.
func TestFindsWhatKeygenFinds(t *testing.T) {
	testpeer.Need(t, "ssh-keygen")
	files, hosts := 15, 12
	if testing.Short() {
		files = 4
	}
	s, key := newKey(t)
	_, other := newKey(t)
	g := &grammar{Rand: rand.New(rand.NewPCG(1, 2)), keys: []string{key, other}}
	g.hash = func(host string) string {
		h := Host{Name: host, Port: 22}
		if inner, ok := strings.CutPrefix(host, "["); ok {
			name, port, _ := strings.Cut(inner, "]:")
			n, _ := strconv.Atoi(port)
			h = Host{name, n}
		}
		line, _, _ := strings.Cut(Line(h, s.PublicKey(), true), " ")
		return line
	}
	found := 0
	for range files {
		var lines []string
		for range 20 {
			lines = append(lines, g.line())
		}
		text := strings.Join(lines, "\n") + "\n"
		db := load(t, text)
		if len(db.Warnings) > 0 {
			t.Errorf("warnings %v about\n%s", db.Warnings, text)
		}
		for range hosts {
			host := strings.ToLower(g.host())
			got, want := db.find(host), keygenFind(t, db.Files[0], host)
			found += len(want)
			if !slices.Equal(got, want) {
				t.Errorf("%s: we find lines %v, ssh-keygen -F finds %v, in\n%s", host, got, want, text)
			}
		}
	}
	if found < files*hosts {
		t.Errorf("%d lines found in %d questions: the files and hosts don't meet often enough to prove anything", found, files*hosts)
	}
}

// TestKeygenHashes checks that a file hashed by ssh-keygen -H says the same as
// before.
func TestKeygenHashes(t *testing.T) {
	testpeer.Need(t, "ssh-keygen")
	s, key := newKey(t)
	_, other := newKey(t)
	plain := load(t, strings.Join([]string{
		"plain " + key, "CAPITALS " + key, "one,two,[three]:2222 " + key, "changed " + other, "[far]:2222 " + key,
		"wild* " + key, "@cert-authority ca " + key, "10.0.0.1,::1 " + key,
	}, "\n")+"\n")
	file := filepath.Join(t.TempDir(), "known_hosts")
	b, err := os.ReadFile(plain.Files[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("ssh-keygen", "-H", "-f", file).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen -H: %v\n%s", err, out)
	}
	hashed, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	hashes := 0
	for _, e := range hashed.Entries {
		if strings.HasPrefix(e.Patterns, "|1|") {
			hashes++
		}
	}
	if hashes != 9 || len(hashed.Warnings) > 0 {
		t.Errorf("ssh-keygen -H made %d hashed lines, want 9; warnings %v", hashes, hashed.Warnings)
	}
	for _, h := range []Host{{"plain", 22}, {"PLAIN", 22}, {"plain", 2222}, {"capitals", 22}, {"one", 22}, {"two", 22}, {"three", 2222},
		{"three", 22}, {"changed", 22}, {"far", 2222}, {"far", 22}, {"wilder", 22}, {"ca", 22}, {"10.0.0.1", 22}, {"::1", 22}, {"nobody", 22}} {
		got, want := verdict(hashed.Check(h, s.PublicKey(), time.Now())), verdict(plain.Check(h, s.PublicKey(), time.Now()))
		if got != want {
			t.Errorf("%s: %s in the hashed file, %s in the plain one", h, got, want)
		}
	}
}

// verdict is a Check's error without its details.
func verdict(err error) string { return fmt.Sprintf("%T", err) }

// TestKeygenRemoves checks what our hint about a changed key says: ssh-keygen -R
// takes away what Append added.
func TestKeygenRemoves(t *testing.T) {
	testpeer.Need(t, "ssh-keygen")
	s, _ := newKey(t)
	for _, hash := range []bool{false, true} {
		file := filepath.Join(t.TempDir(), "known_hosts")
		for _, h := range []Host{{"Host", 22}, {"host", 2222}, {"::1", 22}} {
			if err := Append(file, h, s.PublicKey(), hash); err != nil {
				t.Fatal(err)
			}
			if got := keygenFind(t, file, h.String()); !slices.Equal(got, []int{1}) {
				t.Errorf("%s, hashed %v: ssh-keygen -F finds lines %v, want the first", h, hash, got)
			}
			if out, err := exec.Command("ssh-keygen", "-R", h.String(), "-f", file).CombinedOutput(); err != nil {
				t.Fatalf("ssh-keygen -R: %v\n%s", err, out)
			}
			if b, err := os.ReadFile(file); err != nil || len(b) != 0 {
				t.Errorf("%s, hashed %v: after ssh-keygen -R there is %q, %v", h, hash, b, err)
			}
		}
	}
}
