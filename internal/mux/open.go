package mux

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/adit-ssh/adit/internal/packet"
	"github.com/adit-ssh/adit/internal/wire"
	"github.com/adit-ssh/adit/trace"
)

// OpenError is a refused open (RFC 4254, section 5.1).
type OpenError struct {
	Reason      uint32
	Description string // the refuser's words; the peer's are not sanitised
	Local       bool   // we refused it ourselves
}

var openReasons = map[uint32]string{
	wire.OpenAdministrativelyProhibited: "administratively prohibited",
	wire.OpenConnectFailed:              "connect failed",
	wire.OpenUnknownChannelType:         "unknown channel type",
	wire.OpenResourceShortage:           "resource shortage",
}

func (e *OpenError) Error() string {
	reason, ok := openReasons[e.Reason]
	if !ok {
		reason = fmt.Sprintf("reason %d", e.Reason)
	}
	if e.Description == "" {
		return "channel refused: " + reason
	}
	return fmt.Sprintf("channel refused: %s: %.512q", reason, e.Description)
}

// OpenFailure returns reason and description, for those who translate refusals.
func (e *OpenError) OpenFailure() (reason uint32, description string) { return e.Reason, e.Description }

// Options say what a channel is prepared to receive besides data.
type Options struct {
	Requests bool // channel requests, through Channel.Requests
	Stderr   bool // extended data, through Channel.Stderr
}

// Open opens a channel of type typ with the type's own data. A refusal is an
// *OpenError. When ctx ends first, a late confirmation is answered with CLOSE.
func (m *Mux) Open(ctx context.Context, typ string, data []byte, o Options) (*Channel, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	op, err := m.Begin(typ, data, o)
	if err != nil {
		return nil, err
	}
	if err := op.Send(ctx); err != nil {
		return nil, err
	}
	return op.Wait(ctx)
}

// Opening is an open by us, in its steps: Send, or to write Message behind
// something else, then Wait.
type Opening struct {
	c       *Channel
	Message []byte // CHANNEL_OPEN
}

// Begin prepares an open. The channel has its number from now on.
func (m *Mux) Begin(typ string, data []byte, o Options) (*Opening, error) {
	c := m.newChannel(typ, o)
	c.describe(data)
	c.opened = make(chan error, 1)
	if o.Stderr {
		c.errRd = make(chan struct{}, 1)
	}
	if err := m.add(c); err != nil {
		return nil, err
	}
	msg := wire.ChannelOpen{Type: typ, SenderChannel: c.id, InitialWindow: c.window, MaxPacket: m.cfg.MaxPacket, Data: data}
	return &Opening{c, msg.Append(nil)}, nil
}

// Send writes Message. On an error there is nothing to wait for.
func (op *Opening) Send(ctx context.Context) error {
	m := op.c.m
	err := m.pc.WritePacket(op.Message, ctx.Done())
	if err == nil {
		return nil
	}
	m.remove(op.c)
	if err == packet.ErrCancelled {
		err = context.Cause(ctx)
	}
	return err
}

// Wait waits for the answer. When ctx ends first, a late confirmation is
// answered with CLOSE.
func (op *Opening) Wait(ctx context.Context) (*Channel, error) {
	c := op.c
	select {
	case err := <-c.opened:
		return c.orError(err)
	case <-ctx.Done():
	}
	c.mu.Lock()
	c.abandoned = true
	answered := c.state != stateOpening
	c.mu.Unlock()
	if answered { // the answer was faster
		return c.orError(<-c.opened)
	}
	return nil, context.Cause(ctx)
}

func (c *Channel) orError(err error) (*Channel, error) {
	if err != nil {
		return nil, err
	}
	return c, nil
}

// confirmed opens the channel.
func (c *Channel) confirmed(msg *wire.ChannelOpenConfirmation) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != stateOpening || c.byPeer {
		return broken("CHANNEL_OPEN_CONFIRMATION for channel %d, which does not wait for one", c.id)
	}
	c.setPeerLocked(msg.SenderChannel, msg.InitialWindow, msg.MaxPacket)
	c.traceOpened()
	c.watchIdleLocked()
	if c.maxOut == 0 || c.abandoned {
		c.closed, c.wantClose = true, true
		c.stopReadingLocked()
		c.closeIfDueLocked()
	}
	if c.maxOut == 0 {
		c.opened <- &OpenError{Reason: wire.OpenConnectFailed, Description: "the peer accepts packets of 0 bytes only", Local: true}
		return nil
	}
	c.opened <- nil
	return nil
}

func (c *Channel) setPeerLocked(id, window, maxPacket uint32) {
	c.state = stateOpen
	c.peerID, c.outLeft = id, window
	c.maxOut = int(min(maxPacket, packet.MaxData))
}

// refused ends a channel that never opened.
func (c *Channel) refused(msg *wire.ChannelOpenFailure) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != stateOpening || c.byPeer {
		return broken("CHANNEL_OPEN_FAILURE for channel %d, which does not wait for an answer", c.id)
	}
	c.state = stateGone
	close(c.ended)
	c.m.remove(c)
	trace.Emit(c.m.cfg.Tracer, trace.ChannelRefused{Type: c.typ, Target: c.about.Target(), Originator: c.about.Originator(),
		Reason: msg.Reason, Description: msg.Description})
	c.opened <- &OpenError{Reason: msg.Reason, Description: msg.Description}
	return nil
}

func (c *Channel) isOpen() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state == stateOpen
}

// describe keeps for the tracer what the channel's open is about.
func (c *Channel) describe(data []byte) {
	if trace.Wants(c.m.cfg.Tracer, trace.LevelChannel) {
		c.about = trace.SubjectOf(c.typ, data)
	}
}

func (c *Channel) traceOpened() {
	if !trace.Wants(c.m.cfg.Tracer, trace.LevelChannel) {
		return
	}
	trace.Emit(c.m.cfg.Tracer, trace.ChannelOpened{Local: c.id, Peer: c.peerID, Type: c.typ, ByPeer: c.byPeer,
		Target: c.about.Target(), Originator: c.about.Originator(),
		WindowIn: c.window, WindowOut: c.outLeft, MaxPacketIn: c.m.cfg.MaxPacket, MaxPacketOut: uint32(c.maxOut)})
}

// Pending is an open by the peer that waits for its answer: Accept or Reject,
// once.
type Pending struct {
	m        *Mux
	msg      wire.ChannelOpen
	answered atomic.Bool
}

// Type returns the channel type asked for.
func (p *Pending) Type() string { return p.msg.Type }

// Data returns the type's own data.
func (p *Pending) Data() []byte { return p.msg.Data }

// Context returns the connection's lifetime.
func (p *Pending) Context() context.Context { return p.m.lifetime }

// Accept confirms the open.
func (p *Pending) Accept(o Options) (*Channel, error) {
	if p.answered.Swap(true) {
		panic("BUG: a pending channel was answered twice")
	}
	p.m.pending.Add(-1)
	m := p.m
	c := m.newChannel(p.msg.Type, o)
	c.describe(p.msg.Data)
	c.byPeer = true
	if o.Stderr {
		c.errRd = make(chan struct{}, 1)
	}
	c.mu.Lock()
	c.setPeerLocked(p.msg.SenderChannel, p.msg.InitialWindow, p.msg.MaxPacket)
	c.mu.Unlock()
	if err := m.add(c); err != nil {
		if oe, ok := err.(*OpenError); ok {
			p.refuse(oe.Reason, oe.Description)
		}
		return nil, err
	}
	msg := wire.ChannelOpenConfirmation{RecipientChannel: c.peerID, SenderChannel: c.id, InitialWindow: c.window, MaxPacket: m.cfg.MaxPacket}
	if err := m.pc.WritePacket(msg.Append(nil), nil); err != nil {
		return nil, err // the connection has ended, and the channel with it
	}
	c.traceOpened()
	c.mu.Lock()
	if c.state == stateOpen {
		c.watchIdleLocked()
	}
	c.mu.Unlock()
	return c, nil
}

// Reject refuses the open with a reason of RFC 4254, section 5.1.
func (p *Pending) Reject(reason uint32, text string) error {
	if p.answered.Swap(true) {
		panic("BUG: a pending channel was answered twice")
	}
	p.m.pending.Add(-1)
	return p.refuse(reason, text)
}

func (p *Pending) refuse(reason uint32, text string) error {
	if trace.Wants(p.m.cfg.Tracer, trace.LevelChannel) {
		about := trace.SubjectOf(p.msg.Type, p.msg.Data)
		trace.Emit(p.m.cfg.Tracer, trace.ChannelRefused{Type: p.msg.Type, ByPeer: true, Target: about.Target(),
			Originator: about.Originator(), Reason: reason, Description: text})
	}
	return p.m.pc.QueuePacket(p.failure(reason, text))
}

func (p *Pending) failure(reason uint32, text string) []byte {
	m := wire.ChannelOpenFailure{RecipientChannel: p.msg.SenderChannel, Reason: reason, Description: text}
	return m.Append(nil)
}

// channelOpen hands the peer's open to its handler, on the reader goroutine.
func (m *Mux) channelOpen(msg *wire.ChannelOpen) error {
	p := &Pending{m: m, msg: *msg}
	switch {
	case m.cfg.Open == nil:
		return p.refuse(wire.OpenUnknownChannelType, "no channels are accepted")
	case msg.MaxPacket == 0:
		return p.refuse(wire.OpenConnectFailed, "maximum packet size is 0")
	case int(m.pending.Add(1)) > m.cfg.MaxPending:
		m.pending.Add(-1)
		return p.refuse(wire.OpenResourceShortage, "too many opens wait for an answer")
	}
	p.msg.Data = append([]byte(nil), msg.Data...)
	m.wg.Go(func() {
		m.cfg.Open(p)
		if !p.answered.Swap(true) {
			m.pending.Add(-1)
			p.refuse(wire.OpenAdministrativelyProhibited, "not accepted")
		}
	})
	return nil
}
