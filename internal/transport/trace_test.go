package transport

import (
	"bytes"
	"testing"

	"github.com/adit-ssh/adit/internal/wire"
	"github.com/adit-ssh/adit/trace"
)

// An event tells neither a secret nor how long it is.
func TestTraceOfSecrets(t *testing.T) {
	login := func(password string) wire.Msg {
		return &wire.UserauthRequest{User: "u", Service: wire.ServiceConnection, Method: wire.MethodPassword,
			Body: (&wire.PasswordBody{Password: []byte(password)}).Append(nil)}
	}
	sizes := map[int]bool{}
	for _, m := range []wire.Msg{login("a"), login("correct horse battery staple"), &wire.ChannelData{Data: make([]byte, 1000)}} {
		recorder := trace.NewRecorder(trace.LevelPacket, 1)
		c := &Conn{cfg: &Config{Tracer: recorder}}
		c.tracePacket(true, 3, m.Append(nil))
		e := recorder.Records()[0].Event.(trace.Packet)
		if _, data := m.(*wire.ChannelData); data && e.Size != len(m.Append(nil)) {
			t.Errorf("data of %d bytes of payload has size %d", len(m.Append(nil)), e.Size)
		} else if !data {
			sizes[e.Size] = true
		}
	}
	if len(sizes) != 1 {
		t.Errorf("passwords of different lengths have sizes %v", sizes)
	}
}

// The data of channels that lead to an agent is in no event, whoever opened them:
// ssh-add sends private keys there. What comes under their numbers later is.
func TestTraceOfAgents(t *testing.T) {
	const secret = "correct horse battery staple"
	recorder := trace.NewRecorder(trace.LevelData, 1)
	c := &Conn{cfg: &Config{Tracer: recorder}}
	event := func(out bool, m wire.Msg) trace.Packet {
		c.tracePacket(out, 3, m.Append(nil))
		return recorder.Records()[0].Event.(trace.Packet)
	}
	check := func(why string, channel uint32, out, want bool) {
		t.Helper()
		for _, m := range []wire.Msg{&wire.ChannelData{RecipientChannel: channel, Data: []byte(secret)},
			&wire.ChannelExtendedData{RecipientChannel: channel, DataType: 1, Data: []byte(secret)}} {
			e := event(out, m)
			if there := bytes.Contains(e.Msg.Append(nil), []byte(secret)); there != want || e.Withheld == want || e.Size != len(m.Append(nil)) {
				t.Errorf("%s, out %t, %s: the data is there: %t, withheld: %t, size %d", why, out, wire.MsgName(m), there, e.Withheld, e.Size)
			}
		}
	}
	for _, byPeer := range []bool{true, false} {
		for _, typ := range []string{wire.ChannelAuthAgentOpenSSH, wire.ChannelAgentConnect} {
			opener, other := uint32(7), uint32(2) // as numbers of who opens, and of who is asked
			event(!byPeer, &wire.ChannelOpen{Type: typ, SenderChannel: opener})
			event(byPeer, &wire.ChannelOpenConfirmation{RecipientChannel: opener, SenderChannel: other})
			check(typ, opener, byPeer, false)
			check(typ, other, !byPeer, false)
			check("another channel of whom the number is not", opener, !byPeer, true)
			event(byPeer, &wire.ChannelClose{RecipientChannel: opener})
			event(!byPeer, &wire.ChannelClose{RecipientChannel: other})
			check("after "+typ, opener, byPeer, true)
			check("after "+typ, other, !byPeer, true)
		}
	}
	event(false, &wire.ChannelOpen{Type: wire.ChannelAuthAgentOpenSSH, SenderChannel: 9})
	event(true, &wire.ChannelOpenFailure{RecipientChannel: 9})
	if len(c.agents.ours)+len(c.agents.peers) > 0 {
		t.Errorf("numbers are kept: %v, %v", c.agents.ours, c.agents.peers)
	}
	event(false, &wire.ChannelOpen{Type: wire.ChannelForwardedTCPIP, SenderChannel: 9})
	event(true, &wire.ChannelOpenConfirmation{RecipientChannel: 9, SenderChannel: 4})
	check("a forward after a refused agent", 9, true, true)
	check("a forward after a refused agent", 4, false, true)
}
