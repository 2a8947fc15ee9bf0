//go:build unix

package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/internal/mux"
	"github.com/adit-ssh/adit/internal/session"
	"github.com/adit-ssh/adit/internal/wire"
)

// passenger is a channel that runs on a client's descriptors: a command, a shell, a
// subsystem, or a connection of -W.
//
// Goroutines of run, which ends with the channel: one for each stream, one for the
// server's requests, one that awaits its answers.
type passenger struct {
	id      uint32
	c       *client
	ch      *adit.Conn
	streams []*stream // standard input, output, and but for -W error
	tty     bool
	left    context.Context // ends when nobody waits for the rest, with the master at the latest
	leave   context.CancelFunc
	done    chan struct{} // closed when all is over

	mu    sync.Mutex
	ended bool // guarded by mu: the descriptors are no longer ours
}

// run copies until the server has closed the channel and all its output is
// written. s is nil for -W. It is not session.Run, whose streams are those of the
// program: these go straight from and to sockets, and are interrupted.
func (p *passenger) run(s *session.Session) {
	in, out := p.streams[0], p.streams[1]
	var reading, writing sync.WaitGroup
	reading.Go(func() {
		_, err := p.ch.ReadFrom(in.Reader)
		if terminated(err) {
			p.abandon()
			return
		}
		p.ch.CloseWrite() // a stream that fails has ended, as for OpenSSH
	})
	writing.Go(func() {
		if _, err := p.ch.WriteTo(out.Writer); err != nil {
			// Nobody reads it any more: the command is to hear of it (OpenSSH,
			// PROTOCOL, section 2.1).
			p.ch.SendRequest(p.c.m.lifetime, wire.RequestEOW, false, nil)
		}
		if s == nil { // -W ends with what the target sends
			p.abandon()
		}
	})
	if s != nil {
		writing.Go(func() {
			if _, err := io.Copy(p.streams[2].Writer, p.ch.Stderr()); err != nil {
				io.Copy(io.Discard, p.ch.Stderr()) // else standard output would stop with it
			}
		})
		writing.Go(p.requests)
		writing.Go(func() { p.await(s) })
	}
	writing.Wait()
	select {
	case <-p.ch.Closed():
	case <-p.left.Done(): // sshd closes when the command ends, which may not care
	}
	in.interrupt()
	reading.Wait()
}

// await takes the server's answers, and tells the client's user what it did not
// grant, as OpenSSH does (clientloop.c, client_status_confirm).
func (p *passenger) await(s *session.Session) {
	tell := func(what string) {
		fmt.Fprintf(p.streams[2], "%s request failed on channel %d\r\n", what, p.ch.ID())
	}
	err := s.Answers(p.left, func() error {
		tell("PTY allocation")
		p.c.conn.send(message{Kind: kindTTYAllocFail, ID: p.id})
		return nil
	})
	if refused, ok := errors.AsType[*session.RefusedError](err); ok {
		tell(refused.Kind)
		p.abandon()
	}
}

// requests tells the client how the command ended. One that died by a signal has
// no status, which for the client is 255.
func (p *passenger) requests() {
	told := false // more than one ends OpenSSH's client
	for {
		var r *mux.Request
		select {
		case r = <-p.ch.Requests():
		case <-p.left.Done():
		}
		if r == nil {
			return
		}
		var status wire.ExitStatus
		if r.Type == wire.RequestExitStatus && !told && wire.ParseBody(r.Data, &status) == nil {
			told = true
			p.c.conn.send(message{Kind: kindExit, ID: p.id, Value: status.Status})
		}
		r.Reply(r.Type == wire.RequestEOW)
	}
}

// abandon ends a passenger without waiting for the server.
func (p *passenger) abandon() {
	p.leave()
	for _, s := range p.streams {
		s.interrupt()
	}
	p.ch.Close()
}

// end gives the descriptors back and lets the client go.
func (p *passenger) end() {
	p.leave()
	p.ch.Close()
	p.mu.Lock()
	p.ended = true
	p.mu.Unlock()
	for i := len(p.streams) - 1; i >= 0; i-- { // two may be one, adopted in this order
		p.streams[i].giveBack()
	}
	close(p.done)
	p.c.conn.c.CloseWrite()
	p.c.conn.c.Close()
}

// windowChanged tells the server of the new size of the session's terminal, if it
// has one and its size is not the one that was told.
func (p *passenger) windowChanged(told wire.WindowChange) {
	p.mu.Lock()
	var size wire.WindowChange
	if p.tty && !p.ended {
		size = terminalSize(p.streams[0].fd)
	}
	p.mu.Unlock()
	if size != (wire.WindowChange{}) && size != told {
		p.ch.SendRequest(p.c.m.lifetime, wire.RequestWindow, false, size.Append(nil))
	}
}
