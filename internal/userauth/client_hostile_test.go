package userauth

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/adit-ssh/adit/internal/wire"
)

func TestClientFloods(t *testing.T) {
	p := clientUnderTest(t, ClientConfig{})
	p.accept()
	p.wantRequest("first", wire.MethodNone)
	for range maxBanners + 1 {
		p.send(&wire.UserauthBanner{})
	}
	p.wantDisconnect("number of banners", wire.DisconnectProtocolError, "banners")

	p = clientUnderTest(t, ClientConfig{})
	p.accept()
	p.wantRequest("first", wire.MethodNone)
	for range 5 {
		p.send(&wire.UserauthBanner{Message: strings.Repeat("x", maxBannerBytes/4)})
	}
	p.wantDisconnect("size of banners", wire.DisconnectProtocolError, "banners")

	p = clientUnderTest(t, ClientConfig{})
	p.accept()
	p.wantRequest("first", wire.MethodNone)
	for range maxUnrelated {
		p.raw([]byte{9})
		p.want("unknown number", &wire.Unimplemented{})
	}
	p.raw([]byte{9})
	p.wantDisconnect("unknown messages", wire.DisconnectProtocolError, "unknown messages")

	p = clientUnderTest(t, ClientConfig{Password: func(context.Context) (string, error) { return "x", nil }, Tries: 1 << 30})
	p.accept()
	p.wantRequest("first", wire.MethodNone)
	p.fail("password")
	for range maxRequests - 1 {
		p.wantRequest("again", wire.MethodPassword)
		p.partial("password")
	}
	p.wait()
	if p.err == nil || !strings.Contains(p.err.Error(), "gave up") {
		t.Errorf("endless partial success: %v", p.err)
	}
}

// What a server may not send, and when.
func TestClientBreaches(t *testing.T) {
	key := newEd25519(t)
	pkok := (&wire.UserauthPKOK{Algorithm: "ssh-ed25519", Key: key.PublicKey().Marshal()}).Append(nil)
	for _, tt := range []struct {
		name    string
		early   bool // before SERVICE_ACCEPT
		probing bool // a probe waits for its answer, not "none"
		send    []byte
		want    string
	}{
		{"SUCCESS early", true, false, (&wire.UserauthSuccess{}).Append(nil), "before SERVICE_ACCEPT"},
		{"FAILURE early", true, false, (&wire.UserauthFailure{}).Append(nil), "before SERVICE_ACCEPT"},
		{"PK_OK early", true, true, pkok, "before SERVICE_ACCEPT"},
		{"wrong service", true, false, (&wire.ServiceAccept{Service: "ssh-connection"}).Append(nil), `"ssh-connection"`},
		{"SERVICE_ACCEPT cut short", true, false, []byte{6, 0, 0, 0, 9, 's'}, "cut short"},
		{"SERVICE_ACCEPT twice", false, false, (&wire.ServiceAccept{Service: wire.ServiceUserauth}).Append(nil), "SERVICE_ACCEPT during"},
		{"SERVICE_REQUEST", false, false, (&wire.ServiceRequest{Service: wire.ServiceUserauth}).Append(nil), "SERVICE_REQUEST during"},
		{"a request", false, false, (&wire.UserauthRequest{}).Append(nil), "USERAUTH_REQUEST during"},
		{"answers", false, false, (&wire.UserauthInfoResponse{}).Append(nil), "USERAUTH_INFO_RESPONSE during"},
		{"PK_OK unasked", false, false, pkok, "message 60"},
		{"global request", false, false, (&wire.GlobalRequest{Type: "hostkeys-00@openssh.com"}).Append(nil), "GLOBAL_REQUEST during"},
		{"channel open", false, false, (&wire.ChannelOpen{Type: "session"}).Append(nil), "CHANNEL_OPEN during"},
		{"FAILURE cut short", false, false, []byte{51, 0, 0, 0, 9}, "USERAUTH_FAILURE"},
		{"FAILURE too long", false, false, append((&wire.UserauthFailure{}).Append(nil), 0), "USERAUTH_FAILURE"},
		{"SUCCESS too long", false, false, []byte{52, 0}, "USERAUTH_SUCCESS"},
		{"banner cut short", false, false, []byte{53, 0, 0}, "USERAUTH_BANNER"},
		{"PK_OK for another key", false, true, (&wire.UserauthPKOK{Algorithm: "ssh-ed25519", Key: newEd25519(t).PublicKey().Marshal()}).Append(nil), "not offered"},
		{"PK_OK cut short", false, true, pkok[:len(pkok)-1], "USERAUTH_PK_OK"},
		{"PASSWD_CHANGEREQ to a probe", false, true, (&wire.UserauthPasswdChange{Prompt: "p"}).Append(nil), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := ClientConfig{}
			if tt.probing {
				cfg.Keys = keysOf(key)
			}
			p := clientUnderTest(t, cfg)
			p.want("first", &wire.ServiceRequest{Service: wire.ServiceUserauth})
			if tt.probing {
				p.wantKey("probe", key.PublicKey(), "ssh-ed25519", false, false)
			} else {
				p.wantRequest("none", wire.MethodNone)
			}
			if !tt.early {
				p.send(&wire.ServiceAccept{Service: wire.ServiceUserauth})
			}
			p.raw(tt.send)
			p.wantDisconnect(tt.name, wire.DisconnectProtocolError, tt.want)
		})
	}
}

func TestClientAbsurdPromptCount(t *testing.T) {
	p := clientUnderTest(t, ClientConfig{Answer: func(context.Context, string, string, []wire.Prompt) ([]string, error) { return nil, nil }})
	p.accept()
	p.wantRequest("first", wire.MethodNone)
	p.fail("keyboard-interactive")
	p.wantRequest("then", wire.MethodKeyboardInteractive)
	b := wire.AppendString(wire.AppendString(wire.AppendString([]byte{wire.NumUserauthInfoRequest}, ""), ""), "")
	p.raw(wire.AppendUint32(b, 1<<31))
	p.wantDisconnect("2^31 questions", wire.DisconnectProtocolError, "USERAUTH_INFO_REQUEST")
}

// A server that lets anybody in may say so in answer to a probe.
func TestClientSuccessToAProbe(t *testing.T) {
	key := newEd25519(t)
	p := clientUnderTest(t, ClientConfig{Keys: keysOf(key)})
	p.accept()
	p.wantKey("probe", key.PublicKey(), "ssh-ed25519", false, false)
	p.send(&wire.UserauthSuccess{})
	p.wantLogin(wire.MethodNone)
}

func TestClientEnds(t *testing.T) {
	p := clientUnderTest(t, ClientConfig{})
	p.accept()
	p.wantRequest("first", wire.MethodNone)
	p.conn.out.close(io.ErrUnexpectedEOF)
	p.wait()
	if _, ok := errors.AsType[*AuthError](p.err); ok || !errors.Is(p.err, io.ErrUnexpectedEOF) {
		t.Errorf("the connection's end before any answer: %v", p.err)
	}

	p = clientUnderTest(t, ClientConfig{Keys: keysOf(newEd25519(t))}, serverSigs, modernSigs)
	p.accept()
	p.wantRequest("key", wire.MethodPublickey)
	p.fail("publickey")
	p.wantRequest("none", wire.MethodNone)
	p.conn.out.close(io.ErrUnexpectedEOF)
	e := p.wantRefused("then unexpected EOF")
	if !errors.Is(e, io.ErrUnexpectedEOF) {
		t.Errorf("cause is lost: %v", e)
	}
}
