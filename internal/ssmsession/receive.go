package ssmsession

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/adit-ssh/adit/internal/ssmwire"
)

// Limits of what is kept of what was received.
const (
	receiveLimit  = 4 << 20 // bytes that nobody has read
	reorderLimit  = 4 << 20 // bytes behind a gap
	reorderAhead  = 10000   // how far behind it, in messages
	maxBadFrames  = 1000    // in a row
	maxPayload    = 1 << 20 // bytes
	maxCloseText  = 1024    // bytes of the reason for an end
	perMessage    = 256     // bytes that a kept message costs besides its payload
	handshakeSize = 1 << 16 // bytes
)

// receiver is the state of what we receive. Guarded by Session.mu.
type receiver struct {
	data     ring  // in order, not read; with what came behind a gap, up to twice receiveLimit
	expected int64 // the next sequence number
	ahead    map[int64]early
	held     int // bytes in ahead
	bad      int // frames in a row
	tail     tail
}

// early is a message that came before its turn.
type early struct {
	payloadType uint32
	payload     []byte
}

// frame takes in what one message held. It is called by the reader only, and
// waits while nobody reads what was received.
func (s *Session) frame(b []byte) error {
	f, err := ssmwire.Parse(b)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil && len(f.Payload) > maxPayload {
		err = fmt.Errorf("payload of %d bytes", len(f.Payload))
	}
	if err != nil {
		// Unacked, it comes again.
		if s.in.bad++; s.in.bad >= maxBadFrames {
			return &ProtocolError{fmt.Errorf("%d bad messages in a row, the last one: %w", s.in.bad, err)}
		}
		return nil
	}
	s.in.bad = 0
	switch f.Type {
	case ssmwire.Acknowledge:
		s.acknowledgedLocked(f.Payload)
	case ssmwire.Output:
		if err := s.outputLocked(&f); err != nil {
			return err
		}
		s.waitLocked()
	case ssmwire.ChannelClosed:
		c, err := ssmwire.ParseClosed(f.Payload)
		if err != nil {
			return &ProtocolError{err}
		}
		return s.channelClosedLocked(c.Output)
	case ssmwire.PausePublication:
		// AWS's agent waits then; others lost data by dropping it. To us it says
		// that we are too fast.
		s.out.window.shrink(s.now(), s.out.rtt.smoothed)
	}
	return nil
}

func (s *Session) acknowledgedLocked(payload []byte) {
	a, err := ssmwire.ParseAck(payload)
	if err != nil || a.Type != ssmwire.Input {
		return
	}
	if s.out.ackedLocked(a.Sequence, s.now()) {
		if s.refusal != nil && len(s.out.kept) == 0 {
			s.over = true // the agent knows
			s.endLocked(s.refusal)
			return
		}
		s.wakeWriter()
		s.changed.Broadcast() // Close waits for acks
	}
}

// outputLocked takes in a numbered message of the agent's.
func (s *Session) outputLocked(f *ssmwire.Frame) error {
	r := &s.in
	switch ahead := f.Sequence - r.expected; {
	case ahead < 0:
		// Our ack was lost. Without another one the agent sends this for ever,
		// and nothing behind it.
		r.tail.again(s.now(), s.out.rtt.smoothed)
		s.ackLocked(f)
		return nil
	case ahead > 0:
		cost := len(f.Payload) + perMessage
		if _, known := r.ahead[f.Sequence]; !known {
			if ahead > reorderAhead || r.held+cost > reorderLimit {
				return nil
			}
			r.ahead[f.Sequence] = early{f.PayloadType, bytes.Clone(f.Payload)}
			r.held += cost
			r.tail.overtaken = true
		}
		s.ackLocked(f)
		return nil
	}
	// We ack what was accepted, before a reader who takes their time. What comes
	// behind it waits in the network.
	s.ackLocked(f)
	r.expected++
	r.tail.came(s.now(), time.UnixMilli(f.Created))
	if err := s.deliverLocked(f.PayloadType, f.Payload); err != nil {
		return err
	}
	for {
		e, ok := r.ahead[r.expected]
		if !ok {
			return nil
		}
		if delete(r.ahead, r.expected); len(r.ahead) == 0 && r.tail.overtaken {
			r.tail.doubt = time.Time{} // the gap was all that was lost
		}
		r.held -= len(e.payload) + perMessage
		r.expected++
		if err := s.deliverLocked(e.payloadType, e.payload); err != nil {
			return err
		}
	}
}

// ackLocked queues an acknowledgement. One that waits already will do: an agent
// whose WebSocket is cut repeats the same message for as long as that takes.
func (s *Session) ackLocked(f *ssmwire.Frame) {
	if s.out.acking[f.Sequence] || len(s.out.acks) >= maxAcks {
		return
	}
	s.out.acking[f.Sequence] = true
	s.out.acks = append(s.out.acks, ack{f.ID, f.Sequence})
	switch n := len(s.out.acks); {
	case s.state != stateOpen, n == ackBatch:
		s.wakeWriter()
	case n == 1:
		s.out.ackDue = s.now().Add(ackDelay)
		s.ackTimer.Reset(ackDelay)
	}
}

// deliverLocked acts on a message whose turn it is.
func (s *Session) deliverLocked(payloadType uint32, payload []byte) error {
	switch payloadType {
	case ssmwire.PayloadData:
		s.receiveLocked(payload)
	case ssmwire.PayloadHandshakeRequest:
		return s.handshakeRequestLocked(payload)
	case ssmwire.PayloadHandshakeComplete:
		return s.handshakeCompleteLocked(payload)
	case ssmwire.PayloadChallengeRequest:
		return errEncrypted
	case ssmwire.PayloadFlag:
		if len(payload) == 4 && binary.BigEndian.Uint32(payload) == ssmwire.FlagConnectToPortError {
			s.refusals++
		}
	}
	return nil // unknown, or nothing to a session of type Port
}

// receiveLocked hands data to Read.
func (s *Session) receiveLocked(p []byte) {
	if !s.closing && s.state != stateEnded { // else nobody will read it
		s.in.data.put(p)
		s.changed.Broadcast()
	}
}

// waitLocked waits while more was received than may be kept, so that the network
// holds the agent back.
func (s *Session) waitLocked() {
	for s.in.data.n > receiveLimit && !s.cut && !s.closing && s.state != stateEnded {
		since := s.now()
		s.blocked = true
		s.changed.Wait()
		s.blocked = false
		s.in.tail.held()
		s.out.progress = s.out.progress.Add(s.now().Sub(since)) // no ack could be seen
		s.wakeWriter()
	}
}

// channelClosedLocked ends the session as the gateway says.
func (s *Session) channelClosedLocked(output string) error {
	s.over = true
	if len(output) > maxCloseText {
		output = output[:maxCloseText]
	}
	var err error
	switch {
	case output != "":
		err = &ClosedError{output}
	case len(s.in.ahead) > 0:
		err = fmt.Errorf("%w: message %d is missing", errTruncated, s.in.expected)
	case s.state != stateOpen && !s.opened:
		err = &ClosedError{""}
	case s.kind.Properties.Type == ssmwire.LocalPortForwarding && !s.closing:
		err = &ClosedError{""} // the target's end is not told in these
	case s.now().Before(s.in.tail.doubt) && !s.closing:
		err = s.in.tail.why
	}
	s.endLocked(err)
	return errEnded
}

var (
	errEnded     = errors.New("session has ended")
	errTruncated = errors.New("session was closed before all data had come")
	errEncrypted = errors.New("the session is encrypted with a KMS key, which adit does not do: use a document of type Port, which never is")
)
