package ssmsession

import (
	"net"
	"time"
)

// deadline is one of a net.Conn's two. Guarded by Session.mu.
type deadline struct {
	at    time.Time
	timer *time.Timer
}

func (d *deadline) expired(now time.Time) bool { return !d.at.IsZero() && !now.Before(d.at) }

func (d *deadline) setLocked(t, now time.Time, look func()) {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	d.at = t
	if left := t.Sub(now); !t.IsZero() && left > 0 {
		d.timer = time.AfterFunc(left, look)
	}
}

// SetDeadline sets both deadlines.
func (s *Session) SetDeadline(t time.Time) error { return s.setDeadline(t, true, true) }

// SetReadDeadline sets the deadline of Read.
func (s *Session) SetReadDeadline(t time.Time) error { return s.setDeadline(t, true, false) }

// SetWriteDeadline sets the deadline of Write.
func (s *Session) SetWriteDeadline(t time.Time) error { return s.setDeadline(t, false, true) }

func (s *Session) setDeadline(t time.Time, read, write bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return s.failed("set", net.ErrClosed)
	}
	if read {
		s.readLimit.setLocked(t, s.now(), s.look)
	}
	if write {
		s.writeLimit.setLocked(t, s.now(), s.look)
	}
	s.changed.Broadcast()
	return nil
}

// Addr is an end of a session; the protocol knows none.
type Addr string

// Network is "ssm".
func (Addr) Network() string { return "ssm" }

func (a Addr) String() string { return string(a) }

// LocalAddr is "local": there is no address.
func (s *Session) LocalAddr() net.Addr { return Addr("local") }

// RemoteAddr is what the session's document says that the agent dials.
func (s *Session) RemoteAddr() net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	host := s.kind.Properties.Host
	if host == "" {
		host = "localhost"
	}
	return Addr(net.JoinHostPort(host, s.kind.Properties.PortNumber))
}
