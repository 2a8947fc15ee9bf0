package agent

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/relay"
	"github.com/adit-ssh/adit/internal/wire"
)

// Conn is a connection whose directions end separately: a channel, for example.
type Conn = relay.Conn

// Incoming is a channel that a server wants to open. Exactly one of its methods
// is called, once.
type Incoming interface {
	Accept() (Conn, error)
	Reject(reason uint32, text string) error
}

// Forwarder lets programs at a server use an agent. Each channel has a connection
// to the agent of its own, bound to the session, which is made before the
// channel is accepted: without an agent the channel is refused, and an agent that
// starts later is found. To connect and to bind may take 5 seconds each; at an agent that
// serves one connection at a time a channel waits for its turn behind others of the
// Forwarder, for 30 seconds at most.
//
// It has no goroutines but those that its methods wait for.
type Forwarder struct {
	*Dialer

	// Policy decides about each request of the server's programs; an error has it
	// answered with FAILURE. With nil everything passes, as with OpenSSH.
	Policy func(Use) error
	// Audit is told of each request, and why it was refused, if it was. It is
	// called by several goroutines at once. Nil: nobody wants to know.
	Audit func(Use, error)
}

// Use is a request that came over a forwarded channel.
type Use struct {
	Operation string // list, sign, add, remove, remove all, lock, unlock, extension…
	Key       []byte // that is to sign or to be removed, in wire form
	Extension string
	// Binding is set for the extension session-bind@openssh.com: the agent checks
	// it, we pass it on.
	Binding bool
}

// ErrReadOnly is what ReadOnly refuses.
var ErrReadOnly = errors.New("a server may list keys and have something signed, nothing else")

// ReadOnly is a Policy that lets keys be listed and used, and not changed.
func ReadOnly(u Use) error {
	if u.Operation == "list" || u.Operation == "sign" || u.Binding {
		return nil
	}
	return ErrReadOnly
}

// Serve answers a channel and serves it until it ends, or ctx. s is the session of
// the connection that the channel is on. It must not be called by who reads that
// connection: it waits for the agent.
//
// The error is why the agent was not to be had, or why an end of the channel
// failed; nil after an orderly end.
func (f *Forwarder) Serve(ctx context.Context, s Session, in Incoming) error {
	conn, bound, done, err := f.openInTurn(ctx, []Binding{{Session: s, Forwarding: true}})
	if err != nil {
		in.Reject(wire.OpenConnectFailed, "the agent can't be reached")
		return err
	}
	defer done()
	channel, err := in.Accept()
	if err != nil {
		conn.Close()
		return err
	}
	if bound && f.Policy == nil && f.Audit == nil {
		return relay.Pipe(ctx, halves(conn), channel, nil).Err
	}
	return f.filter(ctx, halves(conn), channel, bound)
}

// ServeChannel is Serve for golang.org/x/crypto/ssh: a channel of type
// auth-agent@openssh.com. That package does not tell the server's signature,
// which takes a SessionSniffer.
func (f *Forwarder) ServeChannel(ctx context.Context, s Session, ch gossh.NewChannel) error {
	return f.Serve(ctx, s, foreign{ch})
}

// foreign is an x/crypto channel as an Incoming.
type foreign struct{ gossh.NewChannel }

// Accept implements Incoming.
func (c foreign) Accept() (Conn, error) {
	ch, requests, err := c.NewChannel.Accept()
	if err != nil {
		return nil, err
	}
	go gossh.DiscardRequests(requests) // ends with the channel
	return foreignConn{ch}, nil
}

// Reject implements Incoming.
func (c foreign) Reject(reason uint32, text string) error {
	return c.NewChannel.Reject(gossh.RejectionReason(reason), text)
}

// foreignConn is an x/crypto channel as a Conn. It has neither addresses nor
// deadlines.
type foreignConn struct{ gossh.Channel }

// CloseWrite implements Conn.
func (c foreignConn) CloseWrite() error { return notEOF(c.Channel.CloseWrite()) }

// Close implements Conn.
func (c foreignConn) Close() error { return notEOF(c.Channel.Close()) }

// notEOF drops what x/crypto says when the server has closed the channel already.
func notEOF(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}

var foreignAddr = &net.UnixAddr{Name: "ssh channel", Net: "ssh"}

func (foreignConn) LocalAddr() net.Addr              { return foreignAddr }
func (foreignConn) RemoteAddr() net.Addr             { return foreignAddr }
func (foreignConn) SetDeadline(time.Time) error      { return os.ErrNoDeadline }
func (foreignConn) SetReadDeadline(time.Time) error  { return os.ErrNoDeadline }
func (foreignConn) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }

// halves gives a connection CloseWrite where it has none, such as a pipe: who
// can't say that nothing more will come ends it altogether.
func halves(c net.Conn) Conn {
	if h, ok := c.(Conn); ok {
		return h
	}
	return whole{c}
}

type whole struct{ net.Conn }

// CloseWrite implements Conn.
func (w whole) CloseWrite() error { return w.Close() }

// filter passes on requests that Policy allows, one at a time.
//
// To an agent that is not bound, since it would close the connection, everything
// looks like a use from here. Agents of that kind know no destinations; but what
// changes them is not passed on, and neither is a binding, which would end the
// connection.
//
// Goroutines: one that reads the channel, so that the agent learns of its end
// while it asks a person.
func (f *Forwarder) filter(ctx context.Context, agent, channel Conn, bound bool) error {
	var (
		requests = make(chan []byte)
		done     = make(chan struct{})
		readErr  error // owned by the reader until requests is closed
		reader   sync.WaitGroup
	)
	reader.Go(func() {
		defer close(requests)
		for {
			request, err := readFrame(channel)
			if err != nil {
				agent.CloseWrite()
				readErr = err
				return
			}
			select {
			case requests <- request:
			case <-done:
				return
			}
		}
	})
	stop := context.AfterFunc(ctx, func() { agent.Close(); channel.Close() })
	defer reader.Wait()
	defer channel.Close()
	defer agent.Close()
	defer close(done)
	defer stop()
	for request := range requests {
		if err := f.pass(agent, channel, request, bound); err != nil {
			return err
		}
	}
	if readErr != io.EOF {
		return readErr
	}
	return nil
}

// pass has one request answered.
func (f *Forwarder) pass(agent, channel Conn, request []byte, bound bool) (err error) {
	defer clear(request) // it may be a private key
	u := useOf(request)
	refused := f.judge(u, bound)
	if f.Audit != nil {
		f.Audit(u, refused)
	}
	reply := []byte{numFailure}
	if refused == nil {
		if err = writeFrame(agent, request); err == nil {
			reply, err = readFrame(agent)
		}
	}
	if err == nil {
		err = writeFrame(channel, reply)
	}
	return err
}

func (f *Forwarder) judge(u Use, bound bool) error {
	switch {
	case !bound && u.Binding:
		return errors.New("the agent closes connections that are bound")
	case !bound:
		if err := ReadOnly(u); err != nil {
			return err
		}
	}
	if f.Policy == nil {
		return nil
	}
	return f.Policy(u)
}

// useOf tells what a request is, as far as that can be told.
func useOf(request []byte) Use {
	u := Use{Operation: operation(request[0])}
	p := wire.NewParser(request[1:])
	switch request[0] {
	case numSignRequest, numRemove:
		u.Key = clone(p.Bytes())
	case numExtension:
		u.Extension = p.String()
		u.Binding = u.Extension == extSessionBind
	}
	return u
}
