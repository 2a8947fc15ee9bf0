package interop

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/bastion"
	"github.com/adit-ssh/adit/internal/testpeer"
	"github.com/adit-ssh/adit/internal/wire"
	"github.com/adit-ssh/adit/trace"
)

// startBastion starts our server, which lets key in by the given line of
// authorized_keys, or by the key's own.
func startBastion(t *testing.T, key *testpeer.Key, line string, r trace.Tracer) *testpeer.Endpoint {
	t.Helper()
	if line == "" {
		line = key.Line()
	}
	e, _ := startBastionFor(t, key, line, bastion.Config{Tracer: r, RekeyBytes: rekeyAt})
	return e
}

// startBastionFor is startBastion with more of a configuration; shutdown ends it
// before the test's end.
func startBastionFor(t *testing.T, key *testpeer.Key, line string, cfg bastion.Config) (e *testpeer.Endpoint, shutdown func(context.Context) error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "authorized_keys")
	if err := os.WriteFile(file, []byte(line+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	auth, err := bastion.LoadKeys(file)
	if err != nil {
		t.Fatal(err)
	}
	host := testpeer.NewKey(t, "ed25519")
	cfg.HostKeys, cfg.Authorize, cfg.Log = []gossh.Signer{host.Signer}, auth.Authorize, func(line string) { t.Log(line) }
	s, err := bastion.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { s.Serve(l) })
	t.Cleanup(func() {
		s.Shutdown(context.Background())
		wg.Wait()
	})
	return &testpeer.Endpoint{Addr: l.Addr().String(), HostKeys: []gossh.PublicKey{host.Public}, User: "tester", Key: key}, s.Shutdown
}

// Every client, in each of its ways to forward, reaches targets through our
// server, through key exchanges that we ask for, and those that it asks for.
func TestOurServer(t *testing.T) {
	for _, c := range testpeer.Clients() {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			r := newRecorder()
			e := startBastion(t, testpeer.NewKey(t, "ed25519"), "", r)
			hash := testpeer.HashTarget(t)

			open := tunnels(t, c, e, hash.Addr, testpeer.TunnelOptions{})
			if c.Stalls {
				if err := open(withLimit(t), func(s testpeer.Stream) error { return testpeer.Upload(s, noRekey) }); err != nil {
					t.Errorf("upload: %v", err)
				}
			} else {
				move(t, r, "upload", open, testpeer.Upload)
			}
			move(t, r, "download", open, testpeer.Download)
			if c.Rekeys {
				theirRekeys(t, c, e, hash.Addr, r)
			}
			if c.HalfCloses {
				open := tunnels(t, c, e, testpeer.EchoTarget(t).Addr, testpeer.TunnelOptions{})
				if err := open(withLimit(t), func(s testpeer.Stream) error { return testpeer.Echo(s, halfCloseSize) }); err != nil {
					t.Errorf("half-close: %v", err)
				}
			}
			if err := c.Refused(t, e, testpeer.RefusedAddr(t)); err != nil {
				t.Errorf("refused target: %v", err)
			}
			if !r.wait(withLimit(t), func() bool { return len(r.refused) > 0 }) {
				t.Fatal("refused target: our server reports nothing")
			}
			if got := r.refused[0]; !got.ByPeer || got.Reason != wire.OpenConnectFailed || got.Description != "Connection refused" {
				t.Errorf("refused target: our server reports %+v, want reason %d, Connection refused", got, wire.OpenConnectFailed)
			}
		})
	}
}

// tunnels opens streams through one tunnel, or through one each where a tunnel
// carries no more.
func tunnels(t *testing.T, c *testpeer.Client, e *testpeer.Endpoint, target string, o testpeer.TunnelOptions) opener {
	var tunnel *testpeer.Tunnel
	return func(ctx context.Context, use func(testpeer.Stream) error) error {
		if tunnel == nil || c.Single {
			tunnel = c.Tunnel(t, e, target, o)
		}
		return tunnel.Transfer(ctx, use)
	}
}

// noRekey is less than we ask for new keys after, in bytes.
const noRekey = rekeyAt - 1<<20

// theirRekeys moves noRekey bytes, so that it is always the client that asks.
func theirRekeys(t *testing.T, c *testpeer.Client, e *testpeer.Endpoint, target string, r *recorder) {
	t.Helper()
	const each = 1 << 20
	// A connection each: paramiko 2.12 hangs when a channel closes during a key
	// exchange that it began.
	open := func(ctx context.Context, use func(testpeer.Stream) error) error {
		return c.Tunnel(t, e, target, testpeer.TunnelOptions{RekeyBytes: each}).Transfer(ctx, use)
	}
	before := r.rekeys()
	want := 2
	if c.Stalls {
		want = 1
	} else if err := open(withLimit(t), func(s testpeer.Stream) error { return testpeer.Upload(s, noRekey) }); err != nil {
		t.Errorf("upload with the client's key exchanges: %v", err)
	}
	// A client that ends with its one stream may do so before its key exchange is
	// over, so there are some more streams then.
	for try := 0; try == 0 || try < 5 && c.Single && r.rekeys()-before < want; try++ {
		if err := open(withLimit(t), func(s testpeer.Stream) error { return testpeer.Download(s, noRekey) }); err != nil {
			t.Errorf("download with the client's key exchanges: %v", err)
			break
		}
	}
	if n := r.rekeys() - before; n < want {
		t.Errorf("the client asked for new keys %d times, want at least %d: every %d of %d bytes each way", n, want, each, noRekey)
	}
}
