package transport

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/algo"
	"github.com/adit-ssh/adit/internal/wire"
)

// rawPeer speaks to one of our halves by hand, in clear.
type rawPeer struct {
	t   *testing.T
	nc  net.Conn
	r   *bufio.Reader
	seq uint32
}

func (p *rawPeer) line(s string) { io.WriteString(p.nc, s) }

func (p *rawPeer) send(payload []byte) {
	slot := make([]byte, algo.Plain().SealedLen(len(payload)))
	copy(slot[5:], payload)
	p.nc.Write(algo.Plain().Seal(p.seq, slot, len(payload), bytes.NewReader(make([]byte, 64))))
	p.seq++
}

func (p *rawPeer) sendMsg(m wire.Msg) { p.send(m.Append(nil)) }

// kexInit is what a well-behaved peer of the other role would offer.
func (p *rawPeer) kexInit(server, strict bool) *wire.KexInit {
	cfg := &Config{}
	m := cfg.kexInit(false)
	m.HostKey = []string{"ssh-ed25519"}
	m.Kex = []string{"curve25519-sha256"}
	if strict && server {
		m.Kex = append(m.Kex, strictServer)
	} else if strict {
		m.Kex = append(m.Kex, strictClient)
	}
	return m
}

// disconnect reads until the peer's DISCONNECT and returns its reason, 0 when it
// closes without one.
func (p *rawPeer) disconnect() uint32 {
	for {
		var head [4]byte
		if _, err := io.ReadFull(p.r, head[:]); err != nil {
			return 0
		}
		n := binary.BigEndian.Uint32(head[:])
		if n > algo.MaxPacketLength {
			return 0 // a line of text
		}
		body := make([]byte, n)
		if _, err := io.ReadFull(p.r, body); err != nil {
			return 0
		}
		var m wire.Disconnect
		if wire.Parse(body[1:len(body)-int(body[0])], &m) == nil {
			return m.Reason
		}
	}
}

func TestHostilePeer(t *testing.T) {
	hello := func(p *rawPeer) { p.line("SSH-2.0-hostile\r\n") }
	for _, c := range []struct {
		name   string
		role   string // of the peer: "server", "client", or "" for both
		attack func(p *rawPeer, server bool)
		reason uint32 // of our DISCONNECT; 0 for none
		want   string // in our error
	}{
		{"closes at once", "", func(p *rawPeer, _ bool) {}, 0, "before its version line"},
		{"version 1.5", "", func(p *rawPeer, _ bool) { p.line("SSH-1.5-old\r\n") }, 0, "only protocol version 2.0"},
		{"null byte in version", "", func(p *rawPeer, _ bool) { p.line("SSH-2.0-a\x00b\r\n") }, 0, "null byte"},
		{"endless version", "", func(p *rawPeer, _ bool) { p.line("SSH-2.0-" + strings.Repeat("a", 10000)) }, 0, "longer than 255"},
		{"endless line before it", "server", func(p *rawPeer, _ bool) { p.line(strings.Repeat("a", 10000)) }, 0, "longer than 8192"},
		{"too many lines before it", "server", func(p *rawPeer, _ bool) { p.line(strings.Repeat("hello\r\n", 2000)) }, 0, "first 1024 lines"},
		{"HTTP", "client", func(p *rawPeer, _ bool) { p.line("GET / HTTP/1.1\r\n\r\n") }, 0, "does not speak SSH"},
		{"half a packet", "", func(p *rawPeer, _ bool) { hello(p); p.nc.Write([]byte{0, 0, 1, 4, 4, 20}) }, 0, "closed by the peer"},
		{"length over the limit", "", func(p *rawPeer, _ bool) { hello(p); p.nc.Write([]byte{0xff, 0xff, 0xff, 0xf0, 4, 20, 0, 0}) }, 2, "packet length"},
		{"length 0", "", func(p *rawPeer, _ bool) { hello(p); p.nc.Write(make([]byte, 16)) }, 2, "packet length"},
		{"length off the block", "", func(p *rawPeer, _ bool) {
			hello(p)
			p.nc.Write([]byte{0, 0, 0, 13, 4, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
		}, 2, "packet length"},
		{"padding over the packet", "", func(p *rawPeer, _ bool) {
			hello(p)
			p.nc.Write([]byte{0, 0, 0, 12, 200, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
		}, 2, "padding"},
		{"no KEXINIT", "", func(p *rawPeer, _ bool) { hello(p); p.sendMsg(&wire.ServiceRequest{Service: "ssh-userauth"}) }, 2, "SERVICE_REQUEST during a key exchange"},
		{"malformed KEXINIT", "", func(p *rawPeer, _ bool) { hello(p); p.send([]byte{wire.NumKexInit, 1, 2}) }, 2, "KEXINIT"},
		{"absurd name-list", "", func(p *rawPeer, server bool) {
			hello(p)
			m := p.kexInit(server, false)
			m.Kex = []string{strings.Repeat("x", 100000)}
			p.sendMsg(m)
		}, 2, "name-list"},
		{"nothing in common", "", func(p *rawPeer, server bool) {
			hello(p)
			m := p.kexInit(server, false)
			m.CipherClient = []string{"rot13"}
			p.sendMsg(m)
		}, 3, "cipher (client to server)"},
		{"IGNORE before KEXINIT, strict", "", func(p *rawPeer, server bool) {
			hello(p)
			p.sendMsg(&wire.Ignore{})
			p.sendMsg(p.kexInit(server, true))
		}, 2, "strict key exchange"},
		{"IGNORE in the exchange, strict", "", func(p *rawPeer, server bool) {
			hello(p)
			p.sendMsg(p.kexInit(server, true))
			p.sendMsg(&wire.Ignore{})
		}, 2, "IGNORE during a key exchange"},
		{"flood of IGNORE", "", func(p *rawPeer, server bool) {
			hello(p)
			p.sendMsg(p.kexInit(server, false))
			for range maxKexIgnored + 1 {
				p.sendMsg(&wire.Ignore{})
			}
		}, 2, "without meaning"},
		{"NEWKEYS too early", "", func(p *rawPeer, server bool) {
			hello(p)
			p.sendMsg(p.kexInit(server, true))
			p.sendMsg(&wire.NewKeys{})
		}, 2, "NEWKEYS where"},
		{"all-zero share", "client", func(p *rawPeer, server bool) {
			hello(p)
			p.sendMsg(p.kexInit(server, true))
			p.sendMsg(&wire.KexShareInit{Share: make([]byte, 32)})
		}, 3, "curve25519"},
		{"short share", "client", func(p *rawPeer, server bool) {
			hello(p)
			p.sendMsg(p.kexInit(server, true))
			p.sendMsg(&wire.KexShareInit{Share: []byte{9}})
		}, 3, "curve25519"},
		{"forged signature", "server", func(p *rawPeer, server bool) {
			hello(p)
			p.sendMsg(p.kexInit(server, true))
			key := testSigner(p.t)
			x, _ := algo.LookupKex("curve25519-sha256")
			share, err := x.New().Init((&Config{}).rand())
			if err != nil {
				p.t.Error(err)
			}
			sig, err := algo.SignHost((&Config{}).rand(), key, "ssh-ed25519", []byte("something else"))
			if err != nil {
				p.t.Error(err)
			}
			p.sendMsg(&wire.KexShareReply{HostKey: key.PublicKey().Marshal(), Share: share, Signature: sig})
		}, 9, "does not prove"},
		{"host key of another type", "server", func(p *rawPeer, server bool) {
			hello(p)
			p.sendMsg(p.kexInit(server, true))
			p.sendMsg(&wire.KexShareReply{HostKey: wire.AppendString(nil, "ssh-dss"), Share: bytes.Repeat([]byte{9}, 32), Signature: []byte{1}})
		}, 9, "host key"},
		{"disconnects", "", func(p *rawPeer, server bool) {
			hello(p)
			p.sendMsg(&wire.Disconnect{Reason: 12, Description: "go away\x1b[2J"})
		}, 0, "go away?[2J"},
	} {
		for _, role := range []string{"server", "client"} {
			if c.role != "" && c.role != role {
				continue
			}
			t.Run(c.name+"/"+role, func(t *testing.T) {
				ours, theirs := tcpPipe(t)
				p := &rawPeer{t: t, nc: theirs, r: bufio.NewReader(theirs)}
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				var wg sync.WaitGroup
				var err error
				wg.Go(func() {
					if role == "server" {
						_, err = Client(ctx, ours, &Config{CheckHostKey: accept})
					} else {
						_, err = Server(ctx, ours, &Config{HostKeys: []gossh.Signer{testSigner(t)}})
					}
				})
				c.attack(p, role == "server")
				theirs.(*net.TCPConn).CloseWrite()
				p.r.ReadString('\n') // our version line
				got := p.disconnect()
				wg.Wait()
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("got error %v, want %q in it", err, c.want)
				}
				if got != c.reason {
					t.Errorf("our DISCONNECT has reason %d, want %d (%v)", got, c.reason, err)
				}
			})
		}
	}
}

// TestSilentPeer: a peer that says nothing is given up when ctx ends.
func TestSilentPeer(t *testing.T) {
	a, _ := tcpPipe(t)
	ctx, cancel := context.WithTimeoutCause(t.Context(), 10*time.Millisecond, errors.New("too slow"))
	defer cancel()
	if _, err := Client(ctx, a, &Config{CheckHostKey: accept}); err == nil || !strings.HasSuffix(err.Error(), "too slow") {
		t.Errorf("got %v, want the context's cause", err)
	}
}

// TestUnfinishedRekey: a peer that does not finish a key exchange is given up.
func TestUnfinishedRekey(t *testing.T) {
	a, b := tcpPipe(t)
	c, _ := connect(t, a, b, Config{KexTimeout: 20 * time.Millisecond}, Config{})
	c.Rekey() // the other side does not read, so it never answers
	select {
	case <-c.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("the exchange stays open")
	}
	if err := c.Err(); !strings.Contains(err.Error(), "did not finish a key exchange") {
		t.Errorf("got %v", err)
	}
}

// TestAskWithoutReading: answers to a peer that does not read them do not pile up
// without bound.
func TestAskWithoutReading(t *testing.T) {
	a, b := net.Pipe()
	_, s := connect(t, a, b, Config{}, Config{})
	answer := (&wire.Pong{Data: make([]byte, 1000)}).Append(nil)
	for range (smallLaneCap+queueCap)/1000 + 1000 {
		if err := s.QueuePacket(answer); err != nil {
			return
		}
	}
	t.Error("the lane takes answers without end")
}

// deafConn fails all writes. Its reads wait until one has failed.
type deafConn struct {
	streamConn
	once          sync.Once
	failed, ended chan struct{}
}

func (c *deafConn) Write([]byte) (int, error) {
	c.once.Do(func() { close(c.failed) })
	return 0, syscall.EPIPE
}

func (c *deafConn) Read(p []byte) (int, error) {
	<-c.failed
	if len(c.in) > 0 {
		return c.streamConn.Read(p)
	}
	<-c.ended
	return 0, net.ErrClosed
}

func (c *deafConn) Close() error {
	close(c.ended)
	return nil
}

// TestWriteFails: a peer that sends DISCONNECT and closes makes our writes fail,
// maybe before we read. What it said is the error, if it said anything.
func TestWriteFails(t *testing.T) {
	bye := (&wire.Disconnect{Reason: wire.DisconnectTooManyConnections, Description: "full"}).Append(nil)
	for name, c := range map[string]struct {
		in   []byte
		want string
	}{
		"with DISCONNECT": {append([]byte("SSH-2.0-x\r\n"), sealPlain(bye)...), "full"},
		"without":         {[]byte("SSH-2.0-x\r\n"), "write: broken pipe"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				nc := &deafConn{streamConn: streamConn{in: c.in}, failed: make(chan struct{}), ended: make(chan struct{})}
				if _, err := Client(t.Context(), nc, &Config{CheckHostKey: accept}); err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("got %v, want %q in it", err, c.want)
				}
			})
		})
	}
}

// TestCloseAfterFailedWrite: where nothing leaves any more, Close and Abort do
// not wait for it.
func TestCloseAfterFailedWrite(t *testing.T) {
	for name, end := range map[string]func(c *Conn){
		"close": func(c *Conn) { c.Close() },
		"abort": func(c *Conn) { c.Abort(wire.DisconnectByApplication, "enough") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				nc := &deafConn{failed: make(chan struct{}), ended: make(chan struct{})}
				c := newConn(nc, &Config{}, false)
				c.WritePacket((&wire.Ignore{}).Append(nil), nil)
				<-nc.failed
				began := time.Now()
				end(c)
				c.end(ErrClosed)
				if took := time.Since(began); took > 0 {
					t.Errorf("took %v, want no wait", took)
				}
			})
		})
	}
}
