package main

import (
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/internal/relay"
)

// lostError is a connection that ended while it was in use.
type lostError struct {
	host     string   // as messages name it
	addr     net.Addr // where it was
	terminal bool     // a session had one
	err      error
}

func (e *lostError) Error() string { return e.err.Error() }
func (e *lostError) Unwrap() error { return e.err }

// lost wraps why c ended; nil if it has not.
func (a *sshArgs) lost(c *adit.Client) *lostError {
	if err := c.Err(); err != nil {
		return &lostError{host: a.Host, addr: c.RemoteAddr(), err: err}
	}
	return nil
}

// lostLine is what OpenSSH says of a connection that was lost, and scripts look
// for (clientloop.c, packet.c). Empty for other errors.
func lostLine(err error) string {
	e, ok := errors.AsType[*lostError](err)
	if !ok {
		return ""
	}
	d, disconnected := errors.AsType[*adit.DisconnectError](e.err)
	op, _ := errors.AsType[*net.OpError](e.err)
	switch {
	case disconnected && d.ByPeer:
		peer := "UNKNOWN port 65535" // OpenSSH's name for what is no address
		if tcp, ok := e.addr.(*net.TCPAddr); ok {
			peer = fmt.Sprintf("%s port %d", tcp.AddrPort().Addr().Unmap(), tcp.Port)
		}
		return fmt.Sprintf("Received disconnect from %s:%d: %s\nDisconnected from %s", peer, d.Reason, printable(d.Text), peer)
	case disconnected:
		return ""
	case errors.Is(e.err, io.EOF), errors.Is(e.err, io.ErrUnexpectedEOF):
		line := fmt.Sprintf("Connection to %s closed by remote host.", e.host)
		if e.terminal {
			line += fmt.Sprintf("\nConnection to %s closed.", e.host)
		}
		return line
	case op != nil && op.Op == "write", relay.PeerGone(e.err):
		// A connection that is reset can't be told that we leave.
		return "client_loop: send disconnect: Broken pipe"
	}
	return ""
}
