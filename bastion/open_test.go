package bastion

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/testnet"
	"github.com/adit-ssh/adit/internal/testpeer"
	"github.com/adit-ssh/adit/internal/userauth"
	"github.com/adit-ssh/adit/internal/wire"
)

// TestOpens: what a client that is logged in may ask for, and what reaches the
// log of it.
func TestOpens(t *testing.T) {
	direct := func(host string, port uint32) []byte {
		return (&wire.DirectTCPIP{Host: host, Port: port, OriginatorAddr: "::1", OriginatorPort: 1}).Append(nil)
	}
	var mu sync.Mutex
	var log strings.Builder
	var dialed []string
	refused := &net.OpError{Op: "dial", Err: net.UnknownNetworkError("none")}
	s, err := New(Config{HostKeys: []gossh.Signer{testpeer.NewSigner(t)},
		Log: func(line string) {
			mu.Lock()
			defer mu.Unlock()
			log.WriteString(line + "\n")
		},
		Dial: func(_ context.Context, _, address string) (net.Conn, error) {
			mu.Lock()
			defer mu.Unlock()
			dialed = append(dialed, address)
			return nil, refused
		},
		Authorize: func(context.Context, string, net.Addr, gossh.PublicKey) *Permissions {
			return &Permissions{PermitOpen: []string{"ok:*"}}
		}})
	if err != nil {
		t.Fatal(err)
	}
	l := testnet.Listen(testnet.Options{})
	var wg sync.WaitGroup
	wg.Go(func() { s.Serve(l) })
	c := handshake(t, dialTest(t, l))
	key := testpeer.NewSigner(t)
	keys := func(context.Context) ([]userauth.Key, error) { return []userauth.Key{{Signer: key}}, nil }
	if _, err := userauth.Client(t.Context(), c, userauth.ClientConfig{User: "u", Keys: keys}); err != nil {
		t.Fatal(err)
	}
	for i, m := range []struct {
		typ    string
		data   []byte
		reason uint32
	}{
		{wire.ChannelSession, nil, wire.OpenAdministrativelyProhibited},
		{wire.ChannelDirectStreamlocal, []byte("?"), wire.OpenAdministrativelyProhibited},
		{"forwarded-tcpip", direct("ok", 1), wire.OpenUnknownChannelType},
		{"\x1b[2J", nil, wire.OpenUnknownChannelType},
		{wire.ChannelDirectTCPIP, nil, wire.OpenConnectFailed},
		{wire.ChannelDirectTCPIP, direct("ok", 1)[1:], wire.OpenConnectFailed},
		{wire.ChannelDirectTCPIP, append(direct("ok", 1), 0), wire.OpenConnectFailed},
		{wire.ChannelDirectTCPIP, direct("ok", 0), wire.OpenConnectFailed},
		{wire.ChannelDirectTCPIP, direct("ok", 65536), wire.OpenConnectFailed},
		{wire.ChannelDirectTCPIP, direct("", 1), wire.OpenConnectFailed},
		{wire.ChannelDirectTCPIP, direct("other", 1), wire.OpenAdministrativelyProhibited},
		{wire.ChannelDirectTCPIP, direct("ok\x00", 1), wire.OpenAdministrativelyProhibited},
		{wire.ChannelDirectTCPIP, direct("no\x1b[2J\nfake line", 1), wire.OpenAdministrativelyProhibited},
		{wire.ChannelDirectTCPIP, direct(strings.Repeat("x", 200000), 1), wire.OpenAdministrativelyProhibited},
		{wire.ChannelDirectTCPIP, direct("ok", 65535), wire.OpenConnectFailed},
	} {
		open := wire.ChannelOpen{Type: m.typ, SenderChannel: uint32(i), InitialWindow: 1, MaxPacket: 1, Data: m.data}
		if err := c.WritePacket(open.Append(nil), nil); err != nil {
			t.Fatal(err)
		}
		p, err := c.ReadPacket()
		if err != nil {
			t.Fatalf("open %d: %v", i, err)
		}
		var got wire.ChannelOpenFailure
		if err := wire.Parse(p, &got); err != nil || got.RecipientChannel != uint32(i) || got.Reason != m.reason {
			t.Errorf("open %d of type %q: got %+v (%v), want reason %d", i, m.typ, got, err, m.reason)
		}
	}
	c.Close()
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if len(dialed) != 1 || dialed[0] != "ok:65535" {
		t.Errorf("dialed %q, want ok:65535 alone", dialed)
	}
	for line := range strings.Lines(log.String()) {
		if !strings.HasPrefix(line, "a: ") || strings.ContainsAny(line, "\x1b\x00") || len(line) > 1000 {
			t.Errorf("the log has a line %.200q", line)
		}
	}
}
