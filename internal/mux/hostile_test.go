package mux_test

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/adit-ssh/adit/internal/mux"
	"github.com/adit-ssh/adit/internal/transport"
	"github.com/adit-ssh/adit/internal/wire"
)

// hand returns a Mux, and a transport to drive its peer by hand.
func hand(t testing.TB, cfg mux.Config) (m *mux.Mux, peer *transport.Conn) {
	t.Helper()
	tc, peer := transports(t)
	m = mux.New(tc, cfg)
	t.Cleanup(func() { m.Close(); peer.Close() })
	return m, peer
}

func send(t testing.TB, peer *transport.Conn, msgs ...wire.Msg) {
	t.Helper()
	for _, m := range msgs {
		if err := peer.WritePacket(m.Append(nil), nil); err != nil {
			t.Fatal(err)
		}
	}
}

// want reads the next message and checks its type.
func want[M wire.Msg](t testing.TB, why string, peer *transport.Conn, m M) M {
	t.Helper()
	p, err := peer.ReadPacket()
	if err != nil {
		t.Fatalf("%s: %v", why, err)
	}
	if err := wire.Parse(p, m); err != nil {
		t.Fatalf("%s: %v", why, err)
	}
	return m
}

// wantEnd reads up to our DISCONNECT and checks it.
func wantEnd(t testing.TB, peer *transport.Conn, reason uint32, text string) {
	t.Helper()
	for {
		if _, err := peer.ReadPacket(); err != nil {
			d, ok := errors.AsType[*transport.DisconnectError](err)
			if !ok || !d.ByPeer || d.Reason != reason || !strings.Contains(d.Text, text) {
				t.Errorf("got %v, want DISCONNECT %d with %q", err, reason, text)
			}
			return
		}
	}
}

// acceptAll is a Config that takes every channel and leaves it alone.
func acceptAll(channels chan *mux.Channel) mux.Config {
	return mux.Config{Window: 1000, WindowMax: 1, Open: func(p *mux.Pending) {
		if c, err := p.Accept(mux.Options{}); err == nil {
			channels <- c
		}
	}}
}

func TestPeerBreaksRules(t *testing.T) {
	open := &wire.ChannelOpen{Type: "x", SenderChannel: 42, InitialWindow: 1000, MaxPacket: 1000}
	for name, c := range map[string]struct {
		msgs []wire.Msg // after the channel 0 is open
		want string
	}{
		"data beyond the window":        {[]wire.Msg{&wire.ChannelData{Data: make([]byte, 1001)}}, "window"},
		"data beyond the window, later": {[]wire.Msg{&wire.ChannelData{Data: make([]byte, 900)}, &wire.ChannelData{Data: make([]byte, 900)}}, "window"},
		"stderr beyond the window":      {[]wire.Msg{&wire.ChannelExtendedData{DataType: 1, Data: make([]byte, 1001)}}, "window"},
		"data after EOF":                {[]wire.Msg{&wire.ChannelEOF{}, &wire.ChannelData{Data: []byte{1}}}, "after EOF"},
		"unknown channel":               {[]wire.Msg{&wire.ChannelData{RecipientChannel: 7, Data: []byte{1}}}, "not open"},
		"absurd channel":                {[]wire.Msg{&wire.ChannelEOF{RecipientChannel: 1<<32 - 1}}, "not open"},
		"window overflow":               {[]wire.Msg{&wire.ChannelWindowAdjust{Bytes: 1<<32 - 1}}, "CHANNEL_WINDOW_ADJUST"},
		"confirmation for nothing":      {[]wire.Msg{&wire.ChannelOpenConfirmation{}}, "does not wait"},
		"failure for nothing":           {[]wire.Msg{&wire.ChannelOpenFailure{Reason: 1}}, "does not wait"},
		"window overflow, in steps":     {[]wire.Msg{&wire.ChannelWindowAdjust{Bytes: 1<<32 - 1001}, &wire.ChannelWindowAdjust{Bytes: 1}}, "CHANNEL_WINDOW_ADJUST of 1"},
		"CLOSE twice":                   {[]wire.Msg{&wire.ChannelClose{}, &wire.ChannelClose{}}, "CHANNEL_CLOSE for channel 0, which is not open"},
		"data after CLOSE":              {[]wire.Msg{&wire.ChannelClose{}, &wire.ChannelData{Data: []byte{1}}}, "CHANNEL_DATA for channel 0, which is not open"},
		"EOF after CLOSE":               {[]wire.Msg{&wire.ChannelClose{}, &wire.ChannelEOF{}}, "not open"},
		"request after CLOSE":           {[]wire.Msg{&wire.ChannelClose{}, &wire.ChannelRequest{Type: "x", WantReply: true}}, "not open"},
		"stderr after EOF":              {[]wire.Msg{&wire.ChannelEOF{}, &wire.ChannelExtendedData{DataType: 1, Data: []byte{1}}}, "after EOF"},
		"userauth again":                {[]wire.Msg{&wire.UserauthRequest{User: "u"}}, "after authentication"},
	} {
		t.Run(name, func(t *testing.T) {
			channels := make(chan *mux.Channel, 1)
			m, peer := hand(t, acceptAll(channels))
			send(t, peer, open)
			want(t, "the open is confirmed", peer, new(wire.ChannelOpenConfirmation))
			send(t, peer, c.msgs...)
			wantEnd(t, peer, wire.DisconnectProtocolError, c.want)
			<-m.Done()
			if _, err := (<-channels).Read(make([]byte, 2000)); err == nil && !strings.Contains(name, "later") && !strings.Contains(name, "after EOF") {
				t.Error("the channel survives its connection")
			}
		})
	}
}

func TestPeerMalformed(t *testing.T) {
	for _, c := range []struct {
		packet []byte
		want   string
	}{
		{[]byte{wire.NumChannelOpen, 0, 0, 0, 1}, "CHANNEL_OPEN"},
		{[]byte{wire.NumChannelEOF}, "CHANNEL_EOF"},
		{[]byte{wire.NumChannelClose, 0, 0, 0, 0, 0}, "CHANNEL_CLOSE"},
		{[]byte{wire.NumChannelData, 0, 0, 0, 0, 0, 0, 0, 2, 1}, "malformed CHANNEL_DATA"},
		{[]byte{wire.NumChannelData, 0, 0, 0, 0, 0, 0, 0, 0, 1}, "malformed CHANNEL_DATA"},
		{[]byte{wire.NumChannelData, 0, 0, 0, 0, 255, 255, 255, 255, 1}, "malformed CHANNEL_DATA"},
		{[]byte{wire.NumChannelWindowAdjust, 0, 0, 0, 0, 1}, "malformed CHANNEL_WINDOW_ADJUST"},
		{[]byte{wire.NumGlobalRequest}, "GLOBAL_REQUEST"},
		{[]byte{wire.NumServiceRequest, 0, 0, 0, 1, 'x'}, "after authentication"},
	} {
		_, peer := hand(t, mux.Config{})
		if err := peer.WritePacket(c.packet, nil); err != nil {
			t.Fatal(err)
		}
		wantEnd(t, peer, wire.DisconnectProtocolError, c.want)
	}
}

func TestPeerOddities(t *testing.T) {
	channels := make(chan *mux.Channel, 1)
	_, peer := hand(t, acceptAll(channels))
	send(t, peer,
		&wire.RequestSuccess{}, &wire.RequestFailure{}, // nobody asked
		&wire.ChannelWindowAdjust{RecipientChannel: 99, Bytes: 1}, // too late
		&wire.ChannelOpen{Type: "x", SenderChannel: 1, InitialWindow: 10, MaxPacket: 0})
	if m := want(t, "packets of 0 bytes are refused", peer, new(wire.ChannelOpenFailure)); m.RecipientChannel != 1 {
		t.Errorf("refusal is for channel %d", m.RecipientChannel)
	}
	if err := peer.WritePacket([]byte{127, 1, 2}, nil); err != nil {
		t.Fatal(err)
	}
	// UNIMPLEMENTED is the transport's: it is seen by what comes after it only.
	send(t, peer, &wire.GlobalRequest{Type: "?", WantReply: true})
	want(t, "unknown global requests are refused", peer, new(wire.RequestFailure))

	send(t, peer, &wire.ChannelOpen{Type: "x", SenderChannel: 5, InitialWindow: 3, MaxPacket: 2})
	id := want(t, "the open is confirmed", peer, new(wire.ChannelOpenConfirmation)).SenderChannel
	c := <-channels
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := c.Write([]byte("abcdef")); err != nil {
			t.Error(err)
		}
		c.CloseWrite()
	})
	for _, part := range []string{"ab", "c"} {
		if m := want(t, "packets keep to the peer's size and window", peer, new(wire.ChannelData)); string(m.Data) != part {
			t.Errorf("got %q, want %q", m.Data, part)
		}
	}
	send(t, peer, &wire.ChannelWindowAdjust{RecipientChannel: id, Bytes: 100})
	for _, part := range []string{"de", "f"} {
		if m := want(t, "an adjust lets the rest out", peer, new(wire.ChannelData)); string(m.Data) != part {
			t.Errorf("got %q, want %q", m.Data, part)
		}
	}
	want(t, "EOF follows the data", peer, new(wire.ChannelEOF))
	wg.Wait()
	send(t, peer, &wire.ChannelRequest{RecipientChannel: id, Type: "pty-req", WantReply: true})
	want(t, "requests are refused where nobody takes them", peer, new(wire.ChannelFailure))
	send(t, peer, &wire.ChannelSuccess{RecipientChannel: id}) // nobody asked
	send(t, peer, &wire.ChannelClose{RecipientChannel: id})
	want(t, "CLOSE is answered", peer, new(wire.ChannelClose))
	<-c.Closed()
}

// TestLateLogin: requests that were on their way when the client was let in are
// ignored by the server, and nothing else of authentication is.
func TestLateLogin(t *testing.T) {
	_, peer := hand(t, mux.Config{Server: true})
	login := &wire.UserauthRequest{User: "u", Service: wire.ServiceConnection, Method: wire.MethodNone}
	send(t, peer, login, login, &wire.GlobalRequest{Type: "?", WantReply: true})
	want(t, "the requests got no answer", peer, new(wire.RequestFailure))
	send(t, peer, &wire.UserauthSuccess{})
	wantEnd(t, peer, wire.DisconnectProtocolError, "after authentication")
}

// TestAnswersOverflow: a peer that asks and does not read the answers loses its
// connection.
func TestAnswersOverflow(t *testing.T) {
	s := &script{full: true, in: [][]byte{(&wire.GlobalRequest{Type: "x", WantReply: true}).Append(nil)}}
	m := mux.New(s, mux.Config{})
	<-m.Done()
	if !s.aborted.Load() {
		t.Errorf("the connection stays, with %v", m.Err())
	}
	m.Close()
}

// TestGlobalRequestFlood: requests wait for a slow handler, but not many.
func TestGlobalRequestFlood(t *testing.T) {
	release := make(chan struct{})
	_, peer := hand(t, mux.Config{Global: func(string, []byte) (bool, []byte) { <-release; return true, nil }})
	defer close(release)
	for range 100 {
		send(t, peer, &wire.GlobalRequest{Type: "x", WantReply: true})
	}
	wantEnd(t, peer, wire.DisconnectProtocolError, "global requests wait")
}

func TestTooManyPending(t *testing.T) {
	release := make(chan struct{})
	cfg := mux.Config{MaxPending: 2, Open: func(p *mux.Pending) {
		<-release
		p.Reject(wire.OpenConnectFailed, "late")
	}}
	_, peer := hand(t, cfg)
	for i := range uint32(3) {
		send(t, peer, &wire.ChannelOpen{Type: "x", SenderChannel: i, InitialWindow: 1, MaxPacket: 1})
	}
	m := want(t, "the third is refused at once", peer, new(wire.ChannelOpenFailure))
	if m.RecipientChannel != 2 || m.Reason != wire.OpenResourceShortage {
		t.Errorf("got %+v", m)
	}
	close(release)
	for range 2 {
		want(t, "the others get their answer", peer, new(wire.ChannelOpenFailure))
	}
}

func TestTooManyChannels(t *testing.T) {
	channels := make(chan *mux.Channel, 2)
	cfg := acceptAll(channels)
	cfg.MaxChannels = 1
	m, peer := hand(t, cfg)
	send(t, peer, &wire.ChannelOpen{Type: "x", SenderChannel: 1, InitialWindow: 1, MaxPacket: 1})
	want(t, "the first is confirmed", peer, new(wire.ChannelOpenConfirmation))
	send(t, peer, &wire.ChannelOpen{Type: "x", SenderChannel: 2, InitialWindow: 1, MaxPacket: 1})
	if f := want(t, "the second is refused", peer, new(wire.ChannelOpenFailure)); f.Reason != wire.OpenResourceShortage {
		t.Errorf("got %+v", f)
	}
	if n := m.Channels(); n != 1 {
		t.Errorf("%d channels in the table", n)
	}
}
