package mux

import (
	"bytes"
	"fmt"

	"github.com/adit-ssh/adit/internal/wire"
)

// protocolError is a rule that the peer broke.
type protocolError struct{ text string }

func (e *protocolError) Error() string { return e.text }

func broken(format string, args ...any) error { return &protocolError{fmt.Sprintf(format, args...)} }

// dispatch deals with one message, on the reader goroutine.
func (m *Mux) dispatch(p []byte) error {
	switch p[0] {
	case wire.NumChannelData:
		id, data, ok := wire.ParseChannelData(p)
		if !ok {
			return broken("malformed CHANNEL_DATA of %d bytes", len(p))
		}
		c := m.channel(id)
		if c == nil {
			return unknown(p[0], id)
		}
		return m.data(c, data)
	case wire.NumChannelWindowAdjust:
		id, n, ok := wire.ParseChannelWindowAdjust(p)
		if !ok {
			return broken("malformed CHANNEL_WINDOW_ADJUST of %d bytes", len(p))
		}
		if c := m.channel(id); c != nil {
			return c.adjusted(n)
		}
		return nil // OpenSSH lets an adjust that comes too late pass, too
	}
	m.flushDirect()
	if p[0] == wire.NumUserauthRequest && m.cfg.Server {
		return nil
	}
	msg, err := wire.Decode(wire.PhaseAny, p)
	if err != nil {
		if p[0] >= wire.NumGlobalRequest && p[0] <= wire.NumChannelFailure {
			return broken("%v", err)
		}
		return m.pc.Unimplemented()
	}
	switch msg := msg.(type) {
	case *wire.GlobalRequest:
		return m.globalRequest(msg)
	case *wire.RequestSuccess:
		m.globalReply(true, bytes.Clone(msg.Data))
		return nil
	case *wire.RequestFailure:
		m.globalReply(false, nil)
		return nil
	case *wire.ChannelOpen:
		return m.channelOpen(msg)
	}
	id, ok := recipient(msg)
	if !ok {
		return broken("%s after authentication", wire.MsgName(msg))
	}
	c := m.channel(id)
	if c == nil {
		return unknown(p[0], id)
	}
	return c.handle(msg)
}

func unknown(num byte, id uint32) error {
	return broken("%s for channel %d, which is not open", wire.Name(wire.PhaseAny, num), id)
}

// recipient returns the channel that a message is for.
func recipient(msg wire.Msg) (uint32, bool) {
	switch msg := msg.(type) {
	case *wire.ChannelOpenConfirmation:
		return msg.RecipientChannel, true
	case *wire.ChannelOpenFailure:
		return msg.RecipientChannel, true
	case *wire.ChannelExtendedData:
		return msg.RecipientChannel, true
	case *wire.ChannelEOF:
		return msg.RecipientChannel, true
	case *wire.ChannelClose:
		return msg.RecipientChannel, true
	case *wire.ChannelRequest:
		return msg.RecipientChannel, true
	case *wire.ChannelSuccess:
		return msg.RecipientChannel, true
	case *wire.ChannelFailure:
		return msg.RecipientChannel, true
	}
	return 0, false
}

// handle deals with a message for c that is not on the fast path.
func (c *Channel) handle(msg wire.Msg) error {
	switch msg := msg.(type) {
	case *wire.ChannelOpenConfirmation:
		return c.confirmed(msg)
	case *wire.ChannelOpenFailure:
		return c.refused(msg)
	}
	if !c.isOpen() {
		return broken("%s for channel %d, which is not open yet", wire.MsgName(msg), c.id)
	}
	switch msg := msg.(type) {
	case *wire.ChannelExtendedData:
		return c.extended(msg)
	case *wire.ChannelEOF:
		return c.peerEOF()
	case *wire.ChannelClose:
		return c.peerClose()
	case *wire.ChannelRequest:
		return c.request(msg)
	case *wire.ChannelSuccess:
		c.reply(true)
	case *wire.ChannelFailure:
		c.reply(false)
	}
	return nil
}

// data takes a CHANNEL_DATA. Data for a sink is collected, so that one system
// call writes many packets; other data is copied to the channel's queue. Behind
// what was collected all is collected, even if the sink has stopped meanwhile:
// it would overtake in the queue.
func (m *Mux) data(c *Channel, data []byte) error {
	if m.direct != nil && (m.direct != c || len(m.slices) == cap(m.slices)) {
		m.flushDirect()
	}
	c.mu.Lock()
	take, err := c.admitLocked(len(data), "CHANNEL_DATA")
	if err != nil || !take {
		c.mu.Unlock()
		return err
	}
	if c.direct || m.direct == c {
		c.mu.Unlock()
		m.direct = c
		m.slices = append(m.slices, data)
		return nil
	}
	c.queue.push(data)
	c.mu.Unlock()
	wake(c.rd)
	return nil
}

// flushDirect writes what was collected to the channel's sink.
func (m *Mux) flushDirect() {
	c := m.direct
	if c == nil {
		return
	}
	m.direct = nil
	c.mu.Lock()
	c.writeSinkLocked(m.slices)
	c.mu.Unlock()
	clear(m.slices)
	m.slices = m.slices[:0]
}
