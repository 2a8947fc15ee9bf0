package interop

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/internal/testpeer"
	"github.com/adit-ssh/adit/internal/wire"
)

// peerServers are those that our client meets.
var peerServers = []struct {
	name  string
	start func(testing.TB) *testpeer.Server
	// halfCloses says that EOF one way leaves a forward's other way open.
	halfCloses bool
	// rekeyLog is what its log says once for each key exchange; empty where it
	// says nothing.
	rekeyLog string
}{
	{"sshd", startSSHD, true, "SSH2_MSG_NEWKEYS received"},
	{"dropbear", testpeer.Dropbear, true, ""},
	{"tinysshd", testpeer.TinySSH, false, ""},
	{"asyncssh", testpeer.AsyncSSH, true, ""},
	{"otp", testpeer.OTP, false, ""}, // closes the target at our EOF
	{"xcrypto", testpeer.XCrypto, true, ""},
}

func startSSHD(t testing.TB) *testpeer.Server {
	return testpeer.SSHD(t, testpeer.SSHDOptions{LogLevel: "DEBUG1"})
}

// dialPeer connects and logs in. Config needs only what is special.
func dialPeer(ctx context.Context, t *testing.T, s *testpeer.Server, r *recorder, cfg adit.Config) (*adit.Client, error) {
	t.Helper()
	cfg.CheckHostKey, cfg.Tracer = adit.FixedHostKey(s.HostKeys[0]), r
	c, err := adit.Dial(ctx, s.User+"@"+s.Addr, &cfg)
	if err == nil {
		t.Cleanup(func() { c.Close() })
	}
	return c, err
}

// Our client logs in, forwards and runs commands with every server, through key
// exchanges.
func TestOurClient(t *testing.T) {
	for _, p := range peerServers {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			s := p.start(t)
			r := newRecorder()
			c, err := dialPeer(withLimit(t), t, s, r, adit.Config{Keys: adit.Keys(s.Key.Signer), RekeyBytes: rekeyAt})
			if err != nil {
				t.Fatal(err)
			}
			_, version := c.Versions()
			t.Logf("server %s", version)
			if s.Forwards {
				open := through(c, testpeer.HashTarget(t).Addr)
				move(t, r, "upload", open, testpeer.Upload)
				move(t, r, "download", open, testpeer.Download)
				_, err = c.DialContext(withLimit(t), "tcp", testpeer.RefusedAddr(t))
				if e, ok := errors.AsType[*adit.OpenError](err); !ok || e.Reason != wire.OpenConnectFailed || e.Local {
					t.Errorf("refused target: got %#v, want the peer's OpenError with reason %d", err, wire.OpenConnectFailed)
				}
			}
			if p.halfCloses {
				halfClose := func(s testpeer.Stream) error { return testpeer.Echo(s, halfCloseSize) }
				if err := through(c, testpeer.EchoTarget(t).Addr)(withLimit(t), halfClose); err != nil {
					t.Errorf("half-close: %v", err)
				}
			}
			if s.Execs {
				runCat(t, c, s, r)
			}
			if n := strings.Count(s.Log(), p.rekeyLog); p.rekeyLog != "" && n < r.rekeys() {
				t.Errorf("the server's log has %d key exchanges, ours has %d and the first", n, r.rekeys())
			}
		})
	}
}

// through opens direct-tcpip channels.
func through(c *adit.Client, target string) opener {
	return func(ctx context.Context, use func(testpeer.Stream) error) error {
		s, err := c.DialContext(ctx, "tcp", target)
		if err != nil {
			return err
		}
		defer s.Close()
		return useStream(ctx, s.(*adit.Conn), use)
	}
}

// useStream gives the stream up when ctx is done.
func useStream(ctx context.Context, s testpeer.Stream, use func(testpeer.Stream) error) error {
	stop := context.AfterFunc(ctx, func() { s.Close() })
	err := use(s)
	if !stop() {
		return errors.Join(context.Cause(ctx), err)
	}
	return err
}

// runCat runs cat in a session and sends bytes through it until keys change, and
// EOF.
func runCat(t *testing.T, c *adit.Client, s *testpeer.Server, r *recorder) {
	t.Helper()
	session, err := c.SSH().NewSession()
	if err != nil {
		t.Fatalf("session: %v", err)
	}
	defer session.Close()
	if s.Name == "otp" { // it echoes the command, and may end before it reads
		if out, err := session.Output("cat"); err != nil || !strings.Contains(string(out), "cat") {
			t.Errorf("exec: got %q, %v, want the command", out, err)
		}
		return
	}
	in, err := session.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := session.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := session.Start("cat"); err != nil {
		t.Fatalf("exec: %v", err)
	}
	before, ctx := r.rekeys(), withLimit(t)
	err = useStream(ctx, sessionStream{out, in, session}, func(s testpeer.Stream) error {
		return testpeer.Echo(s, rekeyAt+halfCloseSize)
	})
	if err != nil {
		t.Fatalf("through cat: %v", err)
	}
	if !r.wait(ctx, func() bool { return r.kexes > before }) {
		t.Error("no key exchange while cat ran")
	}
	if err := session.Wait(); err != nil {
		t.Errorf("cat left with %v, want exit status 0", err)
	}
}

// sessionStream is a command's input and output as one stream.
type sessionStream struct {
	io.Reader
	in io.WriteCloser
	io.Closer
}

func (s sessionStream) Write(p []byte) (int, error) { return s.in.Write(p) }
func (s sessionStream) CloseWrite() error           { return s.in.Close() }
