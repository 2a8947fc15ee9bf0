package mux_test

import (
	"errors"
	"io"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/adit-ssh/adit/internal/mux"
	"github.com/adit-ssh/adit/internal/wire"
)

// TestPeerAnswersWrong: the answers to our own open.
func TestPeerAnswersWrong(t *testing.T) {
	yes := &wire.ChannelOpenConfirmation{SenderChannel: 7, InitialWindow: 1000, MaxPacket: 1000}
	no := &wire.ChannelOpenFailure{Reason: wire.OpenConnectFailed}
	for name, c := range map[string]struct {
		msgs []wire.Msg
		want string // in the reason of our DISCONNECT
		open bool   // Open succeeds
	}{
		"data before it":               {[]wire.Msg{&wire.ChannelData{Data: []byte{1}}}, "not open yet", false},
		"stderr before it":             {[]wire.Msg{&wire.ChannelExtendedData{DataType: 1, Data: []byte{1}}}, "not open yet", false},
		"an adjust before it":          {[]wire.Msg{&wire.ChannelWindowAdjust{Bytes: 1}}, "not open yet", false},
		"EOF before it":                {[]wire.Msg{&wire.ChannelEOF{}}, "not open yet", false},
		"CLOSE before it":              {[]wire.Msg{&wire.ChannelClose{}}, "not open yet", false},
		"a request before it":          {[]wire.Msg{&wire.ChannelRequest{Type: "x"}}, "not open yet", false},
		"for another channel":          {[]wire.Msg{&wire.ChannelOpenConfirmation{RecipientChannel: 1, MaxPacket: 1}}, "not open", false},
		"confirmed twice":              {[]wire.Msg{yes, yes}, "does not wait", true},
		"confirmed, then refused":      {[]wire.Msg{yes, no}, "does not wait", true},
		"refused, then confirmed":      {[]wire.Msg{no, yes}, "not open", false},
		"refused twice":                {[]wire.Msg{no, no}, "not open", false},
		"confirmed, then window of 4G": {[]wire.Msg{yes, &wire.ChannelWindowAdjust{Bytes: 1<<32 - 1000}}, "whose window is 1000", true},
	} {
		t.Run(name, func(t *testing.T) {
			m, peer := hand(t, mux.Config{})
			var wg sync.WaitGroup
			var err error
			wg.Go(func() { _, err = m.Open(t.Context(), "x", nil, mux.Options{}) })
			want(t, "the channel is asked for", peer, new(wire.ChannelOpen))
			send(t, peer, c.msgs...)
			wantEnd(t, peer, wire.DisconnectProtocolError, c.want)
			wg.Wait()
			if (err == nil) != c.open {
				t.Errorf("Open returned %v, want success %v", err, c.open)
			}
		})
	}
}

// TestPeerIgnored: what does no harm goes by without an answer.
func TestPeerIgnored(t *testing.T) {
	channels := make(chan *mux.Channel, 1)
	_, peer := hand(t, acceptAll(channels))
	send(t, peer, &wire.ChannelOpen{Type: "x", SenderChannel: 5, InitialWindow: 1<<32 - 1, MaxPacket: 1<<32 - 1})
	id := want(t, "the largest window is taken", peer, new(wire.ChannelOpenConfirmation)).SenderChannel
	c := <-channels
	send(t, peer,
		&wire.ChannelWindowAdjust{RecipientChannel: id}, // by 0
		&wire.ChannelData{RecipientChannel: id},         // of 0 bytes
		&wire.ChannelExtendedData{RecipientChannel: id, DataType: 77, Data: []byte("?")},
		&wire.ChannelData{RecipientChannel: id, Data: []byte("x")},
		&wire.ChannelEOF{RecipientChannel: id}, &wire.ChannelEOF{RecipientChannel: id})
	if got, err := io.ReadAll(c); err != nil || string(got) != "x" {
		t.Errorf("got %q, %v, want the data up to EOF", got, err)
	}
	c.Close()
	want(t, "our CLOSE is the next that is said", peer, new(wire.ChannelClose))
	send(t, peer,
		&wire.ChannelClose{RecipientChannel: id},
		&wire.ChannelWindowAdjust{RecipientChannel: id, Bytes: 1}, // too late
		&wire.GlobalRequest{Type: "?", WantReply: true})
	want(t, "the connection lives", peer, new(wire.RequestFailure))
}

// TestTinyWindows: windows and packets of a byte, both ways, and none at all.
func TestTinyWindows(t *testing.T) {
	channels := make(chan *mux.Channel, 1)
	cfg := acceptAll(channels)
	cfg.Window, cfg.MaxPacket = 1, 1
	_, peer := hand(t, cfg)
	send(t, peer, &wire.ChannelOpen{Type: "x", SenderChannel: 5, InitialWindow: 0, MaxPacket: 1})
	if m := want(t, "the open is confirmed", peer, new(wire.ChannelOpenConfirmation)); m.InitialWindow != 1 || m.MaxPacket != 1 {
		t.Errorf("announced window %d, packet %d, want 1, 1", m.InitialWindow, m.MaxPacket)
	}
	c := <-channels
	c.SetWriteDeadline(time.Now().Add(-time.Second))
	if n, err := c.Write([]byte("abc")); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("write without a window: got %d, %v, want a deadline that passed", n, err)
	}
	c.SetWriteDeadline(time.Time{})
	var wg sync.WaitGroup
	wg.Go(func() {
		if n, err := c.Write([]byte("abc")); n != 3 || err != nil {
			t.Errorf("write by single bytes: got %d, %v, want 3", n, err)
		}
	})
	for _, part := range []string{"a", "b", "c"} {
		send(t, peer, &wire.ChannelWindowAdjust{Bytes: 1})
		if m := want(t, "a byte of window lets a byte out", peer, new(wire.ChannelData)); string(m.Data) != part {
			t.Errorf("got %q, want %q", m.Data, part)
		}
	}
	wg.Wait()
	for _, part := range []string{"d", "e"} {
		send(t, peer, &wire.ChannelData{Data: []byte(part)})
		var b [2]byte
		if n, err := c.Read(b[:]); string(b[:n]) != part || err != nil {
			t.Errorf("got %q, %v, want %q", b[:n], err, part)
		}
		if m := want(t, "a byte that was read returns its window", peer, new(wire.ChannelWindowAdjust)); m.Bytes != 1 {
			t.Errorf("got an adjust of %d, want 1", m.Bytes)
		}
	}
	send(t, peer, &wire.ChannelData{Data: []byte("f")}, &wire.ChannelData{Data: []byte("g")})
	wantEnd(t, peer, wire.DisconnectProtocolError, "window has 0 left")
}
