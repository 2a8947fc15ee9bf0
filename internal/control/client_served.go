//go:build unix

package control

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// client is one that the master serves. It asks one thing after the other.
type client struct {
	m    *Master
	conn *conn

	mu        sync.Mutex
	passenger *passenger // guarded by mu: what runs on descriptors of this client
}

// denied is what a client is told when the person said no.
const denied = "Permission denied"

// serve answers until the client goes, or breaks the protocol. A session ends
// with its client.
func (c *client) serve() {
	err := c.answerAll()
	if err != io.EOF && !hungUp(err) {
		c.m.notice("multiplex client: %v", err)
	}
	if p := c.running(); p != nil {
		p.abandon()
		<-p.done
	}
	c.conn.c.Close()
}

// answerAll returns why it is over.
func (c *client) answerAll() error {
	if err := c.conn.send(message{Kind: kindHello, Value: version}); err != nil {
		return err
	}
	greeted := false
	for {
		m, err := c.conn.receive()
		if err != nil {
			return err
		}
		switch {
		case m.Kind == kindHello && greeted:
			return errors.New("a second hello")
		case m.Kind == kindHello:
			greeted = true
			continue
		case !greeted:
			return fmt.Errorf("a hello is due, not message 0x%08x", uint32(m.Kind))
		}
		if err := c.answer(m); err != nil {
			return err
		}
	}
}

// answer does what a message asks for. An error ends the client.
func (c *client) answer(m *message) error {
	switch m.Kind {
	case kindAliveCheck:
		return c.conn.send(message{Kind: kindAlive, ID: m.ID, Value: uint32(os.Getpid())})
	case kindNewSession:
		return c.newSession(m.ID, m.Session)
	case kindNewStdio:
		return c.newStdio(m.ID, m.Stdio)
	case kindOpenForward:
		return c.openForward(m.ID, m.Forward)
	case kindCloseForward:
		return c.closeForward(m.ID, m.Forward)
	case kindProxy:
		return c.newProxy(m.ID)
	case kindStopListening:
		if !c.m.confirmed(fmt.Sprintf("Disable further multiplexing on shared connection to %s? ", c.m.cfg.Host)) {
			return c.deny(m.ID)
		}
		if err := c.m.l.Close(); err != nil {
			c.m.notice("stop listening: %v", err)
		}
		c.m.stop()
		return c.ok(m.ID)
	case kindTerminate:
		if !c.m.confirmed(fmt.Sprintf("Terminate shared connection to %s? ", c.m.cfg.Host)) {
			return c.deny(m.ID)
		}
		err := c.ok(m.ID)
		c.m.terminate()
		return err
	}
	return c.fail(m.ID, "unsupported request")
}

func (c *client) ok(id uint32) error { return c.conn.send(message{Kind: kindOK, ID: id}) }

func (c *client) deny(id uint32) error {
	return c.conn.send(message{Kind: kindPermissionDenied, ID: id, Reason: denied})
}

func (c *client) fail(id uint32, reason string) error {
	return c.conn.send(message{Kind: kindFailure, ID: id, Reason: reason})
}

// begin makes p the client's passenger. One client has one.
func (c *client) begin(p *passenger) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.passenger = p
}

func (c *client) hasPassenger() bool { return c.running() != nil }

// running returns what runs on the client's descriptors, or did; nil for nothing.
func (c *client) running() *passenger {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.passenger
}
