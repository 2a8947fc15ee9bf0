package transport

import (
	"bytes"
	"context"
	"encoding/hex"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/adit-ssh/adit/internal/wire"
)

var update = flag.Bool("update", false, "record the transcripts anew, with the sshd that is installed")

// transcripts are handshakes with stock sshd, up to its answer to a login
// without proof. Replaying one checks every byte that we send, and that we take
// all that sshd sent.
var transcripts = []struct{ kex, cipher, mac string }{
	{"curve25519-sha256", "aes128-gcm@openssh.com", ""},
	{"curve25519-sha256@libssh.org", "aes256-gcm@openssh.com", ""},
	{"ecdh-sha2-nistp256", "chacha20-poly1305@openssh.com", ""},
	{"ecdh-sha2-nistp384", "aes128-ctr", "hmac-sha2-256-etm@openssh.com"},
	{"ecdh-sha2-nistp521", "aes192-ctr", "hmac-sha2-512-etm@openssh.com"},
	{"diffie-hellman-group14-sha256", "aes256-ctr", "hmac-sha2-256"},
	{"diffie-hellman-group16-sha512", "aes128-ctr", "hmac-sha2-512"},
	{"diffie-hellman-group18-sha512", "aes128-gcm@openssh.com", ""},
	{"diffie-hellman-group-exchange-sha256", "aes128-gcm@openssh.com", ""},
}

func TestTranscripts(t *testing.T) {
	for i, c := range transcripts {
		t.Run(c.kex+" "+c.cipher, func(t *testing.T) {
			cfg, file := transcriptConfig(i), transcriptFile(i)
			if *update {
				record(t, cfg, file)
				return
			}
			server, client := readTranscript(t, file)
			nc := newReplay(server)
			talk(t, nc, cfg)
			nc.mu.Lock()
			defer nc.mu.Unlock()
			if !bytes.Equal(nc.out.Bytes(), client) {
				t.Errorf("we send other bytes than when the transcript was recorded: %d, then %d", nc.out.Len(), len(client))
			}
			if len(nc.chunks) > 0 {
				t.Errorf("what the server sent last was not read: %x", nc.chunks)
			}
		})
	}
}

// talk is the conversation: handshake, service request, login without proof.
func talk(t *testing.T, nc net.Conn, cfg *Config) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	c, err := Client(ctx, nc, cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		msg  wire.Msg
		want byte
	}{
		{&wire.ServiceRequest{Service: wire.ServiceUserauth}, wire.NumServiceAccept},
		{&wire.UserauthRequest{User: "nobody", Service: wire.ServiceConnection, Method: wire.MethodNone}, wire.NumUserauthFailure},
	} {
		if err := c.WritePacket(step.msg.Append(nil), nil); err != nil {
			t.Fatal(err)
		}
		if p, err := c.ReadPacket(); err != nil || p[0] != step.want {
			t.Fatalf("got %v, %v, want message %d", p, err, step.want)
		}
	}
	if _, ok := c.PeerExtension(wire.ExtServerSigAlgs); !ok {
		t.Error("the server's EXT_INFO is missing")
	}
	c.end(ErrClosed)
}

// chunk is what one read got from the server, and how many bytes we had written
// by then.
type chunk struct {
	after int
	data  []byte
}

// replayConn gives recorded bytes, each once as much was written as when it was
// recorded, then waits to be closed, and keeps what is written.
type replayConn struct {
	mu     sync.Mutex
	cond   *sync.Cond
	chunks []chunk
	out    bytes.Buffer
	closed bool
}

func newReplay(chunks []chunk) *replayConn {
	c := &replayConn{chunks: chunks}
	c.cond = sync.NewCond(&c.mu)
	return c
}

func (c *replayConn) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.closed && (len(c.chunks) == 0 || c.out.Len() < c.chunks[0].after) {
		c.cond.Wait()
	}
	if c.closed {
		return 0, net.ErrClosed
	}
	n := copy(p, c.chunks[0].data)
	if c.chunks[0].data = c.chunks[0].data[n:]; len(c.chunks[0].data) == 0 {
		c.chunks = c.chunks[1:]
	}
	return n, nil
}

func (c *replayConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.cond.Broadcast()
	return c.out.Write(p)
}

func (c *replayConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.cond.Broadcast()
	return nil
}

func (c *replayConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *replayConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *replayConn) SetDeadline(time.Time) error      { return nil }
func (c *replayConn) SetReadDeadline(time.Time) error  { return nil }
func (c *replayConn) SetWriteDeadline(time.Time) error { return nil }

// recordConn keeps both directions.
type recordConn struct {
	net.Conn
	mu  sync.Mutex
	in  []chunk
	out bytes.Buffer
}

func (c *recordConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	if n > 0 {
		c.in = append(c.in, chunk{c.out.Len(), bytes.Clone(p[:n])})
	}
	return n, err
}

func (c *recordConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	c.out.Write(p)
	c.mu.Unlock()
	return c.Conn.Write(p)
}

// record runs the conversation with sshd and writes the transcript.
func record(t *testing.T, cfg *Config, file string) {
	t.Helper()
	dir := t.TempDir()
	key := filepath.Join(dir, "host")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v %s", err, out)
	}
	conf := filepath.Join(dir, "sshd_config")
	text := fmt.Sprintf("HostKey %s\nUsePAM no\nKexAlgorithms +diffie-hellman-group14-sha256,diffie-hellman-group-exchange-sha256\n", key)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	a, b := tcpPipe(t)
	f, err := b.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/usr/sbin/sshd", "-i", "-q", "-f", conf)
	cmd.Stdin, cmd.Stdout = f, f
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	f.Close()
	b.Close()
	rec := &recordConn{Conn: a}
	talk(t, rec, cfg)
	cmd.Wait()
	version, _, _ := strings.Cut(string(rec.in[0].data), "\r\n")
	var w strings.Builder
	fmt.Fprintf(&w, "# %s: kex %s, cipher %s\n", version, cfg.Kex[0], cfg.Ciphers[0])
	for _, c := range rec.in {
		fmt.Fprintf(&w, "server %d %x\n", c.after, c.data)
	}
	fmt.Fprintf(&w, "client %x\n", rec.out.Bytes())
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(w.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

func readTranscript(t testing.TB, file string) (server []chunk, client []byte) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		var c chunk
		if _, err := fmt.Sscanf(line, "server %d %x", &c.after, &c.data); err == nil {
			server = append(server, c)
		} else if digits, ok := strings.CutPrefix(strings.TrimSpace(line), "client "); ok {
			if client, err = hex.DecodeString(digits); err != nil {
				t.Fatal(err)
			}
		}
	}
	return server, client
}
