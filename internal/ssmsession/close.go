package ssmsession

import (
	"context"
	"fmt"
	"time"

	"github.com/adit-ssh/adit/internal/ssmwire"
)

const (
	// closeQuiet is how long Close waits without an acknowledgement, so that the API
	// which ends a session that does not answer is called within a second.
	closeQuiet = 700 * time.Millisecond
	// terminateLimit is how long that call may take.
	terminateLimit = time.Second
	// closeLimit is how long it waits in all.
	closeLimit = 10 * time.Second
)

// Close ends the session, so that the agent closes its connection to the target
// now and not when the session's idle time is over. What was written goes before,
// as long as the agent acknowledges something each 0.7 s, for 10 s at most and not
// beyond the write deadline; the error says if not all of it was. It is idempotent
// and wakes Read and Write; each call returns when all is done.
func (s *Session) Close() error {
	s.mu.Lock()
	first := !s.closing
	s.closing = true
	s.changed.Broadcast()
	s.wakeWriter()
	if !first {
		s.mu.Unlock()
		<-s.closed
		return nil
	}
	defer close(s.closed)
	s.finishLocked()
	unsent := s.out.queue.n
	for _, m := range s.out.kept {
		if !m.acked && m.payloadType == ssmwire.PayloadData {
			unsent += m.size
		}
	}
	if s.state == stateEnded && s.err == nil {
		unsent = 0 // the target left first, and knows what it read
	}
	s.endLocked(nil)
	over := s.over
	s.mu.Unlock()
	if !over && s.o.Terminate != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(s.lifetime), terminateLimit)
		s.o.Terminate(ctx) // if it fails, the session's idle time ends it
		cancel()
	}
	s.stop()
	<-s.done
	if unsent > 0 {
		return s.failed("close", fmt.Errorf("%d bytes were not acknowledged", unsent))
	}
	return nil
}

// finishLocked sends what is left and then the message that ends the session.
func (s *Session) finishLocked() {
	if s.state != stateOpen {
		return
	}
	var last *message
	if ssmwire.Newer(s.agentVersion, ssmwire.AgentTerminates) {
		last = s.out.controlLocked(ssmwire.PayloadFlag, []byte{0, 0, 0, byte(ssmwire.FlagTerminateSession)})
	}
	begin := s.now()
	end := begin.Add(closeLimit)
	if at := s.writeLimit.at; at.After(begin) && at.Before(end) {
		end = at
	}
	mark := s.out.acked
	progress := begin
	timer := time.AfterFunc(closeQuiet, s.look)
	defer timer.Stop()
	for s.state == stateOpen && (s.out.queue.n > 0 || len(s.out.extra) > 0 || len(s.out.kept) > 0) {
		now := s.now()
		if s.out.acked != mark {
			mark, progress = s.out.acked, now
		}
		left := min(progress.Add(closeQuiet).Sub(now), end.Sub(now))
		if left <= 0 {
			return
		}
		timer.Reset(left)
		s.changed.Wait()
	}
	s.over = s.over || last != nil && last.acked
}

// look wakes who waits on changed, so that they look at the clock.
func (s *Session) look() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changed.Broadcast()
}
