package mux

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync/atomic"

	"github.com/adit-ssh/adit/internal/packet"
	"github.com/adit-ssh/adit/internal/wire"
)

// Request is a channel request by the peer (RFC 4254, section 5.4).
type Request struct {
	Type      string
	WantReply bool
	Data      []byte

	c       *Channel
	replied atomic.Bool
}

// Reply answers the request, if the peer wants an answer. Requests are answered
// in the order in which they came.
func (r *Request) Reply(ok bool) error {
	if !r.WantReply || r.replied.Swap(true) {
		return nil
	}
	return r.c.answer(ok)
}

func (c *Channel) answer(ok bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sentClose || c.state != stateOpen {
		return nil // the peer no longer waits
	}
	var m wire.Msg = &wire.ChannelFailure{RecipientChannel: c.peerID}
	if ok {
		m = &wire.ChannelSuccess{RecipientChannel: c.peerID}
	}
	return c.m.pc.QueuePacket(m.Append(nil))
}

// Requests returns the peer's requests, when the channel was opened with
// Options.Requests; nil otherwise. It is closed with the channel. Requests that
// find the queue full are refused.
func (c *Channel) Requests() <-chan *Request { return c.reqs }

// request queues a request for the channel's owner, or refuses it. It runs on
// the reader goroutine, the only one that sends to reqs.
func (c *Channel) request(msg *wire.ChannelRequest) error {
	c.mu.Lock()
	if c.gotClose {
		c.mu.Unlock()
		return broken("CHANNEL_REQUEST for channel %d after CLOSE", c.id)
	}
	r := &Request{Type: msg.Type, WantReply: msg.WantReply, Data: bytes.Clone(msg.Data), c: c}
	queued := false
	if c.reqs != nil && !c.closed && msg.Type != wire.RequestKeepalive {
		select {
		case c.reqs <- r:
			queued = true
		default:
		}
	}
	c.mu.Unlock()
	if !queued && msg.WantReply {
		return c.answer(false)
	}
	return nil
}

// SendRequest sends a channel request. With wantReply it waits for the answer.
func (c *Channel) SendRequest(ctx context.Context, name string, wantReply bool, data []byte) (bool, error) {
	answer, err := c.sendRequest(name, wantReply, data)
	if err != nil || !wantReply {
		return err == nil, err
	}
	select {
	case ok, open := <-answer:
		if !open {
			return false, c.endErr()
		}
		return ok, nil
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
}

// Ask sends a channel request and returns. The answer comes on a channel that
// has room for it; the channel is closed instead when none will come.
func (c *Channel) Ask(name string, data []byte) (answer <-chan bool, err error) {
	return c.sendRequest(name, true, data)
}

func (c *Channel) sendRequest(name string, wantReply bool, data []byte) (answer chan bool, err error) {
	msg := wire.ChannelRequest{RecipientChannel: c.peerID, Type: name, WantReply: wantReply, Data: data}
	c.reqMu.Lock()
	defer c.reqMu.Unlock()
	c.mu.Lock()
	err = c.requestErrLocked()
	if err == nil && wantReply {
		answer = make(chan bool, 1)
		c.replies = append(c.replies, answer)
	}
	if err == nil {
		c.sending++ // CLOSE, as an answer to the peer's, must not overtake
	}
	c.mu.Unlock()
	if err != nil {
		return nil, err
	}
	err = c.m.pc.WritePacket(msg.Append(nil), nil)
	c.release(0, 0)
	return answer, err
}

func (c *Channel) requestErrLocked() error {
	switch {
	case c.closed:
		return ErrClosed
	case c.gotClose:
		return io.EOF
	case c.err != nil:
		return c.err
	case len(c.replies) >= replyQueue:
		return errors.New("too many requests wait for an answer")
	}
	return nil
}

func (c *Channel) endErr() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	return io.EOF
}

// reply hands an answer to who waits longest. An answer that nobody waits for
// is dropped.
func (c *Channel) reply(ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.replies) > 0 {
		c.replies[0] <- ok
		c.replies = c.replies[1:]
	}
}

// Stderr returns the channel's extended data of type stderr, when it was opened
// with Options.Stderr; writing to it sends some.
func (c *Channel) Stderr() io.ReadWriter { return stderr{c} }

type stderr struct{ c *Channel }

// Read implements io.Reader. It must not be called by two goroutines at once.
func (s stderr) Read(p []byte) (int, error) {
	if s.c.errRd == nil {
		return 0, io.EOF
	}
	return s.c.readQueue(&s.c.stderr, s.c.errRd, p)
}

// Write implements io.Writer.
func (s stderr) Write(p []byte) (int, error) { return s.c.write(p, wire.ExtendedDataStderr) }

// globalReply receives the answer to a global request of ours, or why none will
// come.
type globalReply func(ok bool, data []byte, err error)

// globalRequest is one of the peer's, for the handler.
type globalRequest struct {
	name      string
	wantReply bool
	data      []byte
}

// Request sends a global request (RFC 4254, section 4). With wantReply it waits
// for the answer. ctx bounds both.
func (m *Mux) Request(ctx context.Context, name string, wantReply bool, data []byte) (ok bool, reply []byte, err error) {
	if !wantReply {
		err := m.sendGlobal(ctx, name, data, nil)
		return err == nil, nil, err
	}
	type answer struct {
		ok   bool
		data []byte
		err  error
	}
	answered := make(chan answer, 1)
	if err := m.Ask(ctx, name, data, func(ok bool, data []byte, err error) { answered <- answer{ok, data, err} }); err != nil {
		return false, nil, err
	}
	select {
	case a := <-answered:
		return a.ok, a.data, a.err
	case <-ctx.Done():
	}
	select {
	case a := <-answered: // both were ready
		return a.ok, a.data, a.err
	default:
	}
	return false, nil, context.Cause(ctx)
}

// Ask sends a global request and returns. answered is called once, with the
// answer or with why the connection ended without one, before any message is
// dealt with that the peer sent behind the answer. It runs on the reader
// goroutine and must not wait. It is not called when Ask returns an error.
func (m *Mux) Ask(ctx context.Context, name string, data []byte, answered func(ok bool, reply []byte, err error)) error {
	return m.sendGlobal(ctx, name, data, answered)
}

// Tell queues a global request that wants no answer. It never waits, and may be
// called on the reader goroutine.
func (m *Mux) Tell(name string, data []byte) error {
	return m.pc.QueuePacket((&wire.GlobalRequest{Type: name, Data: data}).Append(nil))
}

func (m *Mux) sendGlobal(ctx context.Context, name string, data []byte, reply globalReply) error {
	msg := wire.GlobalRequest{Type: name, WantReply: reply != nil, Data: data}
	m.globalMu.Lock()
	defer m.globalMu.Unlock()
	m.mu.Lock()
	err := m.err
	switch {
	case err != nil || reply == nil:
	case len(m.replies) >= replyQueue:
		err = errors.New("too many global requests wait for an answer")
	default:
		m.replies = append(m.replies, reply)
	}
	m.mu.Unlock()
	if err != nil {
		return err
	}
	err = m.pc.WritePacket(msg.Append(nil), ctx.Done())
	if err == nil {
		return nil
	}
	if err == packet.ErrCancelled {
		err = context.Cause(ctx)
	}
	if reply != nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		n := len(m.replies)
		if n == 0 {
			return nil // it was taken out to be called
		}
		m.replies = m.replies[:n-1] // only globalMu's holder appends: it is the last
	}
	return err
}

// globalReply hands an answer to who waits longest. An answer that nobody waits
// for is dropped.
func (m *Mux) globalReply(ok bool, data []byte) {
	m.mu.Lock()
	var reply globalReply
	if len(m.replies) > 0 {
		reply = m.replies[0]
		m.replies = m.replies[1:]
	}
	m.mu.Unlock()
	if reply != nil {
		reply(ok, data, nil)
	}
}

// globalRequest queues a global request for its handler, or refuses it. It runs
// on the reader goroutine.
func (m *Mux) globalRequest(msg *wire.GlobalRequest) error {
	if m.globals != nil {
		m.mu.Lock()
		m.asked++
		m.mu.Unlock()
		select {
		case m.globals <- globalRequest{msg.Type, msg.WantReply, bytes.Clone(msg.Data)}:
			return nil
		default:
			// Answering out of order would answer the wrong request.
			return broken("more than %d global requests wait for an answer", requestQueue)
		}
	}
	if msg.WantReply {
		return m.pc.QueuePacket((&wire.RequestFailure{}).Append(nil))
	}
	return nil
}

// serveGlobals answers global requests in their order.
func (m *Mux) serveGlobals() {
	for r := range m.globals {
		ok, data := m.cfg.Global(r.name, r.data)
		m.mu.Lock()
		if m.asked--; m.asked == 0 && m.answered != nil {
			close(m.answered)
			m.answered = nil
		}
		m.mu.Unlock()
		if !r.wantReply {
			continue
		}
		var msg wire.Msg = &wire.RequestFailure{}
		if ok {
			msg = &wire.RequestSuccess{Data: data}
		}
		if m.pc.WritePacket(msg.Append(nil), nil) != nil {
			continue // the connection has ended; the queue is drained
		}
	}
}

// Heard returns a channel that is closed when Config.Global has returned from all
// global requests of the peer that have come by now; it may be so at once. It is not
// closed if the connection ends before.
func (m *Mux) Heard() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.asked == 0 {
		heard := make(chan struct{})
		close(heard)
		return heard
	}
	if m.answered == nil {
		m.answered = make(chan struct{})
	}
	return m.answered
}
