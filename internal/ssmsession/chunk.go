package ssmsession

import "github.com/adit-ssh/adit/internal/ssmwire"

// Larger messages are what makes an upload fast, and nobody promises that the
// gateway takes them. So the first one of a larger size, the probe, travels
// alone: nothing is sent behind it until it is acked.

// chunkAckedLocked learns from a message that has arrived.
func (s *sender) chunkAckedLocked(m *message) {
	switch {
	case m == s.probe:
		s.probe = nil
		if m.size <= s.chunkLimit {
			s.chunk, s.full = m.size, 0
		}
	case m.size == s.chunk:
		s.full++
	}
}

// chunkFailedLocked goes back to small messages, for good.
func (s *sender) chunkFailedLocked() { s.chunk, s.chunkLimit = chunkLeast, chunkLeast }

// splitProbeLocked takes back a probe that the gateway refused for its size: what
// it refuses once it has always refused, so the probe reached nobody. Nothing was
// sent behind it, and its bytes may be sent anew in small messages. After any
// other end it may have arrived, with the ack lost, and must be sent as it was.
func (s *sender) splitProbeLocked(refused bool) {
	m := s.probe
	if m == nil || !refused || len(s.kept) == 0 || s.kept[len(s.kept)-1] != m {
		return
	}
	s.probe = nil
	s.kept = s.kept[:len(s.kept)-1]
	s.next = m.sequence
	if n := len(s.lost); n > 0 && s.lost[n-1] == m {
		s.lost = s.lost[:n-1]
	}
	rest := make([]byte, s.queue.n)
	s.queue.take(rest)
	// For a moment it may be fuller than its limit, by the probe.
	s.queue.put(m.data[ssmwire.HeaderSize:])
	s.queue.put(rest)
}
