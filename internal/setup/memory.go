package setup

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
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

// remembered is one server. Times are to the day.
type remembered struct {
	Kex, HostKey string
	Seen         time.Time
	Failed       time.Time `json:",omitzero"` // when what was sent ahead last cost a connection
}

const (
	// maxRemembered is how many servers are kept; the oldest go first.
	maxRemembered = 500
	// maxMemoryFile is the largest file that is read, in bytes.
	maxMemoryFile = 256 << 10
	// failedFor is for how long nothing is expected of a server that something sent
	// ahead has failed with. There may be several behind one address that differ: each
	// would have the next one fail.
	failedFor = 7 * 24 * time.Hour
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

func (r remembered) failed(now time.Time) bool { return now.Sub(r.Failed).Abs() < failedFor }

func (m *memory) id(server string) string {
	sum := sha256.Sum256([]byte(m.Salt + "\x00" + strings.ToLower(server)))
	return hex.EncodeToString(sum[:16])
}

func (m *memory) preference(server string, now time.Time) adit.Preference {
	r := m.Servers[m.id(server)]
	if r.failed(now) {
		return adit.Preference{}
	}
	return adit.Preference{Kex: r.Kex, HostKey: r.HostKey}
}

// note remembers what a server prefers, or forgets it if nothing can be guessed.
func (m *memory) note(server string, p adit.Preference, now time.Time) error {
	return m.change(server, func(r remembered) remembered {
		if p == (adit.Preference{}) && !r.failed(now) {
			return remembered{}
		}
		return remembered{p.Kex, p.HostKey, day(now), r.Failed}
	})
}

// failed remembers that what was sent ahead has cost a connection.
func (m *memory) failed(server string, now time.Time) error {
	return m.change(server, func(remembered) remembered { return remembered{Seen: day(now), Failed: day(now)} })
}

func day(t time.Time) time.Time { return t.UTC().Truncate(24 * time.Hour) }

// change changes what is remembered of a server; the zero value forgets it. It
// writes only what is news, and to what others have written meanwhile.
func (m *memory) change(server string, to func(remembered) remembered) error {
	id := m.id(server)
	if r := m.Servers[id]; to(r) == r {
		return nil
	}
	*m = *loadMemory(m.path)
	id = m.id(server) // the file may have got its salt just now
	if r := to(m.Servers[id]); r == (remembered{}) {
		delete(m.Servers, id)
	} else {
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
	p := h.memory.preference(h.remembered, time.Now())
	if p.HostKey != "" && !h.ordered.Knows(host, p.HostKey) || p.HostKey == "" && o.Route.Command == "-" {
		return adit.Preference{}
	}
	h.expects = p != adit.Preference{}
	return p
}

// Remember notes for the next time what the server prefers. It is for after the
// login: what a server says that has not proved itself is not worth keeping.
func (o *Options) Remember(c *adit.Client) {
	p, _ := c.Prefers()
	o.remember(p)
}

// Forget is for after a handshake that failed. Should what was sent ahead be to
// blame, the next ones go without; who has shown a key, has shown no version or was
// not waited for has not taken offence.
func (o *Options) Forget(err error) {
	_, version := errors.AsType[*adit.VersionError](err)
	_, key := errors.AsType[*adit.HostKeyError](err)
	if version || key || errors.Is(err, context.Canceled) {
		o.remember(adit.Preference{})
		return
	}
	o.unexpected()
}

// unexpected notes that something sent ahead may have cost a connection.
func (o *Options) unexpected() {
	if h := o.hostKeys; h != nil && h.expects {
		h.memory.failed(h.remembered, time.Now())
	}
}

func (o *Options) remember(p adit.Preference) {
	if h := o.hostKeys; h != nil && h.memory != nil {
		h.memory.note(h.remembered, p, time.Now()) // a cache: an error is no news for anybody
	}
}
