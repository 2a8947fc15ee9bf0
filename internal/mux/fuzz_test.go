package mux_test

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/adit-ssh/adit/internal/mux"
	"github.com/adit-ssh/adit/internal/packet"
	"github.com/adit-ssh/adit/internal/wire"
)

// script is a PacketConn whose peer sends fixed packets and then ends.
type script struct {
	in      [][]byte
	last    []byte // what ReadPacket returned
	pace    func() // called before each packet, if not nil
	full    bool   // no answer finds room any more
	aborted atomic.Bool
	data    atomic.Uint64 // bytes of channel data written
}

func (s *script) ReadPacket() ([]byte, error) {
	if s.pace != nil {
		s.pace()
	}
	for i := range s.last {
		s.last[i] = 0xdd // whoever kept it finds out
	}
	s.last = nil
	if len(s.in) == 0 {
		return nil, io.EOF
	}
	p := s.in[0]
	s.in = s.in[1:]
	s.last = p
	return p, nil
}

func (s *script) WritePacket(p []byte, _ <-chan struct{}) error {
	if _, data, ok := wire.ParseChannelData(p); ok {
		s.data.Add(uint64(len(data)))
	}
	return nil
}

func (s *script) QueuePacket([]byte) error {
	if s.full {
		return errors.New("full")
	}
	return nil
}

func (s *script) WriteBatch(b *packet.Batch, _ <-chan struct{}) error {
	s.data.Add(uint64(b.Bytes()))
	b.Release()
	return nil
}

func (s *script) Abort(uint32, string) error {
	s.aborted.Store(true)
	return io.ErrUnexpectedEOF
}

func (s *script) ReadBuffered() ([]byte, error) { return nil, nil }
func (s *script) NewBatch(n int) *packet.Batch  { return packet.New(n, n+64) }
func (s *script) Contended() bool               { return false }
func (s *script) Hurry()                        {}
func (s *script) MeasureRTT()                   {}
func (s *script) RTT() time.Duration            { return 0 }
func (s *script) Unimplemented() error          { return nil }
func (s *script) Close() error                  { return nil }

// pack puts messages one behind the other, each with its length in one byte.
func pack(msgs ...wire.Msg) (b []byte) {
	for _, m := range msgs {
		p := m.Append(nil)
		b = append(append(b, byte(len(p))), p...)
	}
	return b
}

func unpack(b []byte) (packets [][]byte) {
	for len(b) > 0 {
		n := min(int(b[0]), len(b)-1)
		if n > 0 {
			packets = append(packets, bytes.Clone(b[1:1+n]))
		}
		b = b[1+n:]
	}
	return packets
}

// granted returns how much data the packets allow us to send, at most.
func granted(packets [][]byte) (n uint64) {
	for _, p := range packets {
		switch m, _ := wire.Decode(wire.PhaseAny, p); m := m.(type) {
		case *wire.ChannelOpen:
			n += uint64(m.InitialWindow)
		case *wire.ChannelOpenConfirmation:
			n += uint64(m.InitialWindow)
		case *wire.ChannelWindowAdjust:
			n += uint64(m.Bytes)
		}
	}
	return n
}

// FuzzPeer feeds arbitrary packets to a Mux that accepts every channel, echoes
// what comes, and has opened three channels and asked something itself. It must
// end without a panic and without a goroutine that is left, and send no more
// than the peer's windows allow.
func FuzzPeer(f *testing.F) {
	open := &wire.ChannelOpen{Type: "x", SenderChannel: 1, InitialWindow: 100, MaxPacket: 100}
	yes := func(id, window, max uint32) wire.Msg {
		return &wire.ChannelOpenConfirmation{RecipientChannel: id, SenderChannel: id, InitialWindow: window, MaxPacket: max}
	}
	f.Add(true, pack(open, &wire.ChannelData{RecipientChannel: 3, Data: []byte("abc")}, &wire.ChannelEOF{RecipientChannel: 3}, &wire.ChannelClose{RecipientChannel: 3}))
	f.Add(true, pack(open, open, &wire.ChannelExtendedData{RecipientChannel: 3, DataType: 1, Data: []byte("e")}, &wire.ChannelRequest{RecipientChannel: 4, Type: "exec", WantReply: true}))
	f.Add(false, pack(&wire.GlobalRequest{Type: "x", WantReply: true}, &wire.RequestSuccess{}, &wire.ChannelWindowAdjust{Bytes: 1}))
	f.Add(false, pack(yes(0, 3, 1), yes(1, 0, 1<<31), &wire.ChannelOpenFailure{RecipientChannel: 2, Reason: 1}, &wire.ChannelWindowAdjust{RecipientChannel: 1, Bytes: 1<<32 - 1},
		&wire.ChannelSuccess{}, &wire.ChannelFailure{RecipientChannel: 1}, &wire.ChannelData{Data: []byte("x")}, &wire.ChannelClose{}, &wire.ChannelClose{RecipientChannel: 1}))
	f.Add(true, pack(yes(0, 1, 0), yes(0, 1, 1), &wire.UserauthRequest{User: "u"}, &wire.RequestFailure{}))
	f.Fuzz(func(t *testing.T, server bool, b []byte) {
		synctest.Test(t, func(t *testing.T) {
			packets := unpack(b)
			may := granted(packets)
			s := &script{in: packets, pace: synctest.Wait}
			m := mux.New(s, mux.Config{
				Server: server, Window: 1000, WindowMax: 10000, MaxChannels: 20,
				Open: func(p *mux.Pending) {
					if c, err := p.Accept(mux.Options{Requests: true, Stderr: true}); err == nil {
						use(c)
					}
				},
				Global: func(string, []byte) (bool, []byte) { return false, nil },
			})
			var wg sync.WaitGroup
			for i := range 3 {
				wg.Go(func() {
					if c, err := m.Open(t.Context(), "x", nil, mux.Options{Requests: i == 0, Stderr: i == 0}); err == nil {
						wg.Go(func() { c.SendRequest(t.Context(), "r", true, nil) })
						use(c)
					}
				})
			}
			wg.Go(func() { m.Request(t.Context(), "x", true, nil) })
			<-m.Done()
			m.Close()
			wg.Wait()
			if sent := s.data.Load(); sent > may {
				t.Errorf("sent %d bytes, the windows allow %d", sent, may)
			}
		})
	})
}

// use answers requests, says something, echoes all that comes, and closes.
func use(c *mux.Channel) {
	defer c.Close()
	if reqs := c.Requests(); reqs != nil {
		go func() { // ends with the channel
			for r := range reqs {
				r.Reply(true)
			}
		}()
		go io.Copy(io.Discard, c.Stderr()) // as well
	}
	if _, err := io.WriteString(c, "hello"); err != nil {
		return
	}
	io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c})
	c.CloseWrite()
}
