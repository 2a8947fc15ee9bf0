package agent

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/testnet"
	"github.com/adit-ssh/adit/internal/wire"
)

// pipeClient returns a Client of an agent that handle plays.
func pipeClient(t testing.TB, handle func(net.Conn)) *Client {
	t.Helper()
	ours, agents := net.Pipe()
	var wg sync.WaitGroup
	wg.Go(func() {
		defer agents.Close()
		handle(agents)
	})
	c := NewClient(ours)
	t.Cleanup(func() {
		c.Close()
		wg.Wait()
	})
	return c
}

// ringClient returns a Client of a keyring.
func ringClient(t testing.TB, r *Keyring) *Client {
	c := r.NewConnection()
	return pipeClient(t, answers(func(request []byte) []byte { return c.Answer(context.Background(), request) }))
}

func TestClient(t *testing.T) {
	r := &Keyring{}
	t.Cleanup(r.Close)
	c := ringClient(t, r)
	ctx := t.Context()
	pairs := keyPairs(t)
	for _, k := range pairs {
		for _, cert := range []*gossh.Certificate{nil, k.cert} {
			if err := c.Add(ctx, AddedKey{PrivateKey: k.private, Certificate: cert, Comment: k.name}); err != nil {
				t.Fatalf("%s: %v", k.name, err)
			}
		}
	}
	ids, err := c.List(ctx)
	if err != nil || len(ids) != 2*len(pairs) {
		t.Fatalf("%d keys, %v, want %d", len(ids), err, 2*len(pairs))
	}
	for i, k := range pairs {
		for j, public := range []gossh.PublicKey{k.public, k.cert} {
			id := ids[2*i+j]
			if string(id.Blob) != string(public.Marshal()) || id.Comment != k.name {
				t.Errorf("key %d is %s %q", 2*i+j, id.Blob[4:20], id.Comment)
			}
			s, err := c.Signer(id.Blob)
			if err != nil {
				t.Fatal(err)
			}
			algorithms := []string{k.public.Type()}
			if algorithms[0] == gossh.KeyAlgoRSA {
				algorithms = append(algorithms, gossh.KeyAlgoRSASHA256, gossh.KeyAlgoRSASHA512)
			}
			for _, algorithm := range algorithms {
				var as gossh.AlgorithmSigner = s
				sig, err := as.SignWithAlgorithm(nil, []byte("data"), algorithm)
				if err != nil || sig.Format != algorithm || k.public.Verify([]byte("data"), sig) != nil {
					t.Errorf("%s, %s: %+v, %v", k.name, algorithm, sig, err)
				}
			}
		}
	}
	if names, err := c.Query(ctx); err != nil || !slices.Contains(names, extSessionBind) {
		t.Errorf("extensions: %q, %v", names, err)
	}
	if err := c.Bind(ctx, Binding{Session: session(t, testKeys.hosts[0], "id")}); err != nil {
		t.Errorf("bind: %v", err)
	}
	if err := c.Bind(ctx, Binding{Session: session(t, testKeys.hosts[0], "id 2")}); !errors.Is(err, ErrRefused) {
		t.Errorf("bind after a login: %v, want %v", err, ErrRefused)
	}
	if err := c.Lock(ctx, []byte("word")); err != nil {
		t.Error(err)
	}
	if _, err := c.Sign(ctx, ids[0].Blob, nil, 0); !errors.Is(err, ErrRefused) {
		t.Errorf("a locked agent signs: %v", err)
	}
	if err := c.Unlock(ctx, []byte("word")); err != nil {
		t.Error(err)
	}
	if err := c.Remove(ctx, ids[0].Blob); err != nil {
		t.Error(err)
	}
	if err := c.RemoveAll(ctx); err != nil || r.Len() != 0 {
		t.Errorf("remove all: %v, %d keys are left", err, r.Len())
	}
}

// What agents do that are out of order: each ends as an error of its own.
func TestClientBadReplies(t *testing.T) {
	ctx := t.Context()
	reply := func(b ...byte) func(net.Conn) { return answers(func([]byte) []byte { return b }) }
	raw := func(b ...byte) func(net.Conn) {
		return func(nc net.Conn) { readFrame(nc); nc.Write(b) }
	}
	for _, tt := range []struct {
		name string
		do   func(net.Conn)
		lost bool // else it is a refusal
		says string
	}{
		{"refused", reply(numFailure), false, "refused"},
		{"refused as an extension", reply(numExtensionFailure), false, "refused"},
		{"refused by an agent of SSH 1", reply(30), false, "refused"},
		{"refused by ssh.com's", reply(102), false, "refused"},
		{"another answer", reply(numSuccess), true, "message 6"},
		{"closed", func(nc net.Conn) { readFrame(nc) }, true, "closed the connection"},
		{"cut short", raw(0, 0, 0, 9, numKeys), true, "closed the connection"},
		{"too long", raw(0xff, 0xff, 0xff, 0xff, 1), true, "length"},
		{"empty", raw(0, 0, 0, 0), true, "length"},
		{"too many keys", reply(numKeys, 0, 1, 0, 0), true, "limit"},
		{"fewer keys than it says", reply(numKeys, 0, 0, 0, 2), true, "malformed list"},
		{"more than it says", reply(numKeys, 0, 0, 0, 0, 1), true, "malformed list"},
	} {
		c := pipeClient(t, tt.do)
		_, err := c.List(ctx)
		_, lost := errors.AsType[*LostError](err)
		if lost != tt.lost || errors.Is(err, ErrRefused) == tt.lost || err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: got %v, want an error with %q", tt.name, err, tt.says)
		}
		if _, err := c.List(ctx); tt.lost && err == nil {
			t.Errorf("%s: the connection is used further", tt.name)
		}
	}
	c := pipeClient(t, reply(numSignature, 0, 0, 0, 9))
	if _, err := c.Sign(ctx, []byte("key"), nil, 0); err == nil {
		t.Error("a malformed signature was taken")
	}
}

// Windows' agent answers SUCCESS in a frame within the frame.
func TestClientWindowsStatus(t *testing.T) {
	c := pipeClient(t, answers(func([]byte) []byte { return []byte{0, 0, 0, 1, numSuccess} }))
	if err := c.RemoveAll(t.Context()); err != nil {
		t.Error(err)
	}
	c = pipeClient(t, answers(func([]byte) []byte { return []byte{0, 0, 0, 1, numFailure} }))
	if err := c.RemoveAll(t.Context()); !errors.Is(err, ErrRefused) {
		t.Errorf("got %v, want %v", err, ErrRefused)
	}
}

// Pageant answers the query with SUCCESS and the names.
func TestClientQueryPageant(t *testing.T) {
	c := pipeClient(t, answers(func([]byte) []byte { return wire.AppendString([]byte{numSuccess}, "a@b") }))
	if names, err := c.Query(t.Context()); err != nil || !slices.Equal(names, []string{"a@b"}) {
		t.Errorf("got %q, %v", names, err)
	}
}

// One question at a time, each in one write: there are agents that take what one
// read returns for one message. A question that is given up takes the connection
// with it, and nobody else's answer.
func TestClientTurns(t *testing.T) {
	r := ringWith(t, AddedKey{})
	conn := r.NewConnection()
	path, _ := listenAgent(t, true, func(nc net.Conn) {
		b := make([]byte, MaxFrame)
		for {
			n, err := nc.Read(b)
			if err != nil {
				return
			}
			request, err := readFrame(strings.NewReader(string(b[:n])))
			if err != nil || len(request) != n-4 {
				t.Errorf("one read had %d bytes, %v", n, err)
				return
			}
			if writeFrame(nc, conn.Answer(context.Background(), request)) != nil {
				return
			}
		}
	})
	nc, err := Socket(path).Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c := NewClient(nc)
	defer c.Close()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				ids, err := c.List(t.Context())
				if err != nil || len(ids) != 1 {
					t.Errorf("list: %v, %v", ids, err)
					return
				}
				if sig, err := c.Sign(t.Context(), ids[0].Blob, []byte("data"), 0); err != nil || testKeys.user.PublicKey().Verify([]byte("data"), sig) != nil {
					t.Errorf("sign: %v", err)
				}
			}
		})
	}
	wg.Wait()
}

func TestClientGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := make(chan struct{})
		c := pipeClient(t, func(nc net.Conn) { // mute
			readFrame(nc)
			close(asked)
			readFrame(nc)
		})
		why := errors.New("the person gave up")
		ctx, cancel := context.WithCancelCause(t.Context())
		var first, second error
		var wg sync.WaitGroup
		wg.Go(func() { _, first = c.List(ctx) })
		<-asked
		short, cancelShort := context.WithTimeout(t.Context(), time.Second)
		defer cancelShort()
		wg.Go(func() { _, second = c.List(short) }) // waits for its turn
		<-short.Done()
		synctest.Wait()
		cancel(why)
		wg.Wait()
		if !errors.Is(first, why) || !errors.Is(second, context.DeadlineExceeded) {
			t.Errorf("got %v and %v", first, second)
		}
		if _, ok := errors.AsType[*LostError](second); ok {
			t.Error("who gave up before asking has lost the connection")
		}
		if _, err := c.List(t.Context()); err == nil {
			t.Error("the next question could get the answer to the one before")
		}
	})
}

// Open: how agents of all kinds end up after the binding.
func TestDialer(t *testing.T) {
	r := ringWith(t, AddedKey{})
	b := &Binding{Session: session(t, testKeys.hosts[0], "id"), Forwarding: true}
	mute := func(nc net.Conn) { readFrame(nc); readFrame(nc) }
	connection := func(nc net.Conn) {
		c := r.NewConnection()
		answers(func(request []byte) []byte { return c.Answer(context.Background(), request) })(nc)
	}
	var once atomic.Int32
	for _, tt := range []struct {
		name    string
		agent   func(net.Conn)
		bound   bool
		dials   []int // for each Open
		usable  bool
		wantErr string
	}{
		{"binds", connection, true, []int{1, 1}, true, ""},
		{"refuses", answers(func(request []byte) []byte {
			if request[0] == numExtension {
				return []byte{numFailure}
			}
			return appendKeys(nil, nil)
		}), true, []int{1, 1}, true, ""},
		{"Windows", windowsAgent(r), true, []int{1, 1}, true, ""},
		{"closes", closingAgent(r), false, []int{3, 1}, true, ""},
		{"was restarted", func(nc net.Conn) {
			if once.Add(1) > 1 {
				connection(nc)
			}
		}, true, []int{2, 1}, true, ""},
	} {
		dials := 0
		path, ended := listenAgent(t, false, tt.agent)
		d := Socket(path)
		dial := d.Dial
		d.Dial = func(ctx context.Context) (net.Conn, error) { dials++; return dial(ctx) }
		for i, want := range tt.dials {
			dials = 0
			conn, bound, err := d.Open(t.Context(), b)
			if err != nil {
				t.Fatalf("%s: %v", tt.name, err)
			}
			if bound != tt.bound || dials != want {
				t.Errorf("%s, time %d: bound %v after %d dials, want %v after %d", tt.name, i, bound, dials, tt.bound, want)
			}
			if _, err := NewClient(conn).List(t.Context()); err != nil {
				t.Errorf("%s: the connection is not usable: %v", tt.name, err)
			}
			conn.Close()
		}
		ended()
	}

	synctest.Test(t, func(t *testing.T) {
		var wg sync.WaitGroup
		d := &Dialer{Dial: func(context.Context) (net.Conn, error) {
			ours, agents := net.Pipe()
			wg.Go(func() { mute(agents) })
			return ours, nil
		}}
		begin := time.Now()
		if _, _, err := d.Open(t.Context(), b); err == nil || time.Since(begin) != bindLimit {
			t.Errorf("a mute agent: %v after %v", err, time.Since(begin))
		}
		wg.Wait()
		d.Dial = func(ctx context.Context) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }
		begin = time.Now()
		if _, _, err := d.Open(t.Context(), b); err == nil || time.Since(begin) != dialLimit {
			t.Errorf("an agent that can't be connected to: %v after %v", err, time.Since(begin))
		}
	})
}

// A new agent at the same place is asked again.
func TestDialerNewAgent(t *testing.T) {
	if Socket("").Identity == nil {
		t.Skip("pipes have nothing that tells one from the next")
	}
	r := ringWith(t, AddedKey{})
	b := &Binding{Session: session(t, testKeys.hosts[0], "id")}
	path, ended := listenAgent(t, false, closingAgent(r))
	d := Socket(path)
	if conn, bound, err := d.Open(t.Context(), b); err != nil || bound {
		t.Fatalf("bound %v, %v", bound, err)
	} else {
		conn.Close()
	}
	ended()
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	if _, _, err := d.Open(t.Context(), b); err == nil {
		t.Fatal("connected to nothing")
	}
	l, err := testnet.ListenLocal(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		nc, err := l.Accept()
		if err != nil {
			return
		}
		defer nc.Close()
		c := r.NewConnection()
		answers(func(request []byte) []byte { return c.Answer(context.Background(), request) })(nc)
	})
	conn, bound, err := d.Open(t.Context(), b)
	if err != nil || !bound {
		t.Fatalf("a new agent: bound %v, %v", bound, err)
	}
	conn.Close()
}
