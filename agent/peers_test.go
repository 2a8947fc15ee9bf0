package agent

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/testnet"
	"github.com/adit-ssh/adit/internal/wire"
)

// testKeys are keys that all tests share: a user's, and hosts'.
var testKeys = struct {
	user, other gossh.Signer
	raw         ed25519.PrivateKey // of user
	hosts       []gossh.Signer
	hostRaw     []ed25519.PrivateKey
}{}

func init() {
	newKey := func() (ed25519.PrivateKey, gossh.Signer) {
		_, raw, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			panic("BUG: " + err.Error())
		}
		s, err := gossh.NewSignerFromKey(raw)
		if err != nil {
			panic("BUG: " + err.Error())
		}
		return raw, s
	}
	testKeys.raw, testKeys.user = newKey()
	_, testKeys.other = newKey()
	for range 4 {
		raw, s := newKey()
		testKeys.hosts, testKeys.hostRaw = append(testKeys.hosts, s), append(testKeys.hostRaw, raw)
	}
}

// session returns a session with a host, with the proof of it.
func session(t testing.TB, host gossh.Signer, id string) Session {
	t.Helper()
	sig, err := host.Sign(rand.Reader, []byte(id))
	if err != nil {
		t.Fatal(err)
	}
	return Session{HostKey: host.PublicKey().Marshal(), ID: []byte(id), Signature: appendSignature(nil, sig)[5:]}
}

// listenAgent serves each connection to a socket with handle, one after the other
// if serial. ended closes it and waits until all connections were closed by the
// other side.
func listenAgent(t testing.TB, serial bool, handle func(net.Conn)) (path string, ended func()) {
	t.Helper()
	var turn sync.Mutex
	return testnet.ServeLocal(t, func(nc net.Conn) {
		if serial {
			turn.Lock()
			defer turn.Unlock()
		}
		handle(nc)
	})
}

// answers serves an agent that gives the answers of one function. It ends the
// connection where that returns nil.
func answers(reply func(request []byte) []byte) func(net.Conn) {
	return func(nc net.Conn) {
		for {
			request, err := readFrame(nc)
			if err != nil {
				return
			}
			b := reply(request)
			if b == nil || writeFrame(nc, b) != nil {
				return
			}
		}
	}
}

// windowsAgent is Windows' (see the table of agents in /PROTOCOL.md): it checks a
// first binding, frames status twice, and closes on whatever it does not like.
func windowsAgent(keys *Keyring) func(net.Conn) {
	return func(nc net.Conn) {
		c := keys.NewConnection()
		status := func(ok bool) []byte {
			b := binary.BigEndian.AppendUint32(nil, 1)
			if ok {
				return append(b, numSuccess)
			}
			return append(b, numFailure)
		}
		answers(func(request []byte) []byte {
			switch request[0] {
			case numRequestKeys, numSignRequest:
				return c.Answer(context.Background(), request)
			case numAdd, numRemove, numRemoveAll:
				return status(c.Answer(context.Background(), request)[0] == numSuccess)
			case numExtension:
				p := wire.NewParser(request[1:])
				if p.String() == extSessionBind && c.Answer(context.Background(), request)[0] == numSuccess {
					return status(true)
				}
			}
			return nil
		})(nc)
	}
}

// closingAgent closes at the first binding, as agents before OpenSSH 8.9 did on
// Windows; otherwise it answers.
func closingAgent(keys *Keyring) func(net.Conn) {
	return func(nc net.Conn) {
		c := keys.NewConnection()
		answers(func(request []byte) []byte {
			if request[0] == numExtension {
				return nil
			}
			return c.Answer(context.Background(), request)
		})(nc)
	}
}

// ringWith returns a keyring that holds the user's key.
func ringWith(t testing.TB, limits AddedKey) *Keyring {
	t.Helper()
	r := &Keyring{}
	t.Cleanup(r.Close)
	limits.PrivateKey = testKeys.raw
	if limits.Comment == "" {
		limits.Comment = "user"
	}
	request, err := limits.append(nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.NewConnection().Answer(t.Context(), request); got[0] != numSuccess {
		t.Fatalf("the key was not added: %x", got)
	}
	return r
}

// duplex is one end of two pipes, so that the directions end separately.
type duplex struct {
	net.Conn
	r *io.PipeReader
	w *io.PipeWriter
}

func newDuplex() (a, b *duplex) {
	ar, bw := io.Pipe()
	br, aw := io.Pipe()
	return &duplex{r: ar, w: aw}, &duplex{r: br, w: bw}
}

func (d *duplex) Read(p []byte) (int, error)  { return d.r.Read(p) }
func (d *duplex) Write(p []byte) (int, error) { return d.w.Write(p) }
func (d *duplex) CloseWrite() error           { return d.w.Close() }
func (d *duplex) Close() error                { d.w.Close(); return d.r.Close() }
