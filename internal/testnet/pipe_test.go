package testnet

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/nettest"
)

func TestPipeIsANetConn(t *testing.T) {
	for name, o := range map[string]Options{
		"plain":   {},
		"small":   {Buffer: 7},
		"latency": {Latency: time.Microsecond},
		"byte":    {MaxRead: 1000, Buffer: 5000},
	} {
		t.Run(name, func(t *testing.T) {
			nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
				a, b := Pipe(o)
				return a, b, func() { a.Close(); b.Close() }, nil
			})
		})
	}
}

func TestHalfClose(t *testing.T) {
	a, b := Pipe(Options{})
	write(t, a, "question")
	if err := a.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, b); got != "question" {
		t.Errorf("b read %q", got)
	}
	write(t, b, "answer")
	b.Close()
	if got := readAll(t, a); got != "answer" {
		t.Errorf("a read %q", got)
	}
	if _, err := a.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("write after CloseWrite: %v, want net.ErrClosed", err)
	}
}

func TestWriteToClosedPeer(t *testing.T) {
	a, b := Pipe(Options{})
	b.Close()
	if _, err := a.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("write: %v, want EPIPE", err)
	}
	if _, err := a.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("read: %v, want EOF", err)
	}
}

func TestWriteWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := Pipe(Options{Buffer: 10})
		a.SetWriteDeadline(time.Now().Add(time.Second))
		n, err := a.Write(make([]byte, 25))
		if n != 10 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Write = %d, %v; want 10 bytes and the deadline", n, err)
		}
		a.SetWriteDeadline(time.Time{})
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := a.Write(make([]byte, 25)); err != nil {
				t.Errorf("write: %v", err)
			}
		})
		if _, err := io.ReadFull(b, make([]byte, 35)); err != nil {
			t.Error(err)
		}
		wg.Wait()
	})
}

func TestLatencyAndBandwidth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := Pipe(Options{Latency: 50 * time.Millisecond, Bandwidth: 1000})
		start := time.Now()
		write(t, a, string(make([]byte, 100)))
		write(t, a, string(make([]byte, 100)))
		read(t, b, 100)
		if got, want := time.Since(start), 150*time.Millisecond; got != want {
			t.Errorf("the first 100 bytes took %v, want %v", got, want)
		}
		read(t, b, 100)
		if got, want := time.Since(start), 250*time.Millisecond; got != want {
			t.Errorf("the second 100 bytes took %v, want %v", got, want)
		}
		a.Close()
		if _, err := b.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("read: %v, want EOF", err)
		}
		if got, want := time.Since(start), 300*time.Millisecond; got != want {
			t.Errorf("EOF took %v, want %v", got, want)
		}
	})
}

func TestReadDeadlineWakesReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := Pipe(Options{Latency: time.Hour})
		write(t, b, "late")
		start := time.Now()
		a.SetReadDeadline(start.Add(time.Minute))
		if _, err := a.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read: %v, want the deadline", err)
		}
		if got := time.Since(start); got != time.Minute {
			t.Errorf("woke after %v, want 1m", got)
		}
	})
}

func TestCutAfter(t *testing.T) {
	a, b := Pipe(Options{})
	a.CutAfter(5)
	n, err := a.Write([]byte("0123456789"))
	if n != 5 || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("Write = %d, %v; want 5 and ECONNRESET", n, err)
	}
	if _, err := b.Read(make([]byte, 10)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read: %v, want ECONNRESET", err)
	}
}

func TestCorruptAt(t *testing.T) {
	a, b := Pipe(Options{})
	a.CorruptAt(12)
	write(t, a, "0123456789")
	write(t, a, "abcdef")
	a.Close()
	if got, want := readAll(t, b), "0123456789ab"+string([]byte{'c' | 0x80})+"def"; got != want {
		t.Errorf("read %q, want %q", got, want)
	}
}

func TestStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := Pipe(Options{})
		a.StallAfter(3)
		write(t, a, "012345")
		a.Close()
		got := make([]byte, 10)
		n, err := b.Read(got)
		if string(got[:n]) != "012" || err != nil {
			t.Errorf("Read = %q, %v; want the bytes before the stall", got[:n], err)
		}
		b.SetReadDeadline(time.Now().Add(time.Hour))
		if n, err := b.Read(got); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Read = %d, %v during a stall; want the deadline", n, err)
		}
		b.SetReadDeadline(time.Time{})
		time.AfterFunc(time.Minute, a.Resume)
		if got := readAll(t, b); got != "345" {
			t.Errorf("after the stall: %q, want 345", got)
		}
	})
}

func TestStallNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := Pipe(Options{})
		write(t, a, "012")
		a.StallNow()
		b.SetReadDeadline(time.Now().Add(time.Second))
		if n, err := b.Read(make([]byte, 10)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Read = %d, %v during a stall; want the deadline", n, err)
		}
		if got := a.Unread(); got != 3 {
			t.Errorf("Unread = %d, want 3", got)
		}
		a.Resume()
		b.SetReadDeadline(time.Time{})
		read(t, b, 3)
		a.StallNow()
		a.Close()
		b.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := b.Read(make([]byte, 10)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Read: %v; want the deadline, because EOF is stalled too", err)
		}
	})
}

func TestListener(t *testing.T) {
	l := Listen(Options{})
	var wg sync.WaitGroup
	wg.Go(func() {
		c, err := l.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		io.Copy(c, c)
		c.Close()
	})
	c, err := l.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	write(t, c, "hello")
	c.CloseWrite()
	if got := readAll(t, c); got != "hello" {
		t.Errorf("echo %q", got)
	}
	wg.Wait()
	l.Close()
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept: %v, want net.ErrClosed", err)
	}
	if _, err := l.Dial(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("dial: %v, want net.ErrClosed", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Listen(Options{}).Dial(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("dial: %v, want context.Canceled", err)
	}
}

func write(t *testing.T, w io.Writer, s string) {
	t.Helper()
	if n, err := io.WriteString(w, s); err != nil || n != len(s) {
		t.Fatalf("Write = %d, %v; want %d", n, err, len(s))
	}
}

func read(t *testing.T, r io.Reader, n int) string {
	t.Helper()
	b := make([]byte, n)
	if n, err := io.ReadFull(r, b); err != nil {
		t.Fatalf("read: %v after %d bytes", err, n)
	}
	return string(b)
}

func readAll(t *testing.T, r io.Reader) string {
	t.Helper()
	var b bytes.Buffer
	if _, err := b.ReadFrom(r); err != nil {
		t.Fatalf("read all: %v after %q", err, b.String())
	}
	return b.String()
}
