package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/internal/wire"
)

// What scripts look for when a connection is lost.
func TestLostLine(t *testing.T) {
	tcp := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 22}
	op := func(op string, err error) error {
		return &net.OpError{Op: op, Net: "tcp", Err: os.NewSyscallError(op, err)}
	}
	const closed = "Connection to box closed by remote host."
	for _, tt := range []struct {
		err  error
		want string
	}{
		{io.EOF, closed},
		{fmt.Errorf("connection closed by the peer: %w", io.ErrUnexpectedEOF), closed},
		{op("write", syscall.EPIPE), "client_loop: send disconnect: Broken pipe"},
		{op("read", syscall.ECONNRESET), "client_loop: send disconnect: Broken pipe"},
		{&adit.DisconnectError{Reason: 2, Text: "too\x1b many", ByPeer: true},
			"Received disconnect from 192.0.2.1 port 22:2: too many\nDisconnected from 192.0.2.1 port 22"},
		{&adit.DisconnectError{Reason: wire.DisconnectProtocolError, Text: "ours"}, ""},
		{errors.New("something else"), ""},
	} {
		lost := &lostError{host: "box", addr: tcp, err: tt.err}
		if got := lostLine(fmt.Errorf("session: %w", lost)); got != tt.want {
			t.Errorf("%v: says %q, want %q", tt.err, got, tt.want)
		}
		if lost.terminal = true; tt.want == closed {
			tt.want += "\nConnection to box closed."
		}
		if got := lostLine(lost); got != tt.want {
			t.Errorf("%v, with a terminal: says %q, want %q", tt.err, got, tt.want)
		}
		if got := lostLine(tt.err); got != "" {
			t.Errorf("%v, before it was in use: says %q", tt.err, got)
		}
	}
}
