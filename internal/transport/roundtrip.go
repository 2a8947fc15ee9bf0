package transport

import (
	"encoding/binary"
	"sync/atomic"
	"time"

	"github.com/adit-ssh/adit/internal/wire"
)

// roundTrip knows the smallest round trip that was seen. All times are ns since the
// connection began.
//
// The messages of the handshake give the first samples, and the peer computes before
// it answers most of them. Who paces bulk needs it exactly: what is too long by a
// millisecond stands in a queue for as long.
type roundTrip struct {
	least   atomic.Int64 // 0: none was seen
	service atomic.Int64 // when SERVICE_REQUEST was sent; 0 when not waiting
	ping    atomic.Int64 // when the last PING was sent; 0: never
}

// pingPause is how long one PING is behind the other at least.
const pingPause = 100 * time.Millisecond

// RTT returns the smallest round trip seen so far, 0 while none was.
func (c *Conn) RTT() time.Duration { return time.Duration(c.trip.least.Load()) }

// MeasureRTT asks a peer that announced ping@openssh.com (OpenSSH's PROTOCOL, section
// 1.9) for an answer, but not soon after the last time. Others are not asked: it is
// for who has bulk on its way, not a reason to wake a peer.
func (c *Conn) MeasureRTT() {
	now, last := c.age(), c.trip.ping.Load()
	if last != 0 && now-last < int64(pingPause) || !c.trip.ping.CompareAndSwap(last, now) {
		return
	}
	if _, ok := c.PeerExtension(wire.ExtPing); ok {
		c.QueuePacket((&wire.Ping{Data: binary.BigEndian.AppendUint64(nil, uint64(now))}).Append(nil))
	}
}

// age is how long the connection has been there, in ns, and never 0.
func (c *Conn) age() int64 { return max(1, int64(time.Since(c.in.began))) }

// sampleRTT notes a round trip.
func (c *Conn) sampleRTT(d time.Duration) {
	for {
		old := c.trip.least.Load()
		if old != 0 && old <= int64(d) || c.trip.least.CompareAndSwap(old, max(1, int64(d))) {
			return
		}
	}
}

// observe takes the round trip from SERVICE_REQUEST to SERVICE_ACCEPT, in which
// the server has nothing to compute.
func (c *Conn) observe(p []byte) {
	if p[0] != wire.NumServiceAccept {
		return
	}
	if at := c.trip.service.Swap(0); at != 0 {
		c.sampleRTT(time.Duration(c.age() - at))
	}
}

func (c *Conn) handlePing(p []byte) error {
	var m wire.Ping
	if err := wire.Parse(p, &m); err != nil {
		return protocolError("%w", err)
	}
	return c.QueuePacket((&wire.Pong{Data: m.Data}).Append(nil))
}

// handlePong takes the answer to MeasureRTT. Others nobody asked for.
func (c *Conn) handlePong(p []byte) error {
	var m wire.Pong
	if err := wire.Parse(p, &m); err != nil {
		return protocolError("%w", err)
	}
	if at := c.trip.ping.Load(); at != 0 && len(m.Data) == 8 && binary.BigEndian.Uint64(m.Data) == uint64(at) {
		c.sampleRTT(time.Duration(c.age() - at))
	}
	return nil
}
