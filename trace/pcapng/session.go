package pcapng

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"github.com/adit-ssh/adit/internal/wire"
	"github.com/adit-ssh/adit/trace"
)

// The algorithms that the capture is made with.
const (
	kexName    = "curve25519-sha256"
	cipherName = "aes128-gcm@openssh.com"
)

// sshPort is the port that Wireshark takes for SSH.
const sshPort = 22

// maxHeld is how many events wait for the version lines, which stand first in
// the capture and are known late.
const maxHeld = 64

// session plays one connection again.
//
//	held ──version lines──► plain ──the first kex reply──► keyed
//
// From NEWKEYS on, each direction is sealed.
type session struct {
	level    trace.Level
	server   bool // we are the server
	flow     flow
	held     []record // until the version lines are known
	talking  bool
	inits    [2][]byte // KEXINIT as it stands in the capture: the client's, the server's
	cookie   [16]byte  // the client's
	versions [2]string
	seals    [2]*seal // from the kex reply on
	sealed   [2]bool  // NEWKEYS was sent
	remarks  string   // for the next packet's comment
}

type record struct {
	at time.Time
	p  trace.Packet
}

func newSession(conn int, level trace.Level) *session {
	local := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	return &session{level: level, flow: flow{client: netip.AddrPortFrom(local, 50000+uint16(conn%15000)), server: netip.AddrPortFrom(local, sshPort), seq: [2]uint32{1, 1}}}
}

func (s *session) event(b []byte, at time.Time, e trace.Event) []byte {
	switch e := e.(type) {
	case trace.ConnStart:
		s.server = e.Role == "server"
		s.remarks = "adit is the " + e.Role + "; target " + e.Target
		s.addresses(e.Local, e.Remote)
	case trace.ConnUp:
		s.addresses(e.Local, e.Remote)
	case trace.Version:
		s.versions = [2]string{e.Local, e.Peer}
		if s.server {
			s.versions = [2]string{e.Peer, e.Local}
		}
		return s.begin(b, at)
	case trace.Packet:
		if !s.talking {
			if len(s.held) < maxHeld {
				s.held = append(s.held, record{at, e})
			}
			return b
		}
		return s.packet(b, at, e)
	}
	return b
}

// addresses takes over real addresses, but for the server's port.
func (s *session) addresses(local, remote string) {
	l, lerr := netip.ParseAddrPort(local)
	r, rerr := netip.ParseAddrPort(remote)
	if lerr != nil || rerr != nil || l.Addr().Unmap().Is4() != r.Addr().Unmap().Is4() {
		return
	}
	l, r = netip.AddrPortFrom(l.Addr().Unmap(), l.Port()), netip.AddrPortFrom(r.Addr().Unmap(), r.Port())
	if s.server {
		l, r = r, l
	}
	s.remarks += fmt.Sprintf("; the server's real port is %d", r.Port())
	s.flow.client, s.flow.server = l, netip.AddrPortFrom(r.Addr(), sshPort)
}

// begin sends the version lines and what came before they were known.
func (s *session) begin(b []byte, at time.Time) []byte {
	if s.talking {
		return b
	}
	s.talking = true
	if len(s.held) > 0 && s.held[0].at.Before(at) {
		at = s.held[0].at
	}
	for side, line := range s.versions {
		b = s.flow.send(b, at, side == 1, []byte(line+"\r\n"), s.remarks)
		s.remarks = ""
	}
	for _, r := range s.held {
		b = s.packet(b, r.at, r.p)
	}
	s.held = nil
	return b
}

// packet sends a message, or what stands for it.
func (s *session) packet(b []byte, at time.Time, p trace.Packet) []byte {
	fromServer := p.Out == s.server
	side := 0
	if fromServer {
		side = 1
	}
	if s.sealed[side] {
		return s.flow.send(b, at, fromServer, s.seals[side].packet(s.payload(p)), remark(p.Msg))
	}
	switch m := p.Msg.(type) {
	case *wire.KexInit:
		s.inits[side] = s.kexInit(m, side == 0)
		return s.flow.send(b, at, fromServer, plain(s.inits[side]), "")
	case *wire.KexShareReply:
		return s.exchange(b, at, m.HostKey, m.Signature)
	case *wire.KexGexReply:
		return s.exchange(b, at, m.HostKey, m.Signature)
	case *wire.NewKeys:
		if s.seals[side] == nil {
			return b // a key exchange that we did not see the beginning of
		}
		s.sealed[side] = true
		return s.flow.send(b, at, fromServer, plain(m.Append(nil)), "")
	}
	if p.Num >= 30 && p.Num < 50 {
		return b // the shares of the real exchange: exchange sends others
	}
	return s.flow.send(b, at, fromServer, plain(s.payload(p)), "")
}

// kexInit puts the capture's algorithms in front, and takes compression out, and
// strict key exchange, so that sequence numbers go on.
func (s *session) kexInit(m *wire.KexInit, client bool) []byte {
	c := *m
	if client {
		s.cookie = m.Cookie
	}
	first := func(name string, list []string) []string {
		out := []string{name}
		for _, n := range list {
			if n != name && n != "kex-strict-c-v00@openssh.com" && n != "kex-strict-s-v00@openssh.com" {
				out = append(out, n)
			}
		}
		return out
	}
	c.Kex = first(kexName, c.Kex)
	c.CipherClient, c.CipherServer = first(cipherName, c.CipherClient), first(cipherName, c.CipherServer)
	c.CompressionClient, c.CompressionServer = []string{"none"}, []string{"none"} // what it carries was expanded
	c.FirstKexFollows = false
	return c.Append(nil)
}

// exchange sends the shares of a key exchange of our own, and derives its keys
// (RFC 8731; RFC 4253, section 7.2).
func (s *session) exchange(b []byte, at time.Time, hostKey, signature []byte) []byte {
	if s.seals[0] != nil || s.inits[0] == nil || s.inits[1] == nil {
		return b
	}
	client, server, secret, err := agree()
	if err != nil {
		return b // no randomness
	}
	e, f := client.PublicKey().Bytes(), server.PublicKey().Bytes()
	k := wire.AppendString(nil, wire.MpintBody(secret))
	h := sha256.New()
	for _, part := range [][]byte{[]byte(s.versions[0]), []byte(s.versions[1]), s.inits[0], s.inits[1], hostKey, e, f} {
		h.Write(wire.AppendString(nil, part))
	}
	h.Write(k)
	hash := h.Sum(nil)
	derive := func(letter byte, n int) []byte {
		d := sha256.New()
		d.Write(k)
		d.Write(hash)
		d.Write([]byte{letter})
		d.Write(hash) // the session identifier
		return d.Sum(nil)[:n]
	}
	s.seals = [2]*seal{newSeal(derive('C', 16), derive('A', 12)), newSeal(derive('D', 16), derive('B', 12))}
	b = secretsBlock(b, fmt.Sprintf("%x %x\n", s.cookie, client.Bytes()))
	b = s.flow.send(b, at, false, plain((&wire.KexShareInit{Share: e}).Append(nil)), "made up: the real share belongs to another key exchange")
	return s.flow.send(b, at, true, plain((&wire.KexShareReply{HostKey: hostKey, Share: f, Signature: signature}).Append(nil)),
		"the host key is real; the share is made up, so the signature does not fit it")
}

// remark tells what is in an open or a request, which Wireshark's dissector does
// not take apart in all versions.
func remark(m wire.Msg) string {
	switch m.(type) {
	case *wire.ChannelOpen, *wire.ChannelRequest, *wire.GlobalRequest, *wire.ExtInfo:
		return wire.MsgName(m) + " " + trace.Describe(m)
	}
	return ""
}

// agree makes both keys of an exchange, and its secret. One that begins with a
// zero byte is not taken: Wireshark 4.0 forgets that an mpint has none in front
// (RFC 4251, section 5), and would decrypt one connection in 256 wrongly.
func agree() (client, server *ecdh.PrivateKey, secret []byte, err error) {
	for {
		if client, err = ecdh.X25519().GenerateKey(rand.Reader); err != nil {
			return nil, nil, nil, err
		}
		if server, err = ecdh.X25519().GenerateKey(rand.Reader); err != nil {
			return nil, nil, nil, err
		}
		if secret, err = client.ECDH(server.PublicKey()); err != nil || secret[0] != 0 {
			return client, server, secret, err
		}
	}
}

// payload is a message's, redacted as its event is.
func (s *session) payload(p trace.Packet) []byte {
	switch m := p.Msg.(type) {
	case nil:
		return debug("adit: message %d, which it could not decode: %v", p.Num, p.Err)
	case *wire.ChannelData:
		if s.level < trace.LevelData || p.Withheld {
			c := *m
			c.Data = fmt.Appendf(nil, "(%d bytes of data)", len(m.Data))
			return c.Append(nil)
		}
	case *wire.ChannelExtendedData:
		if s.level < trace.LevelData || p.Withheld {
			c := *m
			c.Data = fmt.Appendf(nil, "(%d bytes of data)", len(m.Data))
			return c.Append(nil)
		}
	}
	if p.Num >= 20 && p.Num < 50 {
		// A real KEXINIT would make the dissector wait for keys that are not there.
		return debug("adit: %s of a later key exchange: %s", wire.MsgName(p.Msg), trace.Describe(p.Msg))
	}
	return wire.Redact(p.Msg).Append(nil)
}

func debug(format string, args ...any) []byte {
	return (&wire.Debug{Message: fmt.Sprintf(format, args...)}).Append(nil)
}

// plain is a packet before NEWKEYS (RFC 4253, section 6).
func plain(payload []byte) []byte { return frame(payload, 8, 5) }

// frame pads a payload so that what of the packet is encrypted is a multiple of
// block; head of its 5 first bytes count.
func frame(payload []byte, block, head int) []byte {
	padding := block - (head+len(payload))%block
	if padding < 4 {
		padding += block
	}
	b := wire.AppendUint32(nil, uint32(1+len(payload)+padding))
	b = append(append(b, byte(padding)), payload...)
	return append(b, make([]byte, padding)...)
}

// seal is aes128-gcm@openssh.com (RFC 5647, as OpenSSH does it).
type seal struct {
	aead cipher.AEAD
	iv   [12]byte
}

func newSeal(key, iv []byte) *seal {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic("BUG: a key of 16 bytes: " + err.Error())
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic("BUG: GCM with AES: " + err.Error())
	}
	s := &seal{aead: aead}
	copy(s.iv[:], iv)
	return s
}

func (s *seal) packet(payload []byte) []byte {
	p := frame(payload, 16, 1)
	out := s.aead.Seal(p[:4:4], s.iv[:], p[4:], p[:4])
	binary.BigEndian.PutUint64(s.iv[4:], binary.BigEndian.Uint64(s.iv[4:])+1)
	return out
}
