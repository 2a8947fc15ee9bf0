package transport

import (
	"time"

	"github.com/adit-ssh/adit/internal/algo"
	"github.com/adit-ssh/adit/internal/wire"
)

// guess is a first packet of the client's key exchange that was sent before the
// server's KEXINIT came (RFC 4253, section 7). A wrong one is ignored by the
// server and costs its bytes only.
type guess struct {
	kex   algo.Kex
	share []byte
	sent  time.Time
}

// newGuess makes the packet for what is expected of the server, and says so in
// m. It returns nil where nothing is expected, or nothing that one packet
// begins.
func newGuess(cfg *Config, m *wire.KexInit) *guess {
	if cfg.Expect == (Preference{}) || len(m.Kex) == 0 || m.Kex[0] != cfg.Expect.Kex || len(m.HostKey) == 0 || m.HostKey[0] != cfg.Expect.HostKey {
		return nil
	}
	method, ok := algo.LookupKex(cfg.Expect.Kex)
	if !ok || method.Gex {
		return nil
	}
	g := &guess{kex: method.New(), sent: time.Now()}
	var err error
	if g.share, err = g.kex.Init(cfg.rand()); err != nil {
		return nil // it will fail again, and be told, when it is due
	}
	m.FirstKexFollows = true
	return g
}

// Prefers returns what stood first in the server's lists, for Config.Expect of
// the next connection, if it is also what would be agreed on without: only then a
// guess of it changes nothing but the time. Servers that are not known to skip a
// wrong guess prefer nothing. It is for clients, after the handshake.
func (c *Conn) Prefers() (Preference, bool) { return c.prefers, c.prefers != (Preference{}) }

// notePreference compares the server's first names with what would be chosen
// without a guess.
func (c *Conn) notePreference(server *wire.KexInit) {
	if len(server.Kex) == 0 || len(server.HostKey) == 0 || !QuirksOf(c.peerVersion).SkipsWrongGuess {
		return
	}
	plain := *c.cfg
	plain.Expect = Preference{}
	local := plain.kexInit(false)
	kex, _ := first(local.Kex, server.Kex)
	key, _ := first(local.HostKey, server.HostKey)
	if method, ok := algo.LookupKex(kex); ok && !method.Gex && kex == server.Kex[0] && key == server.HostKey[0] {
		c.prefers = Preference{kex, key}
	}
}
