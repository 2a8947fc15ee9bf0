package userauth

import (
	"context"
	"strings"
	"testing"

	"github.com/adit-ssh/adit/internal/wire"
)

func TestServerBoundsProbes(t *testing.T) {
	key := newEd25519(t)
	p := serverUnderTest(t, ServerConfig{PublicKey: acceptKeys(key.PublicKey())})
	p.begin()
	probe := request(wire.MethodPublickey, &wire.PublickeyBody{Algorithm: "ssh-ed25519", Key: key.PublicKey().Marshal()})
	for range maxRequests {
		p.send(probe)
		p.want("probe", &wire.UserauthPKOK{Algorithm: "ssh-ed25519", Key: key.PublicKey().Marshal()})
	}
	p.send(probe)
	p.wantDisconnect("endless probes", wire.DisconnectProtocolError, "requests")
}

func TestServerBreaches(t *testing.T) {
	const protocol, service = wire.DisconnectProtocolError, wire.DisconnectServiceNotAvailable
	for _, tt := range []struct {
		name   string
		early  bool // before SERVICE_REQUEST
		send   []byte
		reason uint32
		want   string
	}{
		{"request early", true, request(wire.MethodNone, nil).Append(nil), protocol, "out of turn"},
		{"wrong service", true, (&wire.ServiceRequest{Service: "ssh-connection"}).Append(nil), service, "ssh-connection"},
		{"SERVICE_REQUEST cut short", true, []byte{5, 0}, protocol, "SERVICE_REQUEST"},
		{"channel open early", true, (&wire.ChannelOpen{Type: "session"}).Append(nil), protocol, "CHANNEL_OPEN"},
		{"service twice", false, (&wire.ServiceRequest{Service: wire.ServiceUserauth}).Append(nil), protocol, "out of turn"},
		{"channel data", false, (&wire.ChannelData{}).Append(nil), protocol, "CHANNEL_DATA"},
		{"global request", false, (&wire.GlobalRequest{}).Append(nil), protocol, "GLOBAL_REQUEST"},
		{"unknown number from 80 on", false, []byte{120}, protocol, "120"},
		{"a server's message", false, (&wire.UserauthSuccess{}).Append(nil), protocol, "USERAUTH_SUCCESS"},
		{"answers unasked", false, (&wire.UserauthInfoResponse{Answers: []string{"secret"}}).Append(nil), protocol, "out of turn"},
		{"request cut short", false, []byte{50, 0, 0, 0, 5, 'a'}, protocol, "USERAUTH_REQUEST"},
		{"service of the request", false, (&wire.UserauthRequest{User: "alice", Service: "x"}).Append(nil), service, `"x"`},
		{"user name with a control character", false, (&wire.UserauthRequest{User: "a\x1b", Service: wire.ServiceConnection}).Append(nil), wire.DisconnectIllegalUserName, "user name"},
		{"user name that is not UTF-8", false, (&wire.UserauthRequest{User: "a\xff", Service: wire.ServiceConnection}).Append(nil), wire.DisconnectIllegalUserName, "user name"},
		{"endless user name", false, (&wire.UserauthRequest{User: strings.Repeat("a", maxUser+1), Service: wire.ServiceConnection}).Append(nil), wire.DisconnectIllegalUserName, "user name"},
		{"key request cut short", false, (&wire.UserauthRequest{User: "alice", Service: wire.ServiceConnection, Method: wire.MethodPublickey, Body: []byte{1}}).Append(nil), protocol, "publickey request"},
		{"hostbound without host key", false, request(wire.MethodHostbound, &wire.PublickeyBody{Algorithm: "ssh-ed25519"}).Append(nil), protocol, "request"},
		{"password cut short", false, (&wire.UserauthRequest{User: "alice", Service: wire.ServiceConnection, Method: wire.MethodPassword, Body: []byte("\x00\x00\x00\x00\x09secret")}).Append(nil), protocol, "password request"},
		{"keyboard-interactive cut short", false, (&wire.UserauthRequest{User: "alice", Service: wire.ServiceConnection, Method: wire.MethodKeyboardInteractive}).Append(nil), protocol, "keyboard-interactive request"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := serverUnderTest(t, ServerConfig{PublicKey: acceptKeys(), Answers: yes, Password: func(context.Context, string, []byte) Verdict { return Accept }})
			if !tt.early {
				p.begin()
			}
			p.raw(tt.send)
			p.wantDisconnect(tt.name, tt.reason, tt.want)
			if strings.Contains(p.err.Error(), "secret") {
				t.Errorf("secret in %v", p.err)
			}
		})
	}
}

func TestServerUserNameMayNotChange(t *testing.T) {
	p := serverUnderTest(t, ServerConfig{PublicKey: acceptKeys()})
	p.begin()
	p.send(request(wire.MethodNone, nil))
	p.wantFailure("alice", "publickey")
	m := request(wire.MethodNone, nil)
	m.User = "bob"
	p.send(m)
	p.wantDisconnect("bob", wire.DisconnectProtocolError, "user name changed")
}

func TestServerBadAnswers(t *testing.T) {
	for name, b := range map[string][]byte{
		"absurd count": wire.AppendUint32([]byte{wire.NumUserauthInfoResponse}, 1<<31),
		"cut short":    {wire.NumUserauthInfoResponse, 0, 0, 0, 1, 0, 0, 0, 9, 's', 'e', 'c', 'r', 'e', 't'},
		"too long":     append((&wire.UserauthInfoResponse{Answers: []string{"secret"}}).Append(nil), 0),
	} {
		t.Run(name, func(t *testing.T) {
			p := serverUnderTest(t, ServerConfig{Answers: yes})
			p.begin()
			p.send(request(wire.MethodKeyboardInteractive, &wire.KbdintBody{}))
			p.want("question", &wire.UserauthInfoRequest{Prompts: []wire.Prompt{{Text: "?"}}})
			p.raw(b)
			p.wantDisconnect(name, wire.DisconnectProtocolError, "")
			if strings.Contains(p.err.Error(), "secret") {
				t.Errorf("secret in %v", p.err)
			}
		})
	}
}

func TestServerFloodOfUnknownMessages(t *testing.T) {
	p := serverUnderTest(t, ServerConfig{PublicKey: acceptKeys()})
	p.begin()
	for range maxUnrelated {
		p.raw([]byte{9})
		p.want("unknown number", &wire.Unimplemented{})
	}
	p.raw([]byte{9})
	p.wantDisconnect("too many", wire.DisconnectProtocolError, "unknown messages")
}

// Our client sends CHANNEL_OPEN behind a signature that it expects to be
// accepted. When the signature is not, the open is answered as sshd does and the
// login goes on.
func TestServerBearsChannelOpenBehindARefusal(t *testing.T) {
	right, wrong := newEd25519(t), newEd25519(t)
	p := serverUnderTest(t, ServerConfig{PublicKey: acceptKeys(right.PublicKey())})
	p.begin()
	p.send(keyRequest{signer: wrong, algorithm: "ssh-ed25519"}.build(t), &wire.ChannelOpen{Type: "session"})
	p.want("wrong key", &wire.UserauthFailure{Methods: []string{wire.MethodPublickey}})
	p.want("open behind it", &wire.Unimplemented{})
	p.send(keyRequest{signer: right, algorithm: "ssh-ed25519"}.build(t))
	p.want("right key", &wire.UserauthSuccess{})
}
