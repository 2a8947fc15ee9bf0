package main

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/adit-ssh/adit/internal/testnet"
)

// resettable notes that it is to end with a reset.
type resettable struct {
	*testnet.Conn
	reset bool
}

func (c *resettable) SetLinger(int) error {
	c.reset = true
	return nil
}

// oneWay is a connection that can't end one direction alone, as Session Manager's.
type oneWay struct{ net.Conn }

// failing ends with an error in place of io.EOF.
type failing struct{ net.Conn }

func (c failing) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err == io.EOF {
		err = errors.New("the session is over")
	}
	return n, err
}

func TestCarry(t *testing.T) {
	for _, c := range []struct {
		name   string
		client func(*testnet.Conn) // the client's end
		target func(*testnet.Conn) // the target's
		fails  bool                // the session, in place of the target's end
		took   time.Duration
		reset  bool // what the client sees
		told   bool // the person
	}{
		{name: "the target ends", client: func(c *testnet.Conn) { io.Copy(io.Discard, c) }, target: func(c *testnet.Conn) { io.WriteString(c, "so long") }},
		{name: "the session ends", client: func(c *testnet.Conn) { io.Copy(io.Discard, c) }, target: func(c *testnet.Conn) { io.WriteString(c, "so l") }, fails: true, reset: true, told: true},
		{name: "the client ends its direction, and is answered", client: func(c *testnet.Conn) { c.CloseWrite(); io.Copy(io.Discard, c) },
			target: func(c *testnet.Conn) {
				<-time.After(9 * time.Second)
				io.WriteString(c, "at last")
				<-time.After(9 * time.Second)
			}, took: 18 * time.Second},
		{name: "the client ends its direction, and is not answered", client: func(c *testnet.Conn) { c.CloseWrite(); io.Copy(io.Discard, c) },
			target: func(c *testnet.Conn) { <-time.After(time.Minute); io.WriteString(c, "too late") }, took: halfClosed, reset: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, local := testnet.Pipe(testnet.Options{})
				remote, target := testnet.Pipe(testnet.Options{})
				var ends sync.WaitGroup
				defer ends.Wait()
				ends.Go(func() { c.client(client); client.Close() })
				ends.Go(func() { c.target(target); target.Close() })
				l := &resettable{Conn: local}
				began := time.Now()
				_, _, err := carry(t.Context(), func(context.Context) (net.Conn, error) {
					if c.fails {
						return failing{remote}, nil
					}
					return oneWay{remote}, nil
				}, l)
				if l.reset != c.reset || (err != nil) != c.told || time.Since(began) != c.took {
					t.Errorf("a reset: %v, told: %v, after %v; want %v, %v, %v", l.reset, err, time.Since(began), c.reset, c.told, c.took)
				}
			})
		})
	}
}

func TestSSMDestination(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ in, user, host, command string }{
		{"ssm://web", "", "web", "adit ssm web %p"},
		{"ssm://me@i-0123456789abcdef0/", "me", "i-0123456789abcdef0", "adit ssm i-0123456789abcdef0 %p"},
		{"ssm://me@web?sessions=4", "me", "web", "adit ssm --sessions=4 web %p"},
		{"ssm://web/?sessions=16", "", "web", "adit ssm --sessions=16 web %p"},
		{"ssm://web?sessions=17", "", "", ""},
		{"ssm://web?sessions=0", "", "", ""},
		{"ssm://web?sessions=", "", "", ""},
		{"ssm://web?session=4", "", "", ""},
		{"ssm://web?sessions=4&x=y", "", "", ""},
		{"ssm://web;id", "", "", ""},
		{"ssm://-x", "", "", ""},
	} {
		target, command, err := ssmDestination(c.in)
		if (err == nil) != (c.command != "") || err == nil && (target.User != c.user || target.Host != c.host || command != c.command) {
			t.Errorf("%s: %+v, %q, %v; want %+v", c.in, target, command, err, c)
		}
		if err == nil && ownArgs([]string{"ssm", "--sessions=4", "web", "22"}).sessions != 4 {
			t.Error("its own command is not understood")
		}
	}
}
