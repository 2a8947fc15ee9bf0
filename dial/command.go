package dial

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Command dials by running a program, whose standard input and output carry the
// connection (ssh_config: ProxyCommand). It has two pipes, as with OpenSSH.
//
// Dial returns as soon as the program runs. If that ends without having carried
// anything, or with an exit status that is not 0, Read returns an *Error with a
// *CommandError, which quotes what it said.
type Command struct {
	// Line is what the shell runs, with all tokens expanded. The shell becomes
	// the program ("exec"), so that nothing but the first command of a list is
	// run. On Windows there is no shell.
	Line string
	// Shell is the program that is given -c and the line. "" means $SHELL, and
	// /bin/sh without that.
	Shell string
	// Name is what errors call the command. "" means its first word: what stands
	// behind it may hold a password.
	Name string
	// Stderr receives what the program writes to standard error, as it is. Nil
	// drops it.
	Stderr io.Writer
}

func (d Command) name() string {
	if d.Name != "" {
		return d.Name
	}
	first, _, _ := strings.Cut(strings.TrimSpace(d.Line), " ")
	return printable(first)
}

func (d Command) fail(err error) *Error {
	return &Error{Stage: StageCommand, Address: d.name(), Err: err}
}

// Dial runs the program. The connection has deadlines and CloseWrite; Close ends
// the program: it gets SIGHUP, SIGTERM half a second later and SIGKILL after
// another. The address is not used: the line names it.
func (d Command) Dial(ctx context.Context, _ string) (net.Conn, error) {
	if ctx.Err() != nil {
		return nil, d.fail(context.Cause(ctx))
	}
	stdin, w, err := os.Pipe()
	if err != nil {
		return nil, d.fail(plain(err))
	}
	r, stdout, err := os.Pipe()
	if err != nil {
		stdin.Close()
		w.Close()
		return nil, d.fail(plain(err))
	}
	step := begin(ctx, StageCommand, d.name())
	p, err := d.start(stdin, stdout, d.Stderr)
	step.end(err)
	if err != nil {
		r.Close()
		w.Close()
		return nil, d.fail(err)
	}
	return newPipeConn(r, w, commandAddr(d.name()), &carrier{p: p, fail: d.fail}), nil
}

// commandAddr is the address of both ends.
type commandAddr string

func (commandAddr) Network() string  { return "command" }
func (a commandAddr) String() string { return string(a) }

// reader and writer are the halves of a pipeConn: pipes, or what stands in for
// those that know no deadlines.
type reader interface {
	io.ReadCloser
	SetReadDeadline(time.Time) error
}

type writer interface {
	io.WriteCloser
	SetWriteDeadline(time.Time) error
}

// pipeConn is a connection that comes by one descriptor and leaves by another.
type pipeConn struct {
	// Immutable.
	in      reader
	out     writer
	addr    net.Addr
	carrier *carrier // nil if nobody is behind it that we started

	// Atomic.
	some   atomic.Bool // something was read
	closed atomic.Bool // Close was called

	close sync.Once
}

// newPipeConn makes a connection of two files, which it owns.
func newPipeConn(r, w *os.File, addr net.Addr, by *carrier) *pipeConn {
	c := &pipeConn{in: r, out: w, addr: addr, carrier: by}
	if errors.Is(r.SetReadDeadline(time.Time{}), os.ErrNoDeadline) {
		c.in = pumpIn(r)
	}
	if errors.Is(w.SetWriteDeadline(time.Time{}), os.ErrNoDeadline) {
		c.out = pumpOut(w)
	}
	return c
}

// Read reads what the program wrote. See Command for how it ends.
func (c *pipeConn) Read(b []byte) (int, error) {
	n, err := c.in.Read(b)
	switch {
	case n > 0:
		c.some.Store(true)
		return n, nil
	case err == nil:
		return 0, nil
	case c.closed.Load():
		return 0, c.opError("read", net.ErrClosed)
	case err == io.EOF:
		if c.carrier != nil {
			err = c.carrier.ended(c.some.Load())
		}
		return 0, err
	}
	return 0, c.opError("read", err)
}

// Write writes to the program's standard input.
func (c *pipeConn) Write(b []byte) (int, error) {
	n, err := c.out.Write(b)
	if err != nil {
		err = c.opError("write", err)
	}
	return n, err
}

// opError gives errors of files the form of net's.
func (c *pipeConn) opError(op string, err error) error {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		err = path.Err
	}
	if errors.Is(err, os.ErrClosed) || errors.Is(err, io.ErrClosedPipe) {
		err = net.ErrClosed
	}
	return &net.OpError{Op: op, Net: c.addr.Network(), Addr: c.addr, Err: err}
}

// CloseWrite ends the program's standard input.
func (c *pipeConn) CloseWrite() error { return c.out.Close() }

// Close ends the connection and the program. It takes about a second if the
// program does not want to end.
func (c *pipeConn) Close() error {
	c.close.Do(func() {
		c.closed.Store(true)
		c.in.Close()
		c.out.Close()
		if c.carrier != nil {
			c.carrier.p.end()
		}
		for _, half := range []any{c.in, c.out} {
			if p, ok := half.(*pump); ok {
				p.end()
			}
		}
	})
	return nil
}

// LocalAddr returns the command's name.
func (c *pipeConn) LocalAddr() net.Addr { return c.addr }

// RemoteAddr returns the command's name.
func (c *pipeConn) RemoteAddr() net.Addr { return c.addr }

// SetDeadline sets both deadlines.
func (c *pipeConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline sets the time after which reads fail; zero is never.
func (c *pipeConn) SetReadDeadline(t time.Time) error { return c.in.SetReadDeadline(t) }

// SetWriteDeadline sets the time after which writes fail; zero is never.
func (c *pipeConn) SetWriteDeadline(t time.Time) error { return c.out.SetWriteDeadline(t) }

// OutConn returns the descriptor that Write writes to; nil if that is more than
// one system call away. What is written there by other ways is the same as what
// is given to Write.
func (c *pipeConn) OutConn() syscall.Conn {
	f, _ := c.out.(syscall.Conn)
	return f
}

// carrier is the program behind a connection.
type carrier struct {
	p    *process
	fail func(error) *Error
}

// ended says why the program's output ended: io.EOF if that is in order, having
// carried something.
func (c *carrier) ended(some bool) error {
	e := c.p.outcome("it closed its standard output, and still runs")
	if some && (e.Status == 0 || e.Status == -1 && e.Signal == nil) {
		return io.EOF
	}
	if !some && e.Status == 0 {
		e.what = fmt.Sprintf("%s before anything came through it", e.what)
	}
	return c.fail(e)
}
