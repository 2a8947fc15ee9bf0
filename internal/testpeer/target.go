package testpeer

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/adit-ssh/adit/internal/testnet"
)

// Target is a TCP service that forwards lead to.
type Target struct {
	// Addr is host:port on loopback.
	Addr string

	mu       sync.Mutex
	accepted int // guarded by mu
}

// Accepted returns how many connections came so far.
func (s *Target) Accepted() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accepted
}

// serve starts a target that runs handle for each connection and closes it
// then. At the test's end all of them are closed and waited for.
func serve(t testing.TB, handle func(*net.TCPConn)) *Target {
	t.Helper()
	s := &Target{}
	conns, over := map[*net.TCPConn]bool{}, false // guarded by s.mu
	s.Addr = testnet.ServeTCP(t, func(c *net.TCPConn) {
		s.mu.Lock()
		s.accepted++
		conns[c] = true
		late := over
		s.mu.Unlock()
		if late {
			return
		}
		handle(c)
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(conns, c)
	})
	t.Cleanup(func() { // before ServeTCP waits for them
		s.mu.Lock()
		defer s.mu.Unlock()
		over = true
		for c := range conns {
			c.Close()
		}
	})
	return s
}

// What a client asks of a HashTarget: one byte and a length of 8.
const (
	opUpload   = 'U' // the client sends that many bytes, the target their SHA-256
	opDownload = 'D' // the target sends that many bytes, then their SHA-256
	opHeader   = 9
)

// HashTarget is the target of Upload and Download.
func HashTarget(t testing.TB) *Target {
	t.Helper()
	return serve(t, func(c *net.TCPConn) {
		var h [opHeader]byte
		if _, err := io.ReadFull(c, h[:]); err != nil {
			return
		}
		n := int64(binary.BigEndian.Uint64(h[1:]))
		sum := sha256.New()
		switch h[0] {
		case opUpload:
			if _, err := io.CopyN(sum, c, n); err != nil {
				return
			}
		case opDownload:
			if _, err := io.CopyN(io.MultiWriter(c, sum), noise(n), n); err != nil {
				return
			}
		}
		c.Write(sum.Sum(nil))
		io.Copy(io.Discard, c) // let the client close first
	})
}

// Upload sends n pseudo-random bytes to a HashTarget and fails unless the
// target received exactly them. It does not close c.
func Upload(c io.ReadWriter, n int64) error {
	if err := ask(c, opUpload, n); err != nil {
		return err
	}
	sum := sha256.New()
	sent, err := io.CopyN(c, io.TeeReader(noise(n), sum), n)
	if err != nil {
		return fmt.Errorf("upload: after %d of %d bytes: %w", sent, n, err)
	}
	return compareSum(c, sum.Sum(nil))
}

// Download receives n pseudo-random bytes from a HashTarget and fails unless
// they are what the target sent. It does not close c.
func Download(c io.ReadWriter, n int64) error {
	if err := ask(c, opDownload, n); err != nil {
		return err
	}
	sum := sha256.New()
	got, err := io.CopyN(sum, c, n)
	if err != nil {
		return fmt.Errorf("download: after %d of %d bytes: %w", got, n, err)
	}
	return compareSum(c, sum.Sum(nil))
}

func ask(c io.Writer, op byte, n int64) error {
	h := binary.BigEndian.AppendUint64([]byte{op}, uint64(n))
	if _, err := c.Write(h); err != nil {
		return fmt.Errorf("ask the target: %w", err)
	}
	return nil
}

func compareSum(c io.Reader, want []byte) error {
	got := make([]byte, sha256.Size)
	if _, err := io.ReadFull(c, got); err != nil {
		return fmt.Errorf("read the target's SHA-256: %w", err)
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("bytes changed on the way: SHA-256 %x, want %x", got, want)
	}
	return nil
}

// noise is an endless stream of bytes that no compression shortens, the same
// for the same seed.
func noise(seed int64) io.Reader {
	var key [32]byte
	binary.BigEndian.PutUint64(key[:], uint64(seed))
	return rand.NewChaCha8(key)
}

// EchoTarget sends back what it gets; EOF too, after the last byte.
func EchoTarget(t testing.TB) *Target {
	t.Helper()
	return serve(t, func(c *net.TCPConn) {
		io.Copy(c, c)
		c.CloseWrite()
	})
}

// HalfClose is what Echo needs besides reading and writing.
type HalfClose interface {
	io.ReadWriter
	CloseWrite() error
}

// Echo sends n bytes to an EchoTarget while it reads, then EOF, and fails unless
// exactly they come back with EOF behind.
func Echo(c HalfClose, n int64) error {
	var sent error
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := io.CopyN(c, noise(n), n)
		sent = errors.Join(err, c.CloseWrite())
	})
	got, want := sha256.New(), sha256.New()
	k, err := io.Copy(got, c)
	wg.Wait()
	if err := errors.Join(err, sent); err != nil {
		return fmt.Errorf("echo: after %d of %d bytes: %w", k, n, err)
	}
	io.CopyN(want, noise(n), n)
	if k != n || !bytes.Equal(got.Sum(nil), want.Sum(nil)) {
		return fmt.Errorf("echo: %d bytes came back, want the %d that were sent", k, n)
	}
	return nil
}

// ResetTarget waits for a byte and then resets the connection (RST).
func ResetTarget(t testing.TB) *Target {
	t.Helper()
	return serve(t, func(c *net.TCPConn) {
		io.ReadFull(c, make([]byte, 1))
		c.SetLinger(0)
	})
}

// SilentTarget takes connections and never reads from them nor writes. They end
// with the test.
func SilentTarget(t testing.TB) *Target {
	t.Helper()
	stop := make(chan struct{})
	s := serve(t, func(*net.TCPConn) { <-stop })
	t.Cleanup(func() { close(stop) }) // runs before the target waits
	return s
}

// GreetingTarget sends a text and closes, without waiting for anything: the
// shape of protocols in which the server speaks first.
func GreetingTarget(t testing.TB, text string) *Target {
	t.Helper()
	return serve(t, func(c *net.TCPConn) {
		io.WriteString(c, text)
		c.CloseWrite()
		c.SetReadDeadline(time.Now().Add(patience))
		io.Copy(io.Discard, c)
	})
}

// RefusedAddr is a loopback address that refuses connections until the test
// ends: its port belongs to a connection, so nobody else can listen there.
func RefusedAddr(t testing.TB) string {
	t.Helper()
	l := listen(t)
	defer l.Close()
	c, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	held, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		held.Close()
	})
	return c.LocalAddr().String()
}
