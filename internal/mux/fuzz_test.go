package mux_test

import (
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/adit-ssh/adit/internal/mux"
	"github.com/adit-ssh/adit/internal/packet"
	"github.com/adit-ssh/adit/internal/wire"
)

// script is a PacketConn whose peer sends fixed packets and then ends.
type script struct {
	in      [][]byte
	full    bool // no answer finds room any more
	aborted atomic.Bool
}

func (s *script) QueuePacket([]byte) error {
	if s.full {
		return errors.New("full")
	}
	return nil
}

func (s *script) Abort(uint32, string) error {
	s.aborted.Store(true)
	return io.ErrUnexpectedEOF
}

func (s *script) ReadPacket() ([]byte, error) {
	if len(s.in) == 0 {
		return nil, io.EOF
	}
	p := s.in[0]
	s.in = s.in[1:]
	return p, nil
}

func (s *script) Buffered() bool                                      { return len(s.in) > 0 }
func (s *script) WritePacket([]byte, <-chan struct{}) error           { return nil }
func (s *script) NewBatch(n int) *packet.Batch                        { return packet.New(n, n+64) }
func (s *script) WriteBatch(b *packet.Batch, _ <-chan struct{}) error { b.Release(); return nil }
func (s *script) Contended() bool                                     { return false }
func (s *script) RTT() time.Duration                                  { return 0 }
func (s *script) Unimplemented() error                                { return nil }
func (s *script) Close() error                                        { return nil }

// FuzzPeer feeds arbitrary packets to a Mux that accepts everything: it must end
// without a panic and without a goroutine that waits for ever.
func FuzzPeer(f *testing.F) {
	pack := func(msgs ...wire.Msg) (b []byte) {
		for _, m := range msgs {
			p := m.Append(nil)
			b = append(append(b, byte(len(p))), p...)
		}
		return b
	}
	open := &wire.ChannelOpen{Type: "x", SenderChannel: 1, InitialWindow: 100, MaxPacket: 100}
	f.Add(pack(open, &wire.ChannelData{Data: []byte("abc")}, &wire.ChannelEOF{}, &wire.ChannelClose{}))
	f.Add(pack(open, open, &wire.ChannelExtendedData{DataType: 1, Data: []byte("e")}, &wire.ChannelRequest{Type: "exec", WantReply: true}))
	f.Add(pack(&wire.GlobalRequest{Type: "x", WantReply: true}, &wire.RequestSuccess{}, &wire.ChannelWindowAdjust{Bytes: 1}))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := new(script)
		for len(b) > 0 {
			n := min(int(b[0]), len(b)-1)
			if n > 0 {
				s.in = append(s.in, b[1:1+n:1+n])
			}
			b = b[1+n:]
		}
		m := mux.New(s, mux.Config{
			Open: func(p *mux.Pending) {
				c, err := p.Accept(mux.Options{Requests: true, Stderr: true})
				if err != nil {
					return
				}
				io.Copy(io.Discard, c)
				c.Close()
			},
			Global: func(string, []byte) (bool, []byte) { return false, nil },
		})
		<-m.Done()
		m.Close()
	})
}
