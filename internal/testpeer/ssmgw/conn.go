package ssmgw

import (
	"errors"
	"fmt"
	"io"
	"sync"
)

// closing is why a WebSocket was closed.
type closing int

const (
	closeNot    closing = 0
	closeBye    closing = 1000
	closeTooBig closing = 1009
)

// Conn is a client's WebSocket: in memory, or a real one behind it. Its own
// methods are those of the client's end.
type Conn struct {
	fromClient chan []byte
	toClient   chan []byte
	gone       chan struct{} // closed when either end has closed
	goroutines sync.WaitGroup

	mu    sync.Mutex
	why   closing // guarded by mu, as below
	after []func()
}

// connBuffer is how many messages wait in one direction of a Conn.
const connBuffer = 64

// Open opens the data channel of a session in memory. first is the text message.
func (g *Gateway) Open(id string, first []byte) (*Conn, error) {
	c := newConn()
	if err := g.attach(id, first, c); err != nil {
		return nil, err
	}
	g.mu.Lock()
	g.conns = append(g.conns, c)
	g.mu.Unlock()
	return c, nil
}

func newConn() *Conn {
	return &Conn{fromClient: make(chan []byte, connBuffer), toClient: make(chan []byte, connBuffer), gone: make(chan struct{})}
}

// ReadMessage returns what the gateway sent. It is io.EOF behind the last one.
func (c *Conn) ReadMessage() ([]byte, error) {
	select {
	case b := <-c.toClient:
		return b, nil
	default:
	}
	select {
	case b := <-c.toClient:
		return b, nil
	case <-c.gone:
		return nil, c.reason()
	}
}

// ErrTooBig is what the client's end returns after the gateway closed it for the
// size of a message.
var ErrTooBig = errors.New("closed: 1009, message too big")

func (c *Conn) reason() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.why == closeTooBig {
		return ErrTooBig
	}
	return errGone
}

// WriteMessage sends a copy of b to the gateway.
func (c *Conn) WriteMessage(b []byte) error {
	select {
	case <-c.gone:
		return c.reason()
	default:
	}
	select {
	case c.fromClient <- append([]byte(nil), b...):
		return nil
	case <-c.gone:
		return c.reason()
	}
}

// Flush does nothing: nothing is kept back.
func (c *Conn) Flush() error { return nil }

// Close ends it.
func (c *Conn) Close() error {
	c.close(closeBye)
	return nil
}

// read and write are the gateway's end.
func (c *Conn) read() ([]byte, error) {
	select {
	case b := <-c.fromClient:
		return b, nil
	case <-c.gone:
		return nil, errGone
	}
}

func (c *Conn) write(b []byte) error {
	select {
	case c.toClient <- b:
		return nil
	case <-c.gone:
		return errGone
	}
}

func (c *Conn) close(why closing) {
	c.mu.Lock()
	if c.why != closeNot {
		c.mu.Unlock()
		return
	}
	c.why = why
	after := c.after
	c.mu.Unlock()
	close(c.gone)
	for _, do := range after {
		do()
	}
}

// onClose does something when it ends.
func (c *Conn) onClose(do func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.after = append(c.after, do)
}

var errGone = fmt.Errorf("the other end is gone: %w", io.EOF)
