package adit_test

import (
	"errors"
	"io"
	"net"
	"testing"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/internal/mux"
	"github.com/adit-ssh/adit/internal/proxied"
	"github.com/adit-ssh/adit/internal/wire"
)

// A Client through a master's proxy dials and listens; what it can't know is empty.
func TestProxiedClient(t *testing.T) {
	census(t)
	a, b := net.Pipe()
	asked := make(chan string, 2)
	master := mux.New(proxied.New(a), mux.Config{
		Open: func(p *mux.Pending) {
			if ch, err := p.Accept(mux.Options{}); err == nil {
				io.Copy(ch, ch)
				ch.Close()
			}
		},
		Global: func(name string, _ []byte) (bool, []byte) {
			asked <- name
			return true, (&wire.TCPIPForwardReply{Port: 4711}).Append(nil)
		},
		Server: true,
	})
	defer master.Close()
	c := adit.NewProxiedClient(b, "somebody", &adit.Config{})
	defer c.Close()
	nc, err := c.DialContext(t.Context(), "tcp", "db:5432")
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(nc, "echo")
	nc.(*adit.Conn).CloseWrite()
	if got, err := io.ReadAll(nc); string(got) != "echo" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	nc.Close()
	l, err := c.Listen(t.Context(), "tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	if got := <-asked + " " + l.Addr().String(); got != "tcpip-forward 127.0.0.1:4711" {
		t.Errorf("Listen: got %s", got)
	}
	if c.User() != "somebody" || c.SSH().SessionID() != nil {
		t.Errorf("user %q, session id %x", c.User(), c.SSH().SessionID())
	}
	c.Rekey()
	master.Close()
	<-c.Done()
	if err := c.Err(); !errors.Is(err, io.EOF) {
		t.Errorf("the master's end: got %v, want EOF", err)
	}
}
