package transport

import (
	"fmt"
	"time"

	"github.com/adit-ssh/adit/internal/wire"
)

// Close sends what is queued and a DISCONNECT, within a short grace, and ends
// the connection. It returns when its goroutines have ended.
func (c *Conn) Close() error {
	m := wire.Disconnect{Reason: wire.DisconnectByApplication, Description: "disconnected by user"}
	if c.out.queueSmall(m.Append(nil), false, nil) == nil {
		c.drain(c.out.waitIdle())
	}
	c.end(ErrClosed)
	return nil
}

// Abort sends a DISCONNECT at once, before anything else that is queued, and
// ends the connection. It returns the error that the connection ended with.
func (c *Conn) Abort(reason uint32, text string) error {
	return c.abort(reason, text, &DisconnectError{Reason: reason, Text: Sanitize(text, 256)})
}

// Lost ends a connection whose peer is gone, without a word to it. cause is what
// Err returns.
func (c *Conn) Lost(cause error) { c.fail(cause) }

func (c *Conn) abort(reason uint32, text string, cause error) error {
	m := wire.Disconnect{Reason: reason, Description: Sanitize(text, 256)}
	c.drain(c.out.lastWord(m.Append(nil)))
	c.fail(cause)
	return c.Err()
}

// drain waits for a signal that all was written, for the grace at most.
func (c *Conn) drain(written <-chan struct{}) {
	t := time.NewTimer(closeGrace)
	defer t.Stop()
	select {
	case <-written:
	case <-c.done:
	case <-t.C:
	}
}

// end fails with err and waits for the goroutines, and for the way to the peer, whose
// own end may take a while: a session of AWS's lives on if the program ends before.
func (c *Conn) end(err error) {
	c.fail(err)
	c.wg.Wait()
	<-c.shut
	c.ended.Do(c.tellCompressed)
}

// fail ends the connection: the first error stays, everybody wakes up. It does
// not wait, so that anybody may call it.
func (c *Conn) fail(err error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = err
	close(c.done)
	c.mu.Unlock()
	c.out.stop()
	c.in.arrival.stop()
	c.kexMu.Lock()
	for _, t := range []*time.Timer{c.kexTimer, c.rekeyAt} {
		if t != nil {
			t.Stop()
		}
	}
	c.kexMu.Unlock()
	c.nc.Close()
	close(c.shut)
}

// writeFailed ends the connection, after a grace in which the reader may find
// its end: a peer that sends DISCONNECT and closes can make a write fail before
// we have read what it said. Nothing is written any more.
func (c *Conn) writeFailed(err error) {
	if c.Err() == nil {
		time.AfterFunc(closeGrace, func() { c.fail(fmt.Errorf("write: %w", err)) })
	}
}

// readFailed turns a read error into the connection's end.
func (c *Conn) readFailed(err error) error {
	if reason, text, ok := lastWord(err); ok {
		return c.abort(reason, text, err)
	}
	c.fail(err)
	return c.Err()
}
