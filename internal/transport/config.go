package transport

import (
	"crypto/rand"
	"io"
	"slices"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/algo"
	"github.com/adit-ssh/adit/internal/wire"
	"github.com/adit-ssh/adit/trace"
)

// Limits on a peer. They are here so that they can be seen together.
const (
	// maxVersionLine is the longest version line accepted, in bytes, CR LF
	// included (RFC 4253, section 4.2).
	maxVersionLine = 255
	// maxBannerLine is the longest line accepted before a server's version
	// line, in bytes without its end; maxBannerLines is in how many lines the
	// version line must be found. Both are OpenSSH's (kex.c).
	maxBannerLine  = 8192
	maxBannerLines = 1024
	// maxKexIgnored is how many messages without meaning are accepted in a row
	// during a key exchange.
	maxKexIgnored = 64
	// maxLate is how many bytes of messages for the layers above are kept that
	// come during a key exchange after the first. lateCost is what each of them
	// counts for besides its payload; it costs less than that.
	maxLate  = 16 << 20
	lateCost = 256
	// smallLaneCap is how many bytes may wait in the small lane before
	// WritePacket waits; it is what can stand before a new small message when
	// the socket is full.
	smallLaneCap = 256 << 10
	// queueCap is how much the reader may add beyond smallLaneCap in answers
	// to a peer that does not read them.
	queueCap = 1 << 20
	// minReadBuffer and maxReadBuffer bound the buffer of the in half. It
	// starts small and grows when a read fills it.
	minReadBuffer = 64 << 10
	maxReadBuffer = 1 << 20
	// defaultKexTimeout is how long a key exchange may take once it has begun.
	defaultKexTimeout = 2 * time.Minute
	// closeGrace is how long Close and Abort wait for what is queued to leave,
	// and how long after a failed write we still read.
	closeGrace = 500 * time.Millisecond
)

// DefaultVersion is the version line sent by default, without CR LF.
const DefaultVersion = "SSH-2.0-adit_0.1"

// Config configures one side. The zero value is a client with default
// algorithms that accepts no host key. It is not modified after use.
type Config struct {
	// Version is our version line without CR LF. Default DefaultVersion.
	Version string
	// Algorithms in order of preference. Nil means the default of package algo.
	Kex, Ciphers, MACs []string
	// Compression lists algorithms in order of preference, "none" among them, for
	// both directions. Nil means algo.DefaultCompression, none first.
	Compression []string
	// HostKeyAlgorithms is the client's list. A server's follows from HostKeys.
	HostKeyAlgorithms []string
	// RekeyBytes starts a key exchange after so many bytes in one direction.
	// 0 means 64 GiB for ciphers with 16-byte blocks and 1 GiB for others.
	RekeyBytes uint64
	// RekeyInterval starts one after so much time. 0 means never.
	RekeyInterval time.Duration
	// KexTimeout bounds a key exchange after the first. 0 means two minutes.
	KexTimeout time.Duration
	// Rand is the source of randomness. Default crypto/rand.
	Rand io.Reader
	// Tracer receives events. May be nil.
	Tracer trace.Tracer
	// KeyLog receives the secrets of each key exchange, for Wireshark (keylog.go).
	// Nil writes none.
	KeyLog io.Writer
	// Extensions are announced with EXT_INFO, when the peer asks for it.
	Extensions []wire.Extension

	// CheckHostKey decides whether the server's key is trusted (client only,
	// required). It is called once, in the first key exchange, after the key's
	// signature was verified, and may take its time. Later exchanges must show
	// the same key.
	CheckHostKey func(algorithm string, key gossh.PublicKey) error
	// Expect is what the server is expected to choose (client only): the first
	// packet of the key exchange is sent with our KEXINIT, which saves a round trip.
	// The zero value expects nothing.
	Expect Preference

	// HostKeys are the server's keys, certificates included (server only).
	HostKeys []gossh.Signer
}

// Preference is what a server is expected to choose.
type Preference struct {
	// Kex is the key exchange. Nothing is sent ahead if it is not among ours.
	Kex string
	// HostKey is the algorithm that stands first in the server's list if Kex, which
	// must be our own first then, does so as well: ours goes by its order, and a
	// guess that proves wrong costs its bytes only (RFC 4253, section 7). It is ""
	// if the server prefers others than ours; should it then choose another key
	// exchange than Kex, the handshake fails with ErrExpect, and is to be repeated
	// on a new connection without Expect.
	HostKey string
}

func (c *Config) version() string {
	if c.Version != "" {
		return c.Version
	}
	return DefaultVersion
}

func (c *Config) rand() io.Reader {
	if c.Rand != nil {
		return c.Rand
	}
	return rand.Reader
}

func (c *Config) kexTimeout() time.Duration {
	if c.KexTimeout > 0 {
		return c.KexTimeout
	}
	return defaultKexTimeout
}

func orDefault(list []string, def func() []string) []string {
	if list != nil {
		return list
	}
	return def()
}

// kexInit returns a KEXINIT without cookie.
func (c *Config) kexInit(server bool) *wire.KexInit {
	kex, macs := algo.DefaultKex, algo.DefaultMACs
	if server {
		kex, macs = algo.ServerKex, algo.ServerMACs
	}
	m := &wire.KexInit{
		Kex:               orDefault(c.Kex, kex),
		CipherClient:      orDefault(c.Ciphers, algo.DefaultCiphers),
		MACClient:         orDefault(c.MACs, macs),
		CompressionClient: orDefault(c.Compression, algo.DefaultCompression),
	}
	m.CipherServer, m.MACServer, m.CompressionServer = m.CipherClient, m.MACClient, m.CompressionClient
	if server {
		for _, k := range c.HostKeys {
			for _, a := range algo.HostKeyAlgorithms(k.PublicKey()) {
				m.HostKey = appendNew(m.HostKey, a)
			}
		}
	} else {
		m.HostKey = orDefault(c.HostKeyAlgorithms, algo.DefaultHostKeys)
		if e := c.Expect; len(m.Kex) > 0 && m.Kex[0] == e.Kex && slices.Contains(m.HostKey, e.HostKey) {
			m.HostKey = moveFirst(m.HostKey, e.HostKey)
		}
	}
	return m
}

func moveFirst(list []string, s string) []string {
	rest := slices.DeleteFunc(slices.Clone(list), func(have string) bool { return have == s })
	return append([]string{s}, rest...)
}

func appendNew(list []string, s string) []string {
	for _, have := range list {
		if have == s {
			return list
		}
	}
	return append(list, s)
}
