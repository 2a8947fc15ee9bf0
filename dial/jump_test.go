package dial

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/adit-ssh/adit/internal/testnet/dialtest"
)

// local is a jump host that is here.
type local struct {
	net.Dialer
	err    atomic.Pointer[error] // why it ended
	closed atomic.Int32
}

func (l *local) Err() error {
	if err := l.err.Load(); err != nil {
		return *err
	}
	return nil
}

func (l *local) Close() error { l.closed.Add(1); return nil }

func (l *local) jump() Jump {
	return Jump{"bastion", func(context.Context, string) (Through, error) { return l, nil }}
}

func TestJump(t *testing.T) { dialtest.Run(t, new(local).jump().Dial) }

// The login at the jump host ends with the connection, and when there is none.
// Errors name the host, and tell when it is the login that ended.
func TestJumpEnds(t *testing.T) {
	l := new(local)
	c, err := l.jump().Dial(t.Context(), listenLoopback(t))
	if err != nil {
		t.Fatal(err)
	}
	gone := errors.New("no answer for 45s")
	l.err.Store(&gone)
	c.(*jumpConn).Conn.Close()
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, gone) || err.Error() != "jump host bastion: no answer for 45s" {
		t.Errorf("read: got %v, want why the login ended", err)
	}
	if _, err := c.Write([]byte("x")); !errors.Is(err, gone) {
		t.Errorf("write: got %v, want why the login ended", err)
	}
	c.Close()
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) || errors.Is(err, gone) {
		t.Errorf("read after Close: got %v, want %v", err, net.ErrClosed)
	}
	if n := l.closed.Load(); n != 1 {
		t.Errorf("the login was closed %d times, want once", n)
	}
	refused := listenLoopback(t)
	if _, err := l.jump().Dial(t.Context(), strings.Replace(refused, "127.0.0.1", "127.0.0.1x", 1)); err == nil || l.closed.Load() != 2 {
		t.Errorf("got %v, and the login was closed %d times; want an error, and once more", err, l.closed.Load()-1)
	}
	inner := Jump{"bastion", func(context.Context, string) (Through, error) {
		return nil, &Error{Stage: StageConnect, Address: "b:22", Err: refusedErrno}
	}}
	_, err = inner.Dial(t.Context(), "db:22")
	if e, ok := errors.AsType[*Error](err); !ok || e.Stage != StageJump || !strings.Contains(e.Hint(), "nothing listens") {
		t.Errorf("got %v, want an error of the jump host with the inner one's hint", err)
	}
}

func TestJumpHost(t *testing.T) {
	inner := &Error{Stage: StageJump, Address: "inner", Err: errors.New("no")}
	for err, want := range map[error]string{
		errors.New("x"): "", &Error{Stage: StageConnect, Address: "db:22", Err: errors.New("no")}: "", inner: "inner",
		&Error{Stage: StageJump, Address: "outer", Err: inner}:                                                            "inner",
		&Error{Stage: StageJump, Address: "outer", Err: &Error{Stage: StageConnect, Address: "inner:22", Err: inner.Err}}: "outer",
	} {
		if got := JumpHost(err); got != want {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
}
