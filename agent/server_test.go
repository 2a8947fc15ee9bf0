package agent

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"

	"github.com/adit-ssh/adit/internal/testnet"
)

// serveRing serves a ring at a socket. stop ends it and waits.
func serveRing(t testing.TB, s *Server) (path string, stop func()) {
	t.Helper()
	path = testnet.LocalPath(t)
	l, err := testnet.ListenLocal(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := s.Serve(ctx, l); err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	stop = sync.OnceFunc(func() {
		cancel()
		serving.Wait()
	})
	t.Cleanup(stop)
	return path, stop
}

func dialAgent(t testing.TB, path string) Conn {
	t.Helper()
	nc, err := Socket(path).Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return halves(nc)
}

// needHalfClose skips a test of connections one half of which ends before the other:
// named pipes have no halves.
func needHalfClose(t testing.TB) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("named pipes have no half-close")
	}
}

// Requests that lie behind each other are answered in their order, also to one that
// has nothing more to say.
func TestServerInOrder(t *testing.T) {
	needHalfClose(t)
	testnet.Census(t)
	path, _ := serveRing(t, &Server{Agent: ringWith(t, AddedKey{})})
	nc := dialAgent(t, path)
	var all []byte
	for _, request := range [][]byte{{numRequestKeys}, {200}, signing(testKeys.user.PublicKey(), "data", 0), {numRemoveAll}, {numRequestKeys}} {
		b := newBuffer()
		writeFrame(b, request)
		all = append(all, b.b...)
	}
	if _, err := nc.Write(all); err != nil {
		t.Fatal(err)
	}
	nc.CloseWrite()
	for i, want := range []byte{numKeys, numFailure, numSignature, numSuccess, numKeys} {
		if reply, err := readFrame(nc); err != nil || reply[0] != want {
			t.Fatalf("reply %d is %x, %v, want message %d", i, reply, err, want)
		}
	}
	if _, err := nc.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("after the last reply: %v, want the end", err)
	}
}

type buffer struct{ b []byte }

func newBuffer() *buffer { return &buffer{} }

func (b *buffer) Write(p []byte) (int, error) {
	b.b = append(b.b, p...)
	return len(p), nil
}

// A length that makes no sense ends its connection, and no other.
func TestServerMalformed(t *testing.T) {
	needHalfClose(t)
	testnet.Census(t)
	ring := ringWith(t, AddedKey{})
	path, _ := serveRing(t, &Server{Agent: ring})
	good := dialAgent(t, path)
	for _, in := range []string{"\x00\x00\x00\x00", "\xff\xff\xff\xff", "\x00\x04\x00\x01x", "\x00\x00", "\x00\x00\x00\x09\x0b"} {
		bad := dialAgent(t, path)
		io.WriteString(bad, in)
		bad.CloseWrite()
		if b, _ := io.ReadAll(bad); len(b) > 0 { // the end may be a reset
			t.Errorf("%q: got %x", in, b)
		}
		if err := writeFrame(good, []byte{numRequestKeys}); err != nil {
			t.Fatal(err)
		}
		if reply, err := readFrame(good); err != nil || reply[0] != numKeys {
			t.Errorf("after %q another connection gets %x, %v", in, reply, err)
		}
	}
}

// Who hangs up takes the question to the person along; the server's end takes
// everything.
func TestServerHangUp(t *testing.T) {
	testnet.Census(t)
	ring := ringWith(t, AddedKey{Confirm: true})
	asked, withdrawn := make(chan struct{}), make(chan struct{}, 2)
	ring.Confirm = func(ctx context.Context, _ Confirmation) bool {
		asked <- struct{}{}
		<-ctx.Done()
		withdrawn <- struct{}{}
		return false
	}
	var mu sync.Mutex
	var said []Request
	path, stop := serveRing(t, &Server{Agent: ring, Log: func(r Request) {
		mu.Lock()
		defer mu.Unlock()
		said = append(said, r)
	}})
	for _, end := range []func(net.Conn){func(nc net.Conn) { nc.Close() }, func(net.Conn) { stop() }} {
		nc := dialAgent(t, path)
		if err := writeFrame(nc, signing(testKeys.user.PublicKey(), "data", 0)); err != nil {
			t.Fatal(err)
		}
		<-asked
		end(nc)
		<-withdrawn
	}
	mu.Lock()
	defer mu.Unlock()
	if len(said) != 2 || said[0].Operation != "sign" || !errors.Is(said[0].Err, errDeclined) {
		t.Errorf("the log has %+v", said)
	}
	for _, r := range said {
		if r.Peer.UID != -1 && (r.Peer.UID != os.Geteuid() || r.Peer.PID != 0 && r.Peer.PID != os.Getpid()) {
			t.Errorf("the peer is %+v", r.Peer)
		}
	}
}

// Who listens on a socket that others can write to lets only our own processes
// and root's in.
func TestServerStrangers(t *testing.T) {
	for uid, want := range map[int]bool{-1: true, 0: true, os.Geteuid(): true, os.Geteuid() + 12345: false} {
		if got := allowed(Peer{UID: uid}); got != want {
			t.Errorf("uid %d: got %v, want %v", uid, got, want)
		}
	}
}

// Many connections at once leave nothing behind.
func TestServerMany(t *testing.T) {
	testnet.Census(t)
	path, _ := serveRing(t, &Server{Agent: ringWith(t, AddedKey{})})
	var clients sync.WaitGroup
	for range 200 {
		clients.Go(func() {
			nc, err := Socket(path).Dial(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			c := NewClient(nc)
			defer c.Close()
			for range 10 {
				ids, err := c.List(t.Context())
				if err != nil || len(ids) != 1 {
					t.Errorf("list: %v, %v", ids, err)
				}
			}
			if _, err := c.Sign(t.Context(), testKeys.user.PublicKey().Marshal(), []byte("data"), 0); err != nil {
				t.Error(err)
			}
		})
	}
	clients.Wait()
}

func TestKeyringAdd(t *testing.T) {
	r := &Keyring{}
	t.Cleanup(r.Close)
	if err := r.Add(AddedKey{PrivateKey: testKeys.raw, Comment: "user"}); err != nil || r.Len() != 1 {
		t.Errorf("%v, %d keys", err, r.Len())
	}
	if err := r.Add(AddedKey{PrivateKey: "no key"}); err == nil || r.Len() != 1 {
		t.Errorf("no key: %v, %d keys", err, r.Len())
	}
	if err := r.Add(AddedKey{PrivateKey: testKeys.raw, Destinations: []Destination{{}}}); err == nil {
		t.Error("a destination that is none was taken")
	}
}
