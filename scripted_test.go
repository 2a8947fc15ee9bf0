package adit_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/internal/mux"
	"github.com/adit-ssh/adit/internal/testpeer"
	"github.com/adit-ssh/adit/internal/transport"
	"github.com/adit-ssh/adit/internal/userauth"
	"github.com/adit-ssh/adit/internal/wire"
)

// scripted logs a Client in to a server that the test drives by hand.
func scripted(t testing.TB) (*adit.Client, *transport.Conn) {
	t.Helper()
	census(t)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	host, user := testpeer.NewSigner(t), testpeer.NewSigner(t)
	var wg sync.WaitGroup
	var server *transport.Conn
	var serr error
	wg.Go(func() {
		nc, err := l.Accept()
		if err != nil {
			serr = err
			return
		}
		if server, serr = transport.Server(t.Context(), nc, &transport.Config{HostKeys: []gossh.Signer{host}}); serr != nil {
			return
		}
		_, serr = userauth.Server(t.Context(), server, userauth.ServerConfig{
			PublicKey: func(context.Context, string, gossh.PublicKey, bool) userauth.Verdict { return userauth.Accept },
		})
	})
	c, err := adit.Dial(t.Context(), l.Addr().String(), &adit.Config{User: "u", CheckHostKey: adit.FixedHostKey(host.PublicKey()), Keys: adit.Keys(user)})
	wg.Wait()
	if err := errors.Join(err, serr); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); server.Close() })
	return c, server
}

// scriptedMux is scripted with a server that has channels.
func scriptedMux(t testing.TB, cfg mux.Config) (*adit.Client, *mux.Mux) {
	t.Helper()
	c, server := scripted(t)
	cfg.Server = true
	m := mux.New(server, cfg)
	t.Cleanup(func() { c.Close(); m.Close() })
	return c, m
}

// listensAt agrees to every request to listen; asked for port 0 it chooses port.
func listensAt(port uint32) func(string, []byte) (bool, []byte) {
	return func(name string, data []byte) (bool, []byte) {
		var d wire.TCPIPForward
		if name == wire.GlobalTCPIPForward && wire.ParseBody(data, &d) == nil && d.Port == 0 {
			return true, (&wire.TCPIPForwardReply{Port: port}).Append(nil)
		}
		return name == wire.GlobalTCPIPForward || name == wire.GlobalStreamlocalForward, nil
	}
}

func send(t testing.TB, server *transport.Conn, msgs ...wire.Msg) {
	t.Helper()
	for _, m := range msgs {
		if err := server.WritePacket(m.Append(nil), nil); err != nil {
			t.Fatal(err)
		}
	}
}

// want reads the next message and checks its type.
func want[M wire.Msg](t testing.TB, why string, server *transport.Conn, m M) M {
	t.Helper()
	p, err := server.ReadPacket()
	if err != nil {
		t.Fatalf("%s: %v", why, err)
	}
	if err := wire.Parse(p, m); err != nil {
		t.Fatalf("%s: message %d: %v", why, p[0], err)
	}
	return m
}
