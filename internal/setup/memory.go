package setup

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/adit-ssh/adit"
)

// memory is what is remembered about servers between runs: which algorithms each
// prefers, so that the next key exchange can begin a round trip earlier. It is a
// cache: damaged, missing or unwritable, it costs that round trip and nothing
// else. Names of hosts are not in it, only salted hashes.
type memory struct {
	path string

	Salt    string
	Servers map[string]remembered
}

// remembered is one server.
type remembered struct {
	Kex, HostKey string
	Seen         time.Time // to the day
}

const (
	// maxRemembered is how many servers are kept; the oldest go first.
	maxRemembered = 500
	// maxMemoryFile is the largest file that is read, in bytes.
	maxMemoryFile = 256 << 10
)

// loadMemory reads the file, or starts anew.
func loadMemory(path string) *memory {
	m := &memory{path: path}
	if fi, err := os.Stat(path); err == nil && fi.Mode().IsRegular() && fi.Size() <= maxMemoryFile {
		if b, err := os.ReadFile(path); err == nil && json.Unmarshal(b, m) != nil {
			*m = memory{path: path}
		}
	}
	if m.Servers == nil {
		m.Servers = map[string]remembered{}
	}
	if m.Salt == "" {
		m.Salt = rand.Text()
	}
	return m
}

// memoryPath is where the file lies; "" where there is no such place.
func memoryPath() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "adit", "servers.json")
}

func (m *memory) id(server string) string {
	sum := sha256.Sum256([]byte(m.Salt + "\x00" + strings.ToLower(server)))
	return hex.EncodeToString(sum[:16])
}

func (m *memory) preference(server string) adit.Preference {
	r := m.Servers[m.id(server)]
	return adit.Preference{Kex: r.Kex, HostKey: r.HostKey}
}

// note remembers what a server prefers, or forgets it if nothing can be guessed.
// It writes only what is news.
func (m *memory) note(server string, p adit.Preference, now time.Time) error {
	id, today := m.id(server), now.UTC().Truncate(24*time.Hour)
	old, known := m.Servers[id]
	r := remembered{p.Kex, p.HostKey, today}
	switch {
	case p == adit.Preference{}:
		if !known {
			return nil
		}
		delete(m.Servers, id)
	case known && old == r:
		return nil
	default:
		m.Servers[id] = r
	}
	m.prune()
	return m.write()
}

func (m *memory) prune() {
	if len(m.Servers) <= maxRemembered {
		return
	}
	var ids []string
	for id := range m.Servers {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b string) int { return m.Servers[a].Seen.Compare(m.Servers[b].Seen) })
	for _, id := range ids[:len(ids)-maxRemembered] {
		delete(m.Servers, id)
	}
}

// write replaces the file at once, so that a reader never sees half of it.
func (m *memory) write() error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(m.path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(m.path), ".servers-*")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), m.path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// expect returns what the server is remembered to choose. It puts no host key
// algorithm first of which no key is known: another order must not lead to a
// question. Where a mistake would cost the connection, there must be a way to
// another one, and who only looks wants to see what the server does by itself.
// Something else is remembered for other lists of ours, so that it
// never overrules them.
func (o *Options) expect(h *hostKeys, cfg *adit.Config) adit.Preference {
	path := memoryPath()
	if path == "" || o.LookOnly {
		return adit.Preference{}
	}
	h.memory = loadMemory(path)
	host := h.name(o.address())
	h.remembered = strings.Join([]string{host.String(), strings.Join(cfg.Kex, ","), strings.Join(cfg.HostKeyAlgorithms, ",")}, "\x00")
	p := h.memory.preference(h.remembered)
	if p.HostKey != "" && !h.ordered.Knows(host, p.HostKey) || p.HostKey == "" && o.Route.Command == "-" {
		return adit.Preference{}
	}
	return p
}

// Remember notes for the next time what the server prefers. It is for after the
// login: what a server says that has not proved itself is not worth keeping.
func (o *Options) Remember(c *adit.Client) {
	p, _ := c.Prefers()
	o.remember(p)
}

// Forget is for after a handshake that failed: should the guess be to blame, the
// next one goes without.
func (o *Options) Forget() { o.remember(adit.Preference{}) }

func (o *Options) remember(p adit.Preference) {
	if h := o.hostKeys; h != nil && h.memory != nil {
		h.memory.note(h.remembered, p, time.Now()) // a cache: an error is no news for anybody
	}
}
