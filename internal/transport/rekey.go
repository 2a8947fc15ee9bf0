package transport

import (
	"fmt"
	"io"
	"time"

	"github.com/adit-ssh/adit/internal/algo"
	"github.com/adit-ssh/adit/internal/wire"
)

const (
	// rekeyPackets starts a key exchange (RFC 4344, section 3.1: before 2^31
	// packets); maxPackets ends a connection that did not finish one before
	// sequence numbers repeat.
	rekeyPackets = 1 << 31
	maxPackets   = 1<<32 - 1
	// rekeyWide and rekeyNarrow are the default byte limits for ciphers with
	// blocks of 16 bytes and for others (RFC 4344, section 3.2; OpenSSH's).
	rekeyWide   = 64 << 30
	rekeyNarrow = 1 << 30
)

// rekeyBytes returns after how many bytes a direction wants new keys.
func (c *Config) rekeyBytes(cipher string) uint64 {
	if c.RekeyBytes > 0 {
		return c.RekeyBytes
	}
	if spec, ok := algo.LookupCipher(cipher); ok && spec.Block >= 16 {
		return rekeyWide
	}
	return rekeyNarrow
}

// grownOut looks at the counters of the out half after each round.
func (c *Conn) grownOut(packets, bytes uint64) {
	if packets < rekeyPackets && bytes < c.rekeyOut.Load() || bytes == 0 {
		return
	}
	if packets >= maxPackets {
		c.fail(fmt.Errorf("%d packets were sent under the same keys and the peer does not exchange new ones", packets))
		return
	}
	if c.rekeyOut.Load() > 0 { // the first exchange has ended
		c.Rekey()
	}
}

// Rekey starts a key exchange unless one is running. It does not wait for it.
// Where compression has been agreed on, it begins after the login.
func (c *Conn) Rekey() {
	c.kexMu.Lock()
	wait := c.beforeLogin
	c.rekeyDue = c.rekeyDue || wait
	c.kexMu.Unlock()
	if !wait {
		c.beginExchange()
	}
}

// beginExchange sends our KEXINIT unless an exchange is open already, and
// returns it. Whoever holds the turn has the message sent; from then on nothing
// but the exchange is sent until our NEWKEYS.
func (c *Conn) beginExchange() []byte {
	c.kexMu.Lock()
	defer c.out.kick()
	defer c.kexMu.Unlock()
	if c.localInit != nil {
		return c.localInit
	}
	m := c.cfg.kexInit(c.server)
	if _, err := io.ReadFull(c.cfg.rand(), m.Cookie[:]); err != nil {
		panic("BUG: no randomness: " + err.Error())
	}
	switch {
	case c.first:
		m.Kex = append(m.Kex[:len(m.Kex):len(m.Kex)], c.pseudo()...)
	case c.Err() == nil: // else nobody would stop the timer
		timeout := c.cfg.kexTimeout()
		c.kexTimer = time.AfterFunc(timeout, func() {
			c.fail(fmt.Errorf("the peer did not finish a key exchange within %v", timeout))
		})
	}
	if c.first && !c.server {
		c.guess = newGuess(c.cfg, m)
		c.early = c.guess != nil && !c.guess.announced
	}
	c.localInit = m.Append(nil)
	msgs := []kexMsg{{payload: c.localInit, begin: true}}
	if c.guess != nil {
		c.kexPhase.Store(uint32(wire.PhaseKexShare)) // for the tracer, which sees it before the choice
		msgs = append(msgs, kexMsg{payload: (&wire.KexShareInit{Share: c.guess.share}).Append(nil)})
	}
	c.out.queueKex(msgs...)
	return c.localInit
}

// pseudo returns the signals of our first KEXINIT.
func (c *Conn) pseudo() []string {
	if c.server {
		return []string{extInfoServer, strictServer}
	}
	return []string{extInfoClient, strictClient}
}

// endExchange makes room for the next one and arms its timer.
func (c *Conn) endExchange() {
	c.kexMu.Lock()
	defer c.kexMu.Unlock()
	c.localInit, c.first = nil, false
	if c.kexTimer != nil {
		c.kexTimer.Stop()
		c.kexTimer = nil
	}
	if c.rekeyAt != nil {
		c.rekeyAt.Stop()
	}
	if d := c.cfg.RekeyInterval; d > 0 && c.Err() == nil {
		c.rekeyAt = time.AfterFunc(d, c.Rekey)
	}
}
