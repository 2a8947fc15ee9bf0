package agent

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"sync"

	"github.com/adit-ssh/adit/internal/wire"
)

// errNoProof is a first key exchange in which no proof was seen.
var errNoProof = errors.New("the server's proof of its host key was not seen in the first key exchange")

// SessionSniffer is a net.Conn below an SSH client that does not tell the
// server's signature, as golang.org/x/crypto/ssh does not. It reads along while
// the first key exchange is in the clear.
//
//	conn := agent.NewSessionSniffer(tcp)
//	c, chans, reqs, err := gossh.NewClientConn(conn, address, config)
//	s, err := conn.Session(c.SessionID())
type SessionSniffer struct {
	net.Conn

	mu sync.Mutex
	// Guarded by mu.
	buf    []byte // not looked at yet
	hello  bool   // the version line has passed
	ended  bool   // the rest is encrypted, or was no SSH
	proofs []Session
}

// NewSessionSniffer returns a connection that reads along. Nothing was read from
// conn before.
func NewSessionSniffer(conn net.Conn) *SessionSniffer { return &SessionSniffer{Conn: conn} }

// Read implements net.Conn.
func (s *SessionSniffer) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	s.mu.Lock()
	if !s.ended {
		s.buf = append(s.buf, p[:n]...)
		s.look()
	}
	s.mu.Unlock()
	return n, err
}

// Session returns the session with an id, which the server's signature is checked
// against.
func (s *SessionSniffer) Session(id []byte) (Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.proofs {
		p.ID = clone(id)
		if p.Verify() == nil {
			return p, nil
		}
	}
	return Session{}, errNoProof
}

// Most that is looked at: a version line with what comes before it, a packet of
// the first exchange, and how many there may be of the latter.
const (
	maxSniffLines  = 64 << 10
	maxSniffPacket = 256 << 10
	maxSniffProofs = 8
)

// look takes whole lines and packets off buf.
func (s *SessionSniffer) look() {
	for !s.hello {
		line, rest, found := bytes.Cut(s.buf, []byte("\n"))
		if !found {
			s.end(len(s.buf) > maxSniffLines)
			return
		}
		s.hello = bytes.HasPrefix(line, []byte("SSH-"))
		s.buf = rest
	}
	for len(s.buf) >= 5 {
		n := binary.BigEndian.Uint32(s.buf)
		if n < 2 || n > maxSniffPacket {
			s.end(true)
			return
		}
		if uint32(len(s.buf)-4) < n {
			return
		}
		packet := s.buf[4 : 4+n]
		s.buf = s.buf[4+n:]
		if pad := int(packet[0]); pad+1 < len(packet) {
			s.packet(packet[1 : len(packet)-pad])
		}
		if s.ended {
			return
		}
	}
}

// packet keeps what has the form of a proof: messages 31, and 33 of a group
// exchange, are a host key, a share and a signature.
func (s *SessionSniffer) packet(p []byte) {
	switch p[0] {
	case wire.NumNewKeys:
		s.end(true)
	case 31, 33:
		r := wire.NewParser(p[1:])
		key, _, sig := r.Bytes(), r.Bytes(), r.Bytes()
		if r.Done() == nil && len(s.proofs) < maxSniffProofs {
			s.proofs = append(s.proofs, Session{HostKey: clone(key), Signature: clone(sig)})
		}
	}
}

func (s *SessionSniffer) end(really bool) {
	if really {
		s.ended, s.buf = true, nil
	}
}
