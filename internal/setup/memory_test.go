package setup

import (
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
	if got := m.preference("DB.internal"); got != pref {
		t.Errorf("remembered %+v, want %+v", got, pref)
	}
	if got := m.preference("other"); got != (adit.Preference{}) {
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
	if got := loadMemory(path).preference("db.internal"); got != (adit.Preference{}) {
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
		m.Servers[m.id(fmt.Sprint("host", i))] = remembered{pref.Kex, pref.HostKey, day.Add(time.Duration(i) * 24 * time.Hour)}
	}
	if err := m.note("last", pref, day.Add(10_000*24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if len(m.Servers) != maxRemembered || m.preference("last") != pref || m.preference("host0") != (adit.Preference{}) {
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
		if m.preference("h") != (adit.Preference{}) || m.Salt == "" {
			t.Errorf("%s: %+v", name, m)
		}
		if err := m.note("h", pref, time.Unix(1e9, 0)); err != nil || loadMemory(path).preference("h") != pref {
			t.Errorf("%s: it is not replaced: %v", name, err)
		}
	}
	if err := loadMemory(filepath.Join(dir, "empty", "below a file")).note("h", pref, time.Unix(1e9, 0)); err == nil {
		t.Error("a folder that can't be made gives no error")
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
