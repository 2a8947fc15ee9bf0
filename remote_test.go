package adit_test

import (
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/internal/forward"
	"github.com/adit-ssh/adit/internal/mux"
	"github.com/adit-ssh/adit/internal/testnet"
	"github.com/adit-ssh/adit/internal/testpeer"
	"github.com/adit-ssh/adit/internal/wire"
)

// forwardedTCPIP is an open for a connection to host:port.
func forwardedTCPIP(sender uint32, host string, port uint32) *wire.ChannelOpen {
	d := wire.ForwardedTCPIP{Addr: host, Port: port, OriginatorAddr: "192.0.2.7", OriginatorPort: 4711}
	return &wire.ChannelOpen{Type: wire.ChannelForwardedTCPIP, SenderChannel: sender, InitialWindow: 1 << 20, MaxPacket: 1 << 15, Data: d.Append(nil)}
}

func forwardedPath(sender uint32, path string) *wire.ChannelOpen {
	return &wire.ChannelOpen{Type: wire.ChannelForwardedStreamlocal, SenderChannel: sender, InitialWindow: 1 << 20, MaxPacket: 1 << 15,
		Data: (&wire.ForwardedStreamlocal{Path: path}).Append(nil)}
}

// A server may open what we asked it to listen for, and nothing else.
func TestUnsolicitedChannels(t *testing.T) {
	c, server := scripted(t)
	got := listen(t.Context(), c, "tcp", "localhost:8080")
	want(t, "it asks", server, new(wire.GlobalRequest))
	send(t, server, forwardedTCPIP(1, "localhost", 8080)) // too early: it has not agreed
	want(t, "that is refused", server, new(wire.ChannelOpenFailure))
	send(t, server, &wire.RequestSuccess{})
	r := <-got
	if r.err != nil {
		t.Fatal(r.err)
	}
	data := func(m *wire.ChannelOpen, d []byte) *wire.ChannelOpen { m.Data = d; return m }
	typ := func(m *wire.ChannelOpen, s string) *wire.ChannelOpen { m.Type = s; return m }
	whole := forwardedTCPIP(0, "localhost", 8080).Data
	for name, tt := range map[string]struct {
		open   *wire.ChannelOpen
		reason uint32
	}{
		"another port":           {forwardedTCPIP(1, "localhost", 8081), 1},
		"another host":           {forwardedTCPIP(1, "127.0.0.1", 8080), 1},
		"all interfaces":         {forwardedTCPIP(1, "", 8080), 1},
		"other case":             {forwardedTCPIP(1, "LOCALHOST", 8080), 1},
		"port 0":                 {forwardedTCPIP(1, "localhost", 0), 2},
		"a port of 17 bits":      {forwardedTCPIP(1, "localhost", 1<<16|8080), 2},
		"a path":                 {forwardedPath(1, "localhost"), 1},
		"an empty path":          {forwardedPath(1, ""), 2},
		"nothing":                {data(forwardedTCPIP(1, "", 1), nil), 2},
		"a string of 4 GiB":      {data(forwardedTCPIP(1, "", 1), []byte("\xff\xff\xff\xfflocalhost")), 2},
		"cut short":              {data(forwardedTCPIP(1, "", 1), whole[:len(whole)-1]), 2},
		"more behind it":         {data(forwardedTCPIP(1, "", 1), append(whole[:len(whole):len(whole)], 0)), 2},
		"a session":              {typ(forwardedTCPIP(1, "localhost", 8080), "session"), 1},
		"x11":                    {typ(forwardedTCPIP(1, "localhost", 8080), "x11"), 1},
		"direct-tcpip":           {typ(forwardedTCPIP(1, "localhost", 8080), wire.ChannelDirectTCPIP), 1},
		"an agent":               {typ(forwardedTCPIP(1, "localhost", 8080), "auth-agent@openssh.com"), 1},
		"packets of 0 bytes":     {&wire.ChannelOpen{Type: wire.ChannelForwardedTCPIP, Data: whole}, 2},
		"a type of control text": {typ(forwardedTCPIP(1, "localhost", 8080), "\x1b[2J"), 1},
	} {
		send(t, server, tt.open)
		if m := want(t, name, server, new(wire.ChannelOpenFailure)); m.Reason != tt.reason {
			t.Errorf("%s: refused with %d %q, want %d", name, m.Reason, m.Description, tt.reason)
		}
	}
	// And what was asked for still comes through.
	send(t, server, forwardedTCPIP(9, "localhost", 8080))
	if nc, err := r.l.Accept(); err != nil {
		t.Error(err)
	} else {
		want(t, "it is accepted", server, new(wire.ChannelOpenConfirmation))
		nc.Close()
	}
}

// An originator that is no address is shown, but can do no harm to a terminal.
func TestOriginatorText(t *testing.T) {
	c, server := scripted(t)
	got := listen(t.Context(), c, "tcp", "localhost:8080")
	want(t, "it asks", server, new(wire.GlobalRequest))
	d := wire.ForwardedTCPIP{Addr: "localhost", Port: 8080, OriginatorAddr: "\x1b[2J" + strings.Repeat("x", 1000), OriginatorPort: 1 << 31}
	m := forwardedTCPIP(1, "", 1)
	m.Data = d.Append(nil)
	send(t, server, &wire.RequestSuccess{}, m)
	nc, err := (<-got).l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if s := nc.RemoteAddr().String(); strings.ContainsRune(s, 0x1b) || len(s) > 400 || !strings.Contains(s, "xxx") {
		t.Errorf("the originator is %q", s)
	}
}

// A server that floods with opens and does not read the answers is cut off.
func TestFloodUnread(t *testing.T) {
	c, server := scripted(t)
	var err error
	for i := 0; err == nil && i < 1<<22; i++ {
		err = server.WritePacket(forwardedTCPIP(uint32(i), "localhost", 8080).Append(nil), nil)
	}
	<-c.Done()
	if err == nil {
		t.Error("it goes on for ever")
	}
	if e, ok := errors.AsType[*adit.DisconnectError](c.Err()); ok && e.ByPeer {
		t.Errorf("ended by %v, want us to end it", c.Err())
	}
}

// Many short connections, both ways, leave no channel, descriptor or goroutine.
func TestForwardChurn(t *testing.T) {
	n := 600
	if testing.Short() {
		n = 200
	}
	c, m := scriptedMux(t, mux.Config{Global: listensAt(40000), Open: func(p *mux.Pending) {
		if ch, err := p.Accept(mux.Options{}); err == nil {
			io.Copy(ch, ch)
			ch.CloseWrite()
			ch.Close()
		}
	}})
	local, err := c.Forward(t.Context(), adit.Forward{Listen: "127.0.0.1:0", Target: "echo.internal:7"})
	if err != nil {
		t.Fatal(err)
	}
	defer local.Close()
	remote := forwardSpec(t, c, "0:"+testpeer.EchoTarget(t).Addr, forward.Config{})
	before := testnet.Descriptors(t)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for range n / 20 {
				nc, err := net.Dial("tcp", local.Addr().String())
				if err != nil {
					t.Error(err)
					return
				}
				if err := testpeer.Echo(nc.(*net.TCPConn), 100); err != nil {
					t.Error("-L:", err)
				}
				nc.Close()
				d := wire.ForwardedTCPIP{Addr: "localhost", Port: 40000, OriginatorAddr: "::1", OriginatorPort: 1}
				ch, err := m.Open(t.Context(), wire.ChannelForwardedTCPIP, d.Append(nil), mux.Options{})
				if err != nil {
					t.Error(err)
					return
				}
				if err := testpeer.Echo(ch, 100); err != nil {
					t.Error("-R:", err)
				}
				ch.Close()
			}
		})
	}
	wg.Wait()
	for end := time.Now().Add(10 * time.Second); local.Conns()+remote.Conns()+m.Channels() > 0 || testnet.Descriptors(t) > before; runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("%d and %d connections, %d channels, %d descriptors are left, %d before", local.Conns(), remote.Conns(), m.Channels(), testnet.Descriptors(t), before)
		}
	}
}
