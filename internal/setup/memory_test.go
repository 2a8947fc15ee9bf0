package setup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/adit-ssh/adit"
)

var pref = adit.Preference{Kex: "mlkem768x25519-sha256", HostKey: "ssh-ed25519"}

func TestMemory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cache", "servers.json")
	day := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	m := loadMemory(path)
	if err := m.note("db.internal", pref, day); err != nil {
		t.Fatal(err)
	}
	m = loadMemory(path)
	if got := m.preference("DB.internal", day); got != pref {
		t.Errorf("remembered %+v, want %+v", got, pref)
	}
	if got := m.preference("other", day); got != (adit.Preference{}) {
		t.Errorf("another host: remembered %+v, want nothing", got)
	}
	b, err := os.ReadFile(path)
	if err != nil || strings.Contains(string(b), "db.internal") {
		t.Errorf("the file names the host: %s, %v", b, err)
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("the file has mode %v, %v, want 0600", fi.Mode(), err)
	}
	if err := m.note("db.internal", adit.Preference{}, day); err != nil {
		t.Fatal(err)
	}
	if got := loadMemory(path).preference("db.internal", day); got != (adit.Preference{}) {
		t.Errorf("forgotten host: remembered %+v", got)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".servers-*")); left != nil {
		t.Errorf("files left: %v", left)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	m := loadMemory(filepath.Join(t.TempDir(), "servers.json"))
	day := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	for i := range maxRemembered + 50 {
		m.Servers[m.id(fmt.Sprint("host", i))] = remembered{Kex: pref.Kex, HostKey: pref.HostKey, Seen: day.Add(time.Duration(i) * 24 * time.Hour)}
	}
	if err := m.write(); err != nil {
		t.Fatal(err)
	}
	if err := m.note("last", pref, day.Add(10_000*24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if len(m.Servers) != maxRemembered || m.preference("last", day) != pref || m.preference("host0", day) != (adit.Preference{}) {
		t.Errorf("%d servers are kept, want %d, the newest", len(m.Servers), maxRemembered)
	}
}

func TestMemoryDamaged(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"empty": "", "not JSON": "{", "another shape": `{"Servers": 3}`, "null": "null",
		"huge": `{"Salt":"` + strings.Repeat("a", maxMemoryFile) + `"}`,
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		m := loadMemory(path)
		if m.preference("h", time.Unix(1e9, 0)) != (adit.Preference{}) || m.Salt == "" {
			t.Errorf("%s: %+v", name, m)
		}
		if err := m.note("h", pref, time.Unix(1e9, 0)); err != nil || loadMemory(path).preference("h", time.Unix(1e9, 0)) != pref {
			t.Errorf("%s: it is not replaced: %v", name, err)
		}
	}
	if err := loadMemory(filepath.Join(dir, "empty", "below a file")).note("h", pref, time.Unix(1e9, 0)); err == nil {
		t.Error("a folder that can't be made gives no error")
	}
}

// Where several servers are behind one address, each would have the next one fail.
func TestMemoryOfFailures(t *testing.T) {
	path := filepath.Join(t.TempDir(), "servers.json")
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	expects := func(want adit.Preference) {
		t.Helper()
		if got := loadMemory(path).preference("pool", now); got != want {
			t.Errorf("on %v %v is expected, want %v", now, got, want)
		}
	}
	other := adit.Preference{Kex: "curve25519-sha256"}
	loadMemory(path).note("pool", pref, now)
	expects(pref)
	loadMemory(path).failed("pool", now)
	for range 6 {
		for _, p := range []adit.Preference{pref, {}, other} {
			loadMemory(path).note("pool", p, now)
			expects(adit.Preference{})
		}
		now = now.Add(24 * time.Hour)
	}
	now = now.Add(24 * time.Hour)
	expects(other)
	loadMemory(path).note("pool", adit.Preference{}, now)
	if m := loadMemory(path); len(m.Servers) != 0 {
		t.Errorf("an old failure is kept: %v", m.Servers)
	}
}

// Programs that run at the same time keep what each of them learns.
func TestMemoryOfSeveral(t *testing.T) {
	path := filepath.Join(t.TempDir(), "servers.json")
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	a, b := loadMemory(path), loadMemory(path)
	for i, m := range []*memory{a, b, a} {
		if err := m.note(fmt.Sprint("host", i), pref, now); err != nil {
			t.Fatal(err)
		}
	}
	m := loadMemory(path)
	for i := range 3 {
		if got := m.preference(fmt.Sprint("host", i), now); got != pref {
			t.Errorf("of host%d %v is remembered, want %v", i, got, pref)
		}
	}
}

// Who sees a handshake fail forgives it where nothing sent ahead can be to blame.
func TestForget(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_CACHE_HOME", filepath.Join(home, "cache"))
	t.Setenv("LocalAppData", filepath.Join(home, "cache"))
	early := adit.Preference{Kex: "curve25519-sha256"}
	for name, c := range map[string]struct {
		err    error
		learns adit.Preference
	}{
		"refused":     {&adit.VersionError{}, early},
		"another key": {&adit.HostKeyError{Err: errors.New("changed")}, early},
		"interrupted": {context.Canceled, early},
		"nonsense":    {&adit.ProtocolError{Err: errors.New("nonsense")}, adit.Preference{}},
		"too late":    {os.ErrDeadlineExceeded, adit.Preference{}},
	} {
		t.Run(name, func(t *testing.T) {
			o := &Options{Host: name, GlobalKnownHosts: []string{"none"}}
			expected := func() adit.Preference {
				t.Helper()
				cfg, err := o.Config()
				if err != nil {
					t.Fatal(err)
				}
				return cfg.Expect
			}
			expected()
			o.remember(early)
			if got := expected(); got != early {
				t.Fatalf("expected is %v, want %v", got, early)
			}
			o.Forget(&adit.StageError{Stage: "handshake", Err: c.err})
			if got := expected(); got != (adit.Preference{}) {
				t.Errorf("after a handshake that failed %v is expected", got)
			}
			o.remember(early)
			if got := expected(); got != c.learns {
				t.Errorf("after a handshake that failed and one that did not %v is expected, want %v", got, c.learns)
			}
		})
	}
}

// What is remembered never overrules the lists that a person gives.
func TestMemoryKeepsListsApart(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_CACHE_HOME", filepath.Join(home, "cache"))
	t.Setenv("LocalAppData", filepath.Join(home, "cache"))
	known := filepath.Join(home, "known_hosts")
	line := "h ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJJEoAOpGTLjTwIkY6vQXPcUC3Kf/KSPyFf3LUJpzDBb\n"
	if err := os.WriteFile(known, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	expected := func(o Options) adit.Preference {
		t.Helper()
		o.Host, o.KnownHosts, o.GlobalKnownHosts = "h", []string{known}, []string{"none"}
		cfg, err := o.Config()
		if err != nil {
			t.Fatal(err)
		}
		return cfg.Expect
	}
	learn := Options{Kex: []string{"curve25519-sha256"}}
	o := learn
	o.Host, o.KnownHosts, o.GlobalKnownHosts = "h", []string{known}, []string{"none"}
	if _, err := o.Config(); err != nil {
		t.Fatal(err)
	}
	o.remember(pref)
	if got := expected(learn); got != pref {
		t.Errorf("with the lists of before: %v, want %v", got, pref)
	}
	for name, other := range map[string]Options{
		"other key exchanges": {Kex: []string{"mlkem768x25519-sha256", "curve25519-sha256"}},
		"no lists":            {},
		"other host keys":     {Kex: learn.Kex, HostKeyAlgorithms: []string{"rsa-sha2-512", "ssh-ed25519"}},
		"another port":        {Kex: learn.Kex, Port: 2222},
	} {
		if got := expected(other); got != (adit.Preference{}) {
			t.Errorf("%s: %v, want nothing", name, got)
		}
	}
	unannounced := adit.Preference{Kex: pref.Kex}
	if err := os.WriteFile(known, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := expected(learn); got != (adit.Preference{}) {
		t.Errorf("when the key is no longer known: %v, want nothing", got)
	}
	o.remember(unannounced)
	if got := expected(learn); got != unannounced {
		t.Errorf("what puts no host key first: %v, want %v", got, unannounced)
	}
	look := learn
	look.LookOnly = true
	if got := expected(look); got != (adit.Preference{}) {
		t.Errorf("for who only looks: %v, want nothing", got)
	}
	once := learn
	once.Route.Command = "-"
	if got := expected(once); got != (adit.Preference{}) {
		t.Errorf("on a way that can be taken once: %v, want nothing", got)
	}
}
