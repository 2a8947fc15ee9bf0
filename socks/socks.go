// Package socks is both sides of the protocols by which a proxy is asked for a
// connection: SOCKS4, SOCKS4a, SOCKS5 (RFC 1928) and HTTP CONNECT (RFC 9110,
// section 9.3.6). It knows nothing of SSH.
//
// The client's side is Client.Connect, which leaves what comes behind the
// proxy's answer on the connection. On the server's side all protocols share
// one port, told apart by the client's first byte: Accept reads a client's request and nothing more. The answer is the caller's,
// after it has tried to reach the target: Request.Grant or Request.Refuse. So a
// client learns why its connection failed, which a proxy that answers before
// dialing can't tell. What a client sent behind its request, without waiting
// for the answer, is in Request.Rest.
//
// Only connecting is offered. BIND and UDP ASSOCIATE are refused with the code
// for it, and so is a SOCKS5 client that insists on authenticating. Names are
// never resolved here.
package socks

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"
)

// HandshakeTimeout bounds reading a request when the context has no earlier
// deadline. A client that is slower is not one.
const HandshakeTimeout = 30 * time.Second

// replyTimeout bounds writing an answer. Answers fit the socket's buffer, so
// only a client that was flooding us without reading waits at all.
const replyTimeout = 5 * time.Second

// Version is the protocol a request was made in.
type Version uint8

// The versions.
const (
	SOCKS4 Version = iota + 1
	SOCKS4a
	SOCKS5
	HTTPConnect
)

func (v Version) String() string {
	switch v {
	case SOCKS4:
		return "SOCKS4"
	case SOCKS4a:
		return "SOCKS4a"
	case SOCKS5:
		return "SOCKS5"
	case HTTPConnect:
		return "HTTP CONNECT"
	}
	return "version " + strconv.Itoa(int(v))
}

// Request is a client's wish to be connected to Host:Port. It is answered by
// exactly one Grant or Refuse.
type Request struct {
	Version Version
	// Host is an IP address in text form or a name, as the client sent it:
	// 1 to 255 bytes, no control characters, no blanks.
	Host string
	Port uint16
	// User is the SOCKS4 client's user id, which nobody has verified.
	User string

	conn net.Conn
	rest []byte
}

// Accept reads a request from conn. The context bounds this call only, and so
// does HandshakeTimeout; conn has no deadline afterwards.
//
// A request that can't be served is answered here, as its protocol wants it,
// and returned as an error. The error is io.EOF alone when the client closed
// before it sent anything. Accept never closes conn.
func Accept(ctx context.Context, conn net.Conn) (*Request, error) {
	deadline := time.Now().Add(HandshakeTimeout)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	r := &Request{conn: conn}
	if err := bounded(ctx, conn, deadline, r.read); err != nil {
		return nil, err
	}
	return r, nil
}

// bounded calls do, which reads from and writes to conn, until it has ended, the
// deadline has passed or ctx is done, whose cause is then the error. conn has no
// deadline afterwards.
func bounded(ctx context.Context, conn net.Conn, deadline time.Time, do func() error) error {
	if err := conn.SetDeadline(deadline); err != nil {
		return fmt.Errorf("socks: %w", err)
	}
	woken := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(woken)
		conn.SetDeadline(time.Unix(1, 0))
	})
	err := do()
	if !stop() {
		<-woken
		err = context.Cause(ctx)
	}
	if clearErr := conn.SetDeadline(time.Time{}); err == nil {
		err = clearErr
	}
	return err
}

// Rest returns what the client sent behind its request, less than 32 KiB. It
// belongs in front of what is read from the connection from now on.
func (r *Request) Rest() []byte { return r.rest }

// Grant tells the client that it is connected. bound is the address the
// connection was made from; the zero AddrPort says that it isn't known, which
// is what OpenSSH answers always.
func (r *Request) Grant(bound netip.AddrPort) error {
	switch r.Version {
	case SOCKS5:
		return r.reply(appendReply5(nil, Succeeded, bound))
	case HTTPConnect:
		return r.reply([]byte("HTTP/1.1 200 Connection established\r\n\r\n"))
	}
	return r.reply(appendReply4(nil, granted4, bound))
}

// Refuse tells the client why it is not connected. The caller closes the
// connection afterwards.
func (r *Request) Refuse(why Refusal) error {
	switch r.Version {
	case SOCKS5:
		return r.reply(appendReply5(nil, why.Reply, netip.AddrPort{}))
	case HTTPConnect:
		return r.reply(appendHTTPError(nil, why.Status, why.text()))
	}
	return r.reply(appendReply4(nil, rejected4, netip.AddrPort{}))
}

func (r *Request) reply(b []byte) error {
	r.conn.SetWriteDeadline(time.Now().Add(replyTimeout))
	_, err := r.conn.Write(b)
	r.conn.SetWriteDeadline(time.Time{})
	if err != nil {
		return fmt.Errorf("%v: answer: %w", r.Version, err)
	}
	return nil
}
