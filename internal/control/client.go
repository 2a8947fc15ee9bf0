//go:build unix

package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/adit-ssh/adit/internal/forward"
)

// ConnectError is a control socket that can't be connected to. Its text is
// OpenSSH's.
type ConnectError struct {
	Path string
	Err  error // ENOENT: there is none; ECONNREFUSED: its master has ended
}

func (e *ConnectError) Error() string {
	return fmt.Sprintf("Control socket connect(%.100s): %s", e.Path, capital(e.Err))
}

// Unwrap returns the system's error.
func (e *ConnectError) Unwrap() error { return e.Err }

// capital is a system error as C prints it.
func capital(err error) string {
	text := err.Error()
	if errno, ok := errors.AsType[unix.Errno](err); ok {
		text = errno.Error()
	}
	return strings.ToUpper(text[:1]) + text[1:]
}

// whatStdio names MUX_C_NEW_STDIO_FWD.
const whatStdio = "stdio forwarding request"

// RefusedError is a master that will not do what it was asked to. Its text is
// OpenSSH's.
type RefusedError struct {
	What   string // "session request"
	Reason string // the master's words, printable
	Denied bool   // by the person that was asked
}

func (e *RefusedError) Error() string {
	if e.Denied {
		return fmt.Sprintf("Master refused %s: %s", e.What, e.Reason)
	}
	what := e.What
	if what == whatStdio {
		what = "Stdio forwarding request"
	}
	return fmt.Sprintf("%s failed: %s", what, e.Reason)
}

// Client is a connection to a master. Its methods are called one after the other.
type Client struct {
	conn *conn
	next uint32 // the request's number
}

// Dial connects to a master. If there is none, the error is a *ConnectError; a
// path that is too long is a *PathError. ctx bounds Dial only.
func Dial(ctx context.Context, path string) (*Client, error) {
	if len(path) >= maxPath {
		return nil, &PathError{path, maxPath}
	}
	nc, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if errno, ok := errors.AsType[unix.Errno](err); ok {
			err = errno
		}
		return nil, &ConnectError{path, err}
	}
	c := &Client{conn: &conn{c: nc.(*net.UnixConn)}}
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	err = c.greet()
	if !stop() && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("control socket %s: %w", path, err)
	}
	return c, nil
}

func (c *Client) greet() error {
	if err := c.conn.send(message{Kind: kindHello, Value: version}); err != nil {
		return err
	}
	m, err := c.conn.receive()
	if err != nil {
		return fmt.Errorf("the master's hello: %w", cut(err))
	}
	if m.Kind != kindHello {
		return fmt.Errorf("the master said message 0x%08x where a hello is due", uint32(m.Kind))
	}
	return nil
}

// Close leaves the master; what it runs for this client ends.
func (c *Client) Close() error { return c.conn.c.Close() }

// ask sends a request, with descriptors if it takes any, and returns the answer.
// what names the request in errors.
func (c *Client) ask(what string, m message, files ...*os.File) (*message, error) {
	m.ID = c.next
	c.next++
	err := c.conn.send(m)
	if err == nil {
		err = c.conn.sendFiles(files...)
	}
	if err != nil {
		return nil, fmt.Errorf("send the %s: %w", what, err)
	}
	r, err := c.conn.receive()
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the answer to the %s: %w", what, cut(err))
	case r.ID != m.ID:
		return nil, fmt.Errorf("%s: out of sequence reply: request %d, reply to %d", what, m.ID, r.ID)
	case r.Kind == kindPermissionDenied, r.Kind == kindFailure:
		return nil, &RefusedError{what, printable(r.Reason), r.Kind == kindPermissionDenied}
	}
	return r, nil
}

// expect is ask for an answer of one kind.
func (c *Client) expect(what string, k kind, m message, files ...*os.File) (*message, error) {
	r, err := c.ask(what, m, files...)
	if err == nil && r.Kind != k {
		err = unexpected(what, r)
	}
	return r, err
}

func unexpected(what string, r *message) error {
	return fmt.Errorf("%s: unexpected response from master 0x%08x", what, uint32(r.Kind))
}

// printable is a master's text, fit for a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}

// Alive asks for the master's process.
func (c *Client) Alive() (pid int, err error) {
	r, err := c.expect("alive check", kindAlive, message{Kind: kindAliveCheck})
	if err != nil {
		return 0, err
	}
	return int(r.Value), nil
}

// Terminate has the master end. That it has ended already is no error.
func (c *Client) Terminate() error {
	_, err := c.expect("termination request", kindOK, message{Kind: kindTerminate})
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

// StopListening has the master take no further clients.
func (c *Client) StopListening() error {
	_, err := c.expect("stop listening request", kindOK, message{Kind: kindStopListening})
	return err
}

// Forward has the master open a forward. port is the one that was chosen, where
// that was left to the listening side; 0 if it was not.
func (c *Client) Forward(s forward.Spec) (port int, err error) {
	r, err := c.ask("forwarding request", message{Kind: kindOpenForward, Forward: requestOf(s)})
	switch {
	case err != nil:
		return 0, err
	case r.Kind == kindRemotePort:
		return int(r.Value), nil
	case r.Kind != kindOK:
		return 0, unexpected("forwarding request", r)
	}
	return 0, nil
}

// Cancel has the master end a forward that was asked for in the same words.
func (c *Client) Cancel(s forward.Spec) error {
	_, err := c.expect("forwarding request", kindOK, message{Kind: kindCloseForward, Forward: requestOf(s)})
	return err
}

// Session is what to run at the server.
type Session struct {
	// Command is a command line, or with Subsystem its name. Empty is the shell.
	Command   string
	Subsystem bool
	// TTY wants a pseudo-terminal of type Term. The first file is the terminal; the
	// master reads its modes, so it must not be raw yet.
	TTY  bool
	Term string
	// Agent wants the agent to be forwarded.
	Agent bool
	// Escape is the escape character; negative for none. The master obeys it.
	Escape int
	// Env are variables, NAME=value, of which the master lets some through.
	Env []string
}

// Passenger is a session or a connection that the master runs on our descriptors.
type Passenger struct {
	c   *Client
	id  uint32
	pid int
}

// Start has the master run a session on standard input, output and error.
func (c *Client) Start(s Session, in, out, err *os.File) (*Passenger, error) {
	r := &sessionRequest{TTY: s.TTY, Agent: s.Agent, Subsystem: s.Subsystem, Escape: noEscape, Term: s.Term, Command: s.Command, Env: s.Env}
	if s.Escape >= 0 {
		r.Escape = uint32(s.Escape)
	}
	return c.start("session request", message{Kind: kindNewSession, Session: r}, in, out, err)
}

// Stdio has the master connect in and out with host and port, or the socket at
// path, as the server reaches them (-W).
func (c *Client) Stdio(s forward.Spec, in, out *os.File) (*Passenger, error) {
	r := &stdioRequest{Host: s.Host, Port: uint32(s.HostPort)}
	if s.TargetPath != "" {
		r = &stdioRequest{Host: s.TargetPath, Port: pathPort}
	}
	return c.start(whatStdio, message{Kind: kindNewStdio, Stdio: r}, in, out)
}

func (c *Client) start(what string, m message, files ...*os.File) (*Passenger, error) {
	pid, err := c.Alive()
	if err != nil {
		return nil, err
	}
	r, err := c.expect(what, kindSessionOpened, m, files...)
	if err != nil {
		return nil, err
	}
	return &Passenger{c, r.Value, pid}, nil
}

// ErrNoStatus is a session that ended without an exit status: the command died by
// a signal, or the master has ended.
var ErrNoStatus = errors.New("the master did not say how the session ended")

// Wait waits for the session's end and returns its exit status. Without one the
// error is ErrNoStatus, which for Stdio is as it should be. cooked is called if
// there is no terminal after all. When ctx is done, the master ends the session.
func (p *Passenger) Wait(ctx context.Context, cooked func()) (status int, err error) {
	stop := context.AfterFunc(ctx, func() { p.c.Close() })
	defer stop()
	err = ErrNoStatus
	for {
		m, rerr := p.c.conn.receive()
		switch {
		case ctx.Err() != nil:
			return 0, context.Cause(ctx)
		case rerr == io.EOF || rerr != nil && hungUp(rerr):
			return status, err
		case rerr != nil:
			return 0, fmt.Errorf("read from the master: %w", rerr)
		case m.Kind == kindExit && m.ID == p.id && err != nil:
			status, err = int(m.Value), nil
		case m.Kind == kindTTYAllocFail && m.ID == p.id && cooked != nil:
			cooked()
		default:
			return 0, unexpected("session", m)
		}
	}
}

// WindowChanged tells the master that the terminal's size is another, as OpenSSH
// does: with the signal that tells us.
func (p *Passenger) WindowChanged() {
	if p.pid > 1 {
		unix.Kill(p.pid, unix.SIGWINCH)
	}
}

// Proxy has the master carry the connection protocol of our own (-O proxy), and
// returns the connection for it, which package proxied frames. The Client is of no
// use any more.
func (c *Client) Proxy() (net.Conn, error) {
	if _, err := c.expect("proxy request", kindProxyOpened, message{Kind: kindProxy}); err != nil {
		return nil, err
	}
	return c.conn.c, nil
}

// Await waits until the master has ended, which is an error, or ctx is done.
func (c *Client) Await(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	_, err := c.conn.read()
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err == nil:
		return errors.New("the master speaks without being asked")
	}
	return fmt.Errorf("the master has ended: %w", cut(err))
}
