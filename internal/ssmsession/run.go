package ssmsession

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"github.com/adit-ssh/adit/internal/ssmwire"
)

// Waits between attempts to get a new WebSocket; each is shortened at random by
// up to a half, so that many clients don't come at once.
const (
	retryFirst = 200 * time.Millisecond
	retryMost  = 10 * time.Second
	// steady is how long a WebSocket must live to be forgiven its end.
	steady = 10 * time.Second
	// writeTimeout is how long a WebSocket may not take what we send, until it is
	// given up.
	writeTimeout = time.Minute
	// tellAfter is how long there is no WebSocket until somebody is told: shorter
	// times are nobody's concern.
	tellAfter = 10 * time.Second
)

// run connects, serves the WebSocket until it ends, and again. The gateway closes
// each about hourly: that is no error, and nobody hears of it.
func (s *Session) run() {
	defer close(s.done)
	defer s.stop()
	defer s.ackTimer.Stop()
	wait := time.Duration(0)
	useful := s.now() // when a WebSocket was last of use
	for again := false; ; again = true {
		m, err := s.connect(again, &wait)
		if err != nil {
			s.mu.Lock()
			s.over = s.over || errors.Is(err, ErrOver)
			s.endLocked(err)
			s.mu.Unlock()
			return
		}
		began, before := s.now(), s.progress()
		err = s.serve(m)
		now := s.now()
		if now.Sub(began) >= steady {
			wait = 0
		}
		if wait == 0 || s.progress() != before {
			useful = now
		}
		s.mu.Lock()
		switch {
		case now.Sub(useful) >= s.o.ResumeFor:
			s.endLocked(fmt.Errorf("for %v the gateway has ended each data channel at once: %w", s.o.ResumeFor, err))
		case s.state != stateEnded:
			s.out.againLocked(errors.Is(err, ErrTooBig))
		}
		ended := s.state == stateEnded
		s.mu.Unlock()
		if ended {
			return
		}
	}
}

// progress grows with all that arrives for the first time, either way.
func (s *Session) progress() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.acked + uint64(s.in.expected)
}

// connect gets a WebSocket: the first at once or not at all, others for as long
// as ResumeFor says.
func (s *Session) connect(again bool, wait *time.Duration) (Messages, error) {
	if !again {
		return s.o.Connect(s.lifetime, false, s.isBlocked)
	}
	began, told := s.now(), false
	for {
		pause := *wait
		*wait = min(retryMost, max(retryFirst, 2**wait))
		if pause > 0 {
			if !s.pause(pause - rand.N(pause/2+1)) {
				return nil, context.Cause(s.lifetime)
			}
		}
		m, err := s.o.Connect(s.lifetime, true, s.isBlocked)
		if err == nil {
			away := s.now().Sub(began)
			s.mu.Lock()
			s.out.progress = s.out.progress.Add(away)
			s.in.tail.renewed(s.now())
			s.mu.Unlock()
			return m, nil
		}
		if errors.Is(err, ErrOver) || s.lifetime.Err() != nil {
			return nil, err
		}
		away := s.now().Sub(began)
		if away >= tellAfter && !told && s.o.Waiting != nil {
			told = true
			s.o.Waiting(err)
		}
		if away >= s.o.ResumeFor {
			return nil, fmt.Errorf("the session could not be resumed for %v: %w", s.o.ResumeFor, err)
		}
	}
}

// pause waits, and reports false if the session ended meanwhile.
func (s *Session) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.lifetime.Done():
		return false
	}
}

// serve runs one WebSocket until it ends or the session does.
func (s *Session) serve(m Messages) error {
	s.mu.Lock()
	s.cut = false
	s.wakeWriter()
	s.mu.Unlock()
	stop := context.AfterFunc(s.lifetime, func() { m.Close() }) // a write may wait in it
	defer stop()
	var reader sync.WaitGroup
	var readErr error
	gone := make(chan struct{})
	reader.Go(func() {
		defer close(gone)
		readErr = s.read(m)
		m.Close() // the writer may wait in it
	})
	writeErr := s.write(m, gone)
	s.mu.Lock()
	s.cut = true // the reader may wait for Read
	s.changed.Broadcast()
	s.mu.Unlock()
	m.Close()
	reader.Wait()
	return errors.Join(readErr, writeErr)
}

// read takes in messages. Errors of the protocol end the session.
func (s *Session) read(m Messages) error {
	for {
		b, err := m.ReadMessage()
		if err != nil {
			return err
		}
		if err := s.frame(b); err != nil {
			s.mu.Lock()
			s.endLocked(err)
			s.mu.Unlock()
			return err
		}
	}
}

// write sends acks and messages until the reader has gone, a write fails or the
// session has ended.
func (s *Session) write(m Messages, gone <-chan struct{}) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var buf []byte
	for {
		s.mu.Lock()
		now := s.now()
		if !s.blocked {
			s.out.expireLocked(now)
			if s.out.stalledLocked(now, s.o.StallTimeout) {
				s.endLocked(&StalledError{s.o.StallTimeout})
			}
		}
		p := s.out.pickLocked(now, s.state == stateOpen)
		if s.state == stateEnded && len(p.acks) == 0 {
			s.mu.Unlock()
			return errEnded
		}
		var next <-chan time.Time
		if len(p.acks)+len(p.msgs) == 0 {
			if at, ok := s.out.timerLocked(s.o.StallTimeout); ok && !s.blocked {
				timer.Reset(max(0, at.Sub(now)))
				next = timer.C
			}
		} else if s.out.queue.n < queueLimit {
			s.changed.Broadcast() // Write may go on
		}
		s.mu.Unlock()
		if len(p.acks)+len(p.msgs) == 0 {
			select {
			case <-s.wake:
			case <-next:
			case <-gone:
				return nil
			}
			continue
		}
		var err error
		patience := time.AfterFunc(writeTimeout, func() { m.Close() })
		buf, err = s.send(m, p, buf)
		if !patience.Stop() && err == nil {
			err = os.ErrDeadlineExceeded
		}
		if err != nil {
			return err
		}
	}
}

// send writes what was picked. buf is scratch.
func (s *Session) send(m Messages, p pick, buf []byte) ([]byte, error) {
	created := s.now().UnixMilli()
	for _, a := range p.acks {
		f := ssmwire.Frame{Type: ssmwire.Acknowledge, Created: created, Flags: ssmwire.FlagsControl, ID: newID()}
		buf = append(buf[:0], make([]byte, ssmwire.HeaderSize)...)
		buf = ssmwire.AppendAck(buf, ssmwire.Output, a.id, a.sequence)
		f.Seal(buf)
		if err := m.WriteMessage(buf); err != nil {
			return buf, err
		}
	}
	for _, msg := range p.msgs {
		data, ok := s.sealed(msg, created)
		if !ok {
			continue // acked since it was picked
		}
		if err := m.WriteMessage(data); err != nil {
			return buf, err
		}
	}
	return buf, m.Flush()
}

// sealed returns a message's frame. Its head is filled in once: it is sent again
// unchanged.
func (s *Session) sealed(m *message, created int64) ([]byte, bool) {
	s.mu.Lock()
	data, sealed := m.data, m.sealed
	m.sealed = true
	s.mu.Unlock()
	if data == nil {
		return nil, false
	}
	if !sealed { // so it was never sent, and nobody else looks at it
		f := ssmwire.Frame{Type: ssmwire.Input, Created: created, Sequence: m.sequence, ID: newID(), PayloadType: m.payloadType}
		f.Seal(data)
	}
	return data, true
}

// newID makes a random UUID (version 4). It names a message and protects nothing.
func newID() (id ssmwire.ID) {
	a, b := rand.Uint64(), rand.Uint64()
	for i := range 8 {
		id[i], id[8+i] = byte(a>>(8*i)), byte(b>>(8*i))
	}
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return id
}
