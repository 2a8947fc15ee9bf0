package transport

import (
	"bytes"
	"slices"
	"time"

	"github.com/adit-ssh/adit/internal/wire"
	"github.com/adit-ssh/adit/trace"
)

// handle deals with a message that belongs to the transport.
func (c *Conn) handle(p []byte) error {
	switch num := p[0]; {
	case num == wire.NumKexInit:
		return c.exchange(slices.Clone(p))
	case num == wire.NumExtInfo:
		return c.handleExtInfo(p)
	case num == wire.NumPing:
		return c.handlePing(p)
	case num == wire.NumPong:
		return c.handlePong(p)
	case num == wire.NumNewKeys || num >= 30 && num < 50:
		return protocolError("%s outside a key exchange", wire.Name(wire.PhaseKexShare, num))
	case num <= wire.NumDebug && num > 0:
		return c.handleNoise(p)
	}
	c.lastSeq = c.in.seq - 1
	return c.Unimplemented()
}

// handleNoise deals with messages 1 to 4.
func (c *Conn) handleNoise(p []byte) error {
	if p[0] != wire.NumDisconnect {
		// IGNORE, UNIMPLEMENTED and DEBUG ask for nothing. Tracers see them.
		return nil
	}
	var m wire.Disconnect
	if err := wire.Parse(p, &m); err != nil {
		return protocolError("%w", err)
	}
	return &DisconnectError{Reason: m.Reason, Text: Sanitize(m.Description, 1024), ByPeer: true}
}

// handleExtInfo keeps the peer's extensions (RFC 8308, section 2.4: later ones
// replace earlier ones).
func (c *Conn) handleExtInfo(p []byte) error {
	var m wire.ExtInfo
	if err := wire.Parse(p, &m); err != nil {
		return protocolError("%w", err)
	}
	ext := make(map[string][]byte, len(m.Extensions))
	for _, e := range m.Extensions {
		ext[e.Name] = bytes.Clone(e.Value)
	}
	c.mu.Lock()
	c.extensions = ext
	c.mu.Unlock()
	return nil
}

// noteAuth remembers the authentication method, which gives numbers 60 and 61
// their meaning in traces.
func (c *Conn) noteAuth(p []byte) {
	var m wire.UserauthRequest
	if wire.Parse(p, &m) != nil {
		return
	}
	phase := wire.PhaseAny
	switch m.Method {
	case wire.MethodPublickey, wire.MethodHostbound:
		phase = wire.PhasePublickey
	case wire.MethodPassword:
		phase = wire.PhasePassword
	case wire.MethodKeyboardInteractive:
		phase = wire.PhaseKbdint
	}
	c.authPhase.Store(uint32(phase))
}

// tracePacket tells the tracer about a message.
func (c *Conn) tracePacket(out bool, seq uint32, p []byte) {
	phase := wire.PhaseAny
	switch num := p[0]; {
	case num >= 30 && num < 50:
		phase = wire.Phase(c.kexPhase.Load())
	case num == wire.NumUserauthRequest:
		c.noteAuth(p)
	case num >= 60 && num < 80:
		phase = wire.Phase(c.authPhase.Load())
	}
	e := trace.Packet{Out: out, Seq: seq, Size: len(p), Num: p[0], Phase: phase}
	m, withheld, err := c.traceable(phase, out, p)
	if e.Err, e.Withheld = err, withheld; err == nil {
		if e.Msg = wire.Redact(m); e.Msg != m {
			e.Size = len(e.Msg.Append(nil)) // the length of a secret is nobody's business
		}
	}
	c.cfg.Tracer.Trace(time.Now(), e)
}

// traceable decodes a message for the tracer. Channel data is copied only for
// those who want to see it, and withheld from them, too, if it is an agent's.
func (c *Conn) traceable(phase wire.Phase, out bool, p []byte) (m wire.Msg, withheld bool, err error) {
	all := c.cfg.Tracer.Level() >= trace.LevelData
	if ch, data, ok := wire.ParseChannelData(p); ok {
		if withheld = all && c.agents.have(out, ch); withheld || !all {
			return &wire.ChannelData{RecipientChannel: ch, Data: trace.Withheld(len(data))}, withheld, nil
		}
	}
	if p[0] == wire.NumChannelExtendedData {
		m := new(wire.ChannelExtendedData)
		err := wire.Parse(p, m)
		if withheld = all && c.agents.have(out, m.RecipientChannel); withheld || !all {
			m.Data = trace.Withheld(len(m.Data))
			return m, withheld, err
		}
	}
	m, err = wire.Decode(phase, bytes.Clone(p))
	if all && err == nil {
		c.agents.note(out, m)
	}
	return m, false, err
}
