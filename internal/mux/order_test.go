package mux_test

import (
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/adit-ssh/adit/internal/mux"
	"github.com/adit-ssh/adit/internal/packet"
	"github.com/adit-ssh/adit/internal/wire"
)

// crossing is a PacketConn whose peer's CLOSE arrives, and is dealt with, while we
// write a message.
type crossing struct {
	mux.PacketConn // nil: nothing else is called

	during  byte          // the message's number
	opening chan struct{} // closed when CHANNEL_OPEN was sent
	writing chan struct{} // closed when it is being written
	closed  chan struct{} // closed when CLOSE was dealt with
	end     chan struct{}
	reads   int

	mu   sync.Mutex
	sent []byte // numbers; guarded by mu
}

func (c *crossing) ReadPacket() ([]byte, error) {
	c.reads++
	switch c.reads {
	case 1:
		<-c.opening
		return (&wire.ChannelOpenConfirmation{InitialWindow: 1 << 20, MaxPacket: 1 << 15}).Append(nil), nil
	case 2:
		<-c.writing
		return (&wire.ChannelClose{}).Append(nil), nil
	}
	close(c.closed)
	<-c.end
	return nil, io.EOF
}

func (c *crossing) WritePacket(p []byte, _ <-chan struct{}) error {
	if p[0] == c.during {
		close(c.writing)
		<-c.closed
	}
	err := c.QueuePacket(p)
	if p[0] == wire.NumChannelOpen {
		close(c.opening)
	}
	return err
}

func (c *crossing) QueuePacket(p []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent = append(c.sent, p[0])
	return nil
}

func (c *crossing) ReadBuffered() ([]byte, error) { return nil, nil }
func (c *crossing) NewBatch(n int) *packet.Batch  { return packet.New(n, n+64) }
func (c *crossing) MeasureRTT()                   {}
func (c *crossing) RTT() time.Duration            { return 0 }
func (c *crossing) Close() error                  { return nil }

// What is being written when the peer closes the channel goes out before our CLOSE:
// behind it, it would end the connection.
func TestCloseDoesNotOvertake(t *testing.T) {
	for _, tt := range []struct {
		name  string
		num   byte
		write func(*mux.Channel)
	}{
		{"EOF", wire.NumChannelEOF, func(c *mux.Channel) { c.CloseWrite() }},
		{"a request", wire.NumChannelRequest, func(c *mux.Channel) { c.SendRequest(t.Context(), wire.RequestWindow, false, nil) }},
	} {
		pc := &crossing{during: tt.num, opening: make(chan struct{}), writing: make(chan struct{}), closed: make(chan struct{}), end: make(chan struct{})}
		m := mux.New(pc, mux.Config{})
		ch, err := m.Open(t.Context(), wire.ChannelSession, nil, mux.Options{})
		if err != nil {
			t.Fatal(err)
		}
		tt.write(ch)
		if want := []byte{wire.NumChannelOpen, tt.num, wire.NumChannelClose}; !slices.Equal(pc.sent, want) {
			t.Errorf("%s: sent messages %d, want %d", tt.name, pc.sent, want)
		}
		close(pc.end)
		m.Close()
	}
}
