package adit_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync"
	"testing"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/agent"
	"github.com/adit-ssh/adit/internal/mux"
	"github.com/adit-ssh/adit/internal/testnet"
	"github.com/adit-ssh/adit/internal/testpeer"
	"github.com/adit-ssh/adit/internal/wire"
)

// agentOpen is an open of a channel to the agent.
func agentOpen(sender uint32, typ string) *wire.ChannelOpen {
	return &wire.ChannelOpen{Type: typ, SenderChannel: sender, InitialWindow: 1 << 20, MaxPacket: 1 << 15}
}

// The agent is there once it was asked for, by either name, and not before; every
// channel has a connection of its own, bound to the session.
func TestForwardAgent(t *testing.T) {
	c, server := scripted(t)
	key := testpeer.NewKey(t, "ed25519")
	ring := &agent.Keyring{}
	t.Cleanup(ring.Close)
	if err := ring.Add(agent.AddedKey{PrivateKey: key.Private, Comment: "the key"}); err != nil {
		t.Fatal(err)
	}
	path, ended := testnet.ServeUnix(t, func(nc net.Conn) { (&agent.Server{Agent: ring}).ServeConn(t.Context(), nc) })
	send(t, server, agentOpen(1, "auth-agent@openssh.com"))
	if m := want(t, "nobody asked", server, new(wire.ChannelOpenFailure)); m.Reason != wire.OpenAdministrativelyProhibited {
		t.Errorf("refused with %d", m.Reason)
	}
	f := &agent.Forwarder{Dialer: agent.Socket(path)}
	var dials sync.Map
	dial := f.Dial
	f.Dial = func(ctx context.Context) (net.Conn, error) {
		nc, err := dial(ctx)
		if err != nil {
			return nil, err
		}
		first := &firstWrite{Conn: nc}
		dials.Store(first, nil)
		return first, nil
	}
	session := make(chan error, 1)
	go func() { // ends with the request
		ch, err := c.OpenChannel(t.Context(), wire.ChannelSession, nil, adit.Options{})
		if err == nil {
			err = c.ForwardAgent(t.Context(), ch, f)
		}
		if err == nil {
			err = c.ForwardAgent(t.Context(), ch, f) // the same again
		}
		if err == nil && c.ForwardAgent(t.Context(), ch, &agent.Forwarder{Dialer: agent.Socket(path)}) == nil {
			err = errors.New("two agents are forwarded")
		}
		session <- err
	}()
	open := want(t, "a session", server, new(wire.ChannelOpen))
	send(t, server, &wire.ChannelOpenConfirmation{RecipientChannel: open.SenderChannel, SenderChannel: 9, InitialWindow: 1 << 20, MaxPacket: 1 << 15})
	if m := want(t, "it asks", server, new(wire.ChannelRequest)); m.Type != "auth-agent-req@openssh.com" || m.WantReply {
		t.Errorf("asked %+v", m)
	}
	want(t, "it asks again", server, new(wire.ChannelRequest))
	if err := <-session; err != nil {
		t.Fatal(err)
	}
	for i, typ := range []string{"auth-agent@openssh.com", "agent-connect"} {
		send(t, server, agentOpen(uint32(20+i), typ))
		m := want(t, typ, server, new(wire.ChannelOpenConfirmation))
		send(t, server, &wire.ChannelData{RecipientChannel: m.SenderChannel, Data: []byte{0, 0, 0, 1, 11}})
		d := want(t, "the list", server, new(wire.ChannelData))
		if !bytes.Contains(d.Data, key.Public.Marshal()) {
			t.Errorf("%s: the agent lists %x", typ, d.Data)
		}
		send(t, server, &wire.ChannelEOF{RecipientChannel: m.SenderChannel})
		want(t, "its end", server, new(wire.ChannelEOF))
		want(t, "its close", server, new(wire.ChannelClose))
		send(t, server, &wire.ChannelClose{RecipientChannel: m.SenderChannel})
	}
	s := c.Session()
	if err := s.Verify(); err != nil {
		t.Errorf("the session's proof: %v", err)
	}
	n := 0
	dials.Range(func(k, _ any) bool {
		n++
		first := k.(*firstWrite).first
		if !bytes.Contains(first, []byte("session-bind@openssh.com")) || !bytes.Contains(first, s.HostKey) || !bytes.Contains(first, s.ID) || first[len(first)-1] != 1 {
			t.Errorf("the first message to the agent is %q, want a binding for forwarding", first)
		}
		return true
	})
	if n != 2 {
		t.Errorf("%d connections to the agent for 2 channels", n)
	}
	ended()
	send(t, server, agentOpen(30, "auth-agent@openssh.com"))
	if m := want(t, "the agent has gone", server, new(wire.ChannelOpenFailure)); m.Reason != wire.OpenConnectFailed {
		t.Errorf("refused with %d, want %d", m.Reason, wire.OpenConnectFailed)
	}
}

// firstWrite keeps what is written first.
type firstWrite struct {
	net.Conn
	first []byte
}

func (f *firstWrite) Write(p []byte) (int, error) {
	if f.first == nil {
		f.first = bytes.Clone(p)
	}
	return f.Conn.Write(p)
}

func (f *firstWrite) CloseWrite() error { return f.Conn.(*net.UnixConn).CloseWrite() }

// An agent that does not answer holds up its channel, and nothing else.
func TestForwardAgentSlow(t *testing.T) {
	release := make(chan struct{})
	f := &agent.Forwarder{Dialer: &agent.Dialer{Dial: func(ctx context.Context) (net.Conn, error) {
		select {
		case <-release:
		case <-ctx.Done():
		}
		return nil, errors.New("not today")
	}}}
	c, m := scriptedMux(t, mux.Config{Open: func(p *mux.Pending) { p.Accept(mux.Options{Requests: true}) }})
	ch, err := c.OpenChannel(t.Context(), wire.ChannelSession, nil, adit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.ForwardAgent(t.Context(), ch, f); err != nil {
		t.Fatal(err)
	}
	var opens sync.WaitGroup
	for range 20 {
		opens.Go(func() {
			_, err := m.Open(context.Background(), wire.ChannelAuthAgentOpenSSH, nil, mux.Options{})
			if oe, ok := errors.AsType[*mux.OpenError](err); !ok || oe.Reason != wire.OpenConnectFailed {
				t.Errorf("got %v", err)
			}
		})
	}
	for range 20 { // the connection goes on meanwhile
		if _, err := c.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	close(release)
	opens.Wait()
}

// A server that knows RFC 9987's names is asked by them.
func TestForwardAgentRFC(t *testing.T) {
	c, server := scripted(t)
	send(t, server, &wire.ExtInfo{Extensions: []wire.Extension{{Name: wire.ExtAgentForward, Value: []byte("0")}}})
	asked := make(chan error, 1)
	go func() { // ends with the request
		ch, err := c.OpenChannel(t.Context(), wire.ChannelSession, nil, adit.Options{})
		if err == nil {
			err = c.ForwardAgent(t.Context(), ch, &agent.Forwarder{Dialer: agent.Socket("/nowhere")})
		}
		asked <- err
	}()
	open := want(t, "a session", server, new(wire.ChannelOpen))
	send(t, server, &wire.ChannelOpenConfirmation{RecipientChannel: open.SenderChannel, SenderChannel: 9, InitialWindow: 1 << 20, MaxPacket: 1 << 15})
	if m := want(t, "it asks", server, new(wire.ChannelRequest)); m.Type != "agent-req" {
		t.Errorf("asked for %q", m.Type)
	}
	if err := <-asked; err != nil {
		t.Error(err)
	}
}
