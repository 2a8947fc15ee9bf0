package testpeer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"testing"
	"time"
)

// Client is a client program, or one of its ways to forward.
type Client struct {
	Name string
	// Rekeys says that TunnelOptions.RekeyBytes works.
	Rekeys bool
	// Compresses says that TunnelOptions.Compress works.
	Compresses bool
	// Stalls says that an upload may stop after a key exchange until the server
	// sends something, which it need not do soon.
	Stalls bool
	// HalfCloses says that EOF one way leaves the other open.
	HalfCloses bool
	// Single says that a tunnel carries one stream: the program's standard input
	// and output.
	Single bool

	needs   []string
	refusal *regexp.Regexp // what it says when the server refuses the target; nil for nothing
	start   func(t testing.TB, s *tunnelSpec) *Tunnel
}

// Clients returns all of them.
func Clients() []*Client {
	return []*Client{
		sshLocal, sshStdio,
		dbclientLocal, dbclientStdio,
		plinkLocal, plinkStdio,
		paramikoClient, asyncsshClient, libsshClient,
		otpTunnel, otpChannel,
		xcryptoClient,
	}
}

// TunnelOptions change what a client does. The zero value is its defaults.
type TunnelOptions struct {
	// RekeyBytes has the client ask for new keys after so many bytes, where
	// Client.Rekeys says that it can. 0 means its default.
	RekeyBytes int64
	// Compress has the client ask for zlib@openssh.com, where Client.Compresses says
	// that it can.
	Compress bool
	// Args are more options for a command line client.
	Args []string
}

// tunnelSpec is what a client is started with.
type tunnelSpec struct {
	*Endpoint
	TunnelOptions
	name   string
	target string
}

func (s *tunnelSpec) targetHost() string {
	host, _, _ := net.SplitHostPort(s.target)
	return host
}

func (s *tunnelSpec) targetPort() string {
	_, port, _ := net.SplitHostPort(s.target)
	return port
}

// Tunnel is a client that is connected, or about to, and forwards to one
// target.
type Tunnel struct {
	open    func(context.Context) (Stream, error)
	process *process // nil for a client in this process
}

// Stream is one connection through a tunnel. Close it to be sure that the
// client sees its end.
type Stream interface {
	io.ReadWriteCloser
	CloseWrite() error
}

// Tunnel starts the client on the endpoint, with a forward to the target
// (host:port). It skips the test if the client is not installed.
func (c *Client) Tunnel(t testing.TB, e *Endpoint, target string, o TunnelOptions) *Tunnel {
	t.Helper()
	Need(t, c.needs...)
	return c.start(t, &tunnelSpec{Endpoint: e, TunnelOptions: o, name: c.Name, target: target})
}

// Open connects to the target through the tunnel. A client that is refused may
// say so only by ending the stream. The stream is closed when the test ends.
func (t *Tunnel) Open(ctx context.Context) (Stream, error) { return t.open(ctx) }

// Said returns what the client wrote to its standard error so far.
func (t *Tunnel) Said() string {
	if t.process == nil {
		return ""
	}
	return t.process.log.String()
}

// Transfer runs do on a new stream and gives it up when ctx is done.
func (t *Tunnel) Transfer(ctx context.Context, do func(Stream) error) error {
	s, err := t.Open(ctx)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { s.Close() })
	err = do(s)
	if !stop() {
		return errors.Join(context.Cause(ctx), err)
	}
	s.Close() // an error here says only that the peer closed first
	return err
}

// Refused connects to a target that the server cannot reach, or will not, and
// fails unless the client ends the stream without a byte and reports the
// refusal in its usual words.
func (c *Client) Refused(t testing.TB, e *Endpoint, target string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tunnel := c.Tunnel(t, e, target, TunnelOptions{})
	s, err := tunnel.Open(ctx)
	if err == nil {
		stop := context.AfterFunc(ctx, func() { s.Close() })
		n, err := io.Copy(io.Discard, s)
		if !stop() {
			return fmt.Errorf("%s left the stream open: %w", c.Name, context.Cause(ctx))
		}
		s.Close()
		if n > 0 {
			return fmt.Errorf("%s gave %d bytes from a target that was refused (%v)", c.Name, n, err)
		}
	}
	if c.refusal == nil {
		return nil
	}
	if tunnel.process == nil {
		if err == nil || !c.refusal.MatchString(err.Error()) {
			return fmt.Errorf("%s reported %v, want %q", c.Name, err, c.refusal)
		}
		return nil
	}
	_, err = tunnel.process.waitLog(c.refusal)
	return err
}

// portTunnel is a tunnel by a listener on a loopback port.
func portTunnel(t testing.TB, p *process, port int) *Tunnel {
	return &Tunnel{process: p, open: func(ctx context.Context) (Stream, error) {
		var d net.Dialer
		c, err := d.DialContext(ctx, "tcp4", "127.0.0.1:"+strconv.Itoa(port))
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() { c.Close() })
		return c.(*net.TCPConn), nil
	}}
}

// polledTunnel is a portTunnel of a client that does not say when it listens:
// connect until it does. The connection that succeeds is the first stream, for
// each costs a channel.
func polledTunnel(t testing.TB, p *process, port int) *Tunnel {
	t.Helper()
	tunnel := portTunnel(t, p, port)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		first, err := tunnel.open(t.Context())
		if err == nil {
			return &Tunnel{process: p, open: onceThen(first, tunnel.open)}
		}
		select {
		case <-p.ended:
			t.Fatalf("%s ended (%v) before it listened", p.name, p.err)
		case <-timeout.C:
			t.Fatalf("%s does not listen: %v", p.name, err)
		case <-tick.C:
		}
	}
}

// onceThen opens first, once, and later what later opens.
func onceThen(first Stream, later func(context.Context) (Stream, error)) func(context.Context) (Stream, error) {
	ready := make(chan Stream, 1)
	ready <- first
	return func(ctx context.Context) (Stream, error) {
		select {
		case s := <-ready:
			return s, nil
		default:
			return later(ctx)
		}
	}
}

// stdioTunnel starts a command whose standard input and output are the stream.
func stdioTunnel(t testing.TB, name string, cmd *exec.Cmd) *Tunnel {
	t.Helper()
	childIn, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, childOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdin, cmd.Stdout = childIn, childOut
	p := start(t, name, cmd)
	childIn.Close()
	childOut.Close()
	s := &stdio{in: in, out: out}
	t.Cleanup(func() { s.Close() })
	return &Tunnel{process: p, open: onceThen(s, func(context.Context) (Stream, error) {
		return nil, fmt.Errorf("%s carries one stream only", name)
	})}
}

// stdio is a program's standard input and output seen as one connection.
type stdio struct{ in, out *os.File }

func (s *stdio) Read(p []byte) (int, error)  { return s.out.Read(p) }
func (s *stdio) Write(p []byte) (int, error) { return s.in.Write(p) }
func (s *stdio) CloseWrite() error           { return s.in.Close() }

func (s *stdio) Close() error {
	s.in.Close() // CloseWrite may have done so
	return s.out.Close()
}
