package adit

import (
	"context"
	"errors"
	"io"
	"net"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/mux"
)

// SSH returns a golang.org/x/crypto/ssh Client on this connection, for sessions,
// sftp and whatever else takes one. Closing it closes the connection. It may be
// called more than once.
func (c *Client) SSH() *gossh.Client {
	chans := make(chan gossh.NewChannel)
	reqs := make(chan *gossh.Request)
	close(chans)
	close(reqs)
	return gossh.NewClient(sshConn{c}, chans, reqs)
}

// sshConn is a Client as a gossh.Conn.
type sshConn struct{ c *Client }

// OpenChannel implements gossh.Conn.
func (s sshConn) OpenChannel(name string, data []byte) (gossh.Channel, <-chan *gossh.Request, error) {
	ch, err := s.c.m.Open(context.Background(), name, data, mux.Options{Requests: true, Stderr: true})
	if oe, ok := err.(*OpenError); ok {
		return nil, nil, &gossh.OpenChannelError{Reason: gossh.RejectionReason(oe.Reason), Message: oe.Description}
	}
	if err != nil {
		return nil, nil, err
	}
	// gossh.Request can't be answered outside its package, so requests are
	// answered here: no is right for all that a client gets.
	reqs := make(chan *gossh.Request, cap(ch.Requests()))
	go func() { // ends with the channel
		defer close(reqs)
		for r := range ch.Requests() {
			r.Reply(false)
			select {
			case reqs <- &gossh.Request{Type: r.Type, Payload: r.Data}:
			case <-ch.Closed():
				// What the owner did not take by now is exit-status at the most
				// important; there is room for it.
				select {
				case reqs <- &gossh.Request{Type: r.Type, Payload: r.Data}:
				default:
				}
			}
		}
	}()
	return sshChannel{ch}, reqs, nil
}

// SendRequest implements gossh.Conn.
func (s sshConn) SendRequest(name string, wantReply bool, payload []byte) (bool, []byte, error) {
	return s.c.m.Request(context.Background(), name, wantReply, payload)
}

func (s sshConn) Close() error          { return s.c.Close() }
func (s sshConn) Wait() error           { <-s.c.Done(); return s.c.Err() }
func (s sshConn) User() string          { return s.c.user }
func (s sshConn) SessionID() []byte     { return s.c.t.SessionID() }
func (s sshConn) ClientVersion() []byte { v, _ := s.c.t.Versions(); return []byte(v) }
func (s sshConn) ServerVersion() []byte { _, v := s.c.t.Versions(); return []byte(v) }
func (s sshConn) RemoteAddr() net.Addr  { return s.c.t.RemoteAddr() }
func (s sshConn) LocalAddr() net.Addr   { return s.c.t.LocalAddr() }

// Algorithms implements gossh.AlgorithmsConnMetadata.
func (s sshConn) Algorithms() gossh.NegotiatedAlgorithms {
	a := s.c.t.Algorithms()
	return gossh.NegotiatedAlgorithms{
		KeyExchange: a.Kex, HostKey: a.HostKey,
		Read:  gossh.DirectionAlgorithms{Cipher: a.Server.Cipher, MAC: a.Server.MAC},
		Write: gossh.DirectionAlgorithms{Cipher: a.Client.Cipher, MAC: a.Client.MAC},
	}
}

// sshChannel is a Channel as a gossh.Channel.
type sshChannel struct{ *mux.Channel }

// CloseWrite implements gossh.Channel. A session takes any error but io.EOF for
// the command's failure, also when the command ended before its input did.
func (c sshChannel) CloseWrite() error {
	err := c.Channel.CloseWrite()
	if errors.Is(err, io.ErrClosedPipe) {
		return io.EOF
	}
	return err
}

// SendRequest implements gossh.Channel.
func (c sshChannel) SendRequest(name string, wantReply bool, payload []byte) (bool, error) {
	return c.Channel.SendRequest(context.Background(), name, wantReply, payload)
}

// Stderr implements gossh.Channel.
func (c sshChannel) Stderr() io.ReadWriter { return c.Channel.Stderr() }
