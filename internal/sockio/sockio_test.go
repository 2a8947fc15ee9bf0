//go:build linux

package sockio

import (
	"bytes"
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// pair returns the two ends of a stream.
func pair(t *testing.T) (a, b uintptr) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fds[0]); unix.Close(fds[1]) })
	return uintptr(fds[0]), uintptr(fds[1])
}

func TestPieces(t *testing.T) {
	a, b := pair(t)
	n, err := Send(a, [][]byte{[]byte("one"), nil, []byte("two"), []byte("three")})
	if n != 11 || err != nil {
		t.Fatalf("Send: %d, %v; want 11 bytes", n, err)
	}
	x, y := make([]byte, 4), make([]byte, 100)
	n, err = Recv(b, [][]byte{x, y})
	if n != 11 || err != nil || string(x)+string(y[:7]) != "onetwothree" {
		t.Fatalf("Recv: %d, %v, %q %q", n, err, x, y[:max(n-4, 0)])
	}
}

func TestNothingYet(t *testing.T) {
	_, b := pair(t)
	if n, err := Recv(b, [][]byte{make([]byte, 1)}); n != 0 || err != unix.EAGAIN {
		t.Errorf("Recv of an empty socket: %d, %v; want EAGAIN", n, err)
	}
}

func TestEnd(t *testing.T) {
	a, b := pair(t)
	if err := unix.Shutdown(int(a), unix.SHUT_WR); err != nil {
		t.Fatal(err)
	}
	if n, err := Recv(b, [][]byte{make([]byte, 1)}); n != 0 || err != nil {
		t.Errorf("Recv at the end: %d, %v; want 0, nil", n, err)
	}
	if err := unix.Shutdown(int(a), unix.SHUT_RD); err != nil {
		t.Fatal(err)
	}
	if _, err := Send(b, [][]byte{{1}}); !errors.Is(err, unix.EPIPE) {
		t.Errorf("Send to nobody: %v; want EPIPE", err)
	}
}

// TestFull sends until the socket is full: what it took must arrive, and
// nothing else, with more slices than fit into one call.
func TestFull(t *testing.T) {
	a, b := pair(t)
	var want []byte
	bufs := make([][]byte, MaxBufs+8)
	for i := range bufs {
		bufs[i] = bytes.Repeat([]byte{byte(i)}, 1000)
	}
	for {
		n, err := Send(a, bufs)
		if err == unix.EAGAIN {
			break
		}
		if err != nil || n == 0 || n > MaxBufs*1000 {
			t.Fatalf("Send: %d, %v", n, err)
		}
		want = append(want, bytes.Join(bufs, nil)[:n]...)
	}
	var got []byte
	for {
		p := make([]byte, 1<<16)
		n, err := Recv(b, [][]byte{p[:1], p[1:]})
		if err == unix.EAGAIN {
			break
		}
		if err != nil || n == 0 {
			t.Fatalf("Recv: %d, %v", n, err)
		}
		got = append(got, p[:n]...)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%d bytes arrived of %d, or others", len(got), len(want))
	}
}

func TestNoAllocs(t *testing.T) {
	a, b := pair(t)
	out, in := [][]byte{make([]byte, 64), make([]byte, 64)}, [][]byte{make([]byte, 128)}
	if n := testing.AllocsPerRun(100, func() { Send(a, out); Recv(b, in) }); n != 0 {
		t.Errorf("%v allocations to send and receive, want none", n)
	}
}
