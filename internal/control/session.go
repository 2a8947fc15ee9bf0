//go:build unix

package control

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/internal/session"
	"github.com/adit-ssh/adit/internal/wire"
)

// newSession answers MUX_C_NEW_SESSION.
func (c *client) newSession(id uint32, r *sessionRequest) error {
	fds, err := c.passed(id, 3, fmt.Sprintf("Allow shared connection to %s? ", c.m.cfg.Host))
	if fds == nil {
		return err
	}
	var pty *wire.PtyReq
	if r.TTY { // before the client makes it raw
		pty = ptyRequest(fds[0], r.Term)
	}
	ch, err := c.m.cfg.Client.OpenChannel(c.m.lifetime, wire.ChannelSession, nil, adit.Options{Requests: true, Stderr: true})
	if err != nil {
		closeAll(fds)
		c.m.notice("session for a multiplex client: %v", err)
		return c.fail(id, "Session open refused by peer")
	}
	if r.Agent && c.m.cfg.ForwardAgent != nil {
		if err := c.m.cfg.ForwardAgent(c.m.lifetime, ch); err != nil {
			c.m.notice("%v", err)
		}
	}
	p := c.take(ch, fds)
	p.tty = r.TTY
	if r.TTY && r.Escape <= maxEscape {
		p.obeyEscapes(byte(r.Escape))
	}
	s, err := session.Start(ch, c.m.request(r, pty))
	if err == nil {
		err = c.conn.send(message{Kind: kindSessionOpened, ID: id, Value: p.id})
	}
	if err != nil { // the connection has ended, or the client has gone
		p.end()
		return err
	}
	c.begin(p)
	if pty != nil { // nobody was told of a change since
		p.windowChanged(wire.WindowChange{Columns: pty.Columns, Rows: pty.Rows, Width: pty.Width, Height: pty.Height})
	}
	c.m.wg.Go(func() {
		defer p.end()
		p.run(s)
	})
	return nil
}

// request is what a client asks for, as it goes to the server.
func (m *Master) request(r *sessionRequest, pty *wire.PtyReq) session.Request {
	q := session.Request{Command: r.Command, Subsystem: r.Subsystem, PTY: pty}
	if m.cfg.Env != nil {
		for _, e := range m.cfg.Env(r.Env) {
			if name, value, ok := strings.Cut(e, "="); ok && name != "" {
				q.Env = append(q.Env, wire.Env{Name: name, Value: value})
			}
		}
	}
	return q
}

// newStdio answers MUX_C_NEW_STDIO_FWD.
func (c *client) newStdio(id uint32, r *stdioRequest) error {
	question := fmt.Sprintf("Allow forward to [%s]:%d? ", r.Host, r.Port)
	if r.Port == pathPort {
		question = "Allow forward to path " + r.Host
	}
	fds, err := c.passed(id, 2, question)
	if fds == nil {
		return err
	}
	ch, err := c.m.openStdio(r)
	if err != nil {
		closeAll(fds)
		c.m.notice("forward to %s for a multiplex client: %v", r.target(), err)
		return c.fail(id, "Session open refused by peer")
	}
	p := c.take(ch, fds)
	if err := c.conn.send(message{Kind: kindSessionOpened, ID: id, Value: p.id}); err != nil {
		p.end()
		return err
	}
	c.begin(p)
	c.m.wg.Go(func() {
		defer p.end()
		p.run(nil)
	})
	return nil
}

func (r *stdioRequest) target() string {
	if r.Port == pathPort {
		return r.Host
	}
	return fmt.Sprintf("%s:%d", r.Host, r.Port)
}

// passed takes the n descriptors that come behind a request, and asks whether it
// may be. Without descriptors, the request has been answered.
func (c *client) passed(id uint32, n int, question string) (fds []int, err error) {
	fds, err = c.conn.receiveFiles(n)
	if err != nil {
		c.fail(id, "did not receive file descriptors")
		return nil, err
	}
	switch {
	case c.hasPassenger():
		err = c.fail(id, "Multiple sessions not supported")
	case !c.m.confirmed(question):
		err = c.deny(id)
	default:
		return fds, nil
	}
	closeAll(fds)
	return nil, err
}

// take makes a passenger of a channel and the descriptors that it is to run on.
func (c *client) take(ch *adit.Conn, fds []int) *passenger {
	p := &passenger{id: c.m.newSessionID(), c: c, ch: ch, done: make(chan struct{})}
	p.left, p.leave = context.WithCancel(c.m.lifetime)
	for i, fd := range fds {
		flag := os.O_WRONLY
		if i == 0 {
			flag = os.O_RDONLY
		}
		p.streams = append(p.streams, adopt(fd, flag))
	}
	return p
}
