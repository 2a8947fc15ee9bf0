package transport

import (
	"slices"
	"time"

	"github.com/adit-ssh/adit/internal/algo"
	"github.com/adit-ssh/adit/internal/wire"
)

// guess is a first packet of the client's key exchange that is sent before the
// server's KEXINIT has come. There are two kinds:
//
//   - RFC 4253, section 7, has the guess: the packet is for what stands first in
//     our lists, KEXINIT announces it, and a server that has something else first
//     skips it, so that a wrong one costs its bytes only. It is never right for a
//     server that prefers what we lack, such as sshd 9 with sntrup761.
//   - Where a server is known to take our choice though it prefers another, the
//     packet follows without announcement. For the server that is what comes from
//     any client, only sooner: it reads the two one after the other. Should it
//     choose something else now, the connection is lost (ErrExpect).
type guess struct {
	name      string
	announced bool
	kex       algo.Kex
	share     []byte
	sent      time.Time
}

// newGuess makes the packet for what is expected of the server, and announces it
// in m where that is due. It returns nil where nothing is expected, or nothing
// that one packet begins.
func newGuess(cfg *Config, m *wire.KexInit) *guess {
	e := cfg.Expect
	method, ok := algo.LookupKex(e.Kex)
	if !ok || method.Gex || !slices.Contains(m.Kex, e.Kex) {
		return nil
	}
	g := &guess{name: e.Kex, announced: e.HostKey != "", kex: method.New(), sent: time.Now()}
	if g.announced && (m.Kex[0] != e.Kex || len(m.HostKey) == 0 || m.HostKey[0] != e.HostKey) {
		return nil
	}
	var err error
	if g.share, err = g.kex.Init(cfg.rand()); err != nil {
		return nil // it will fail again, and be told, when it is due
	}
	m.FirstKexFollows = g.announced
	return g
}

// Prefers returns what to expect of the server next time (Config.Expect); false
// if that would gain nothing, or if it is not known to bear it. It is for clients,
// after the handshake.
func (c *Conn) Prefers() (Preference, bool) { return c.prefers, c.prefers != (Preference{}) }

// notePreference compares the server's lists with ours.
func (c *Conn) notePreference(server *wire.KexInit) {
	plain := *c.cfg
	plain.Expect = Preference{}
	local := plain.kexInit(false)
	kex, _ := first(local.Kex, server.Kex)
	key, _ := first(local.HostKey, server.HostKey)
	if method, ok := algo.LookupKex(kex); !ok || method.Gex {
		return
	}
	quirks := QuirksOf(c.peerVersion)
	switch {
	case quirks.SkipsWrongGuess && local.Kex[0] == kex && server.Kex[0] == kex && server.HostKey[0] == key:
		c.prefers = Preference{kex, key}
	case quirks.BearsEarlyShare:
		c.prefers = Preference{Kex: kex}
	}
}
