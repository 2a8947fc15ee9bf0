//go:build unix

package control

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/adit-ssh/adit/internal/testnet"
	"github.com/adit-ssh/adit/internal/unixsock"
)

// crude is a client that says what it likes.
type crude struct {
	t *testing.T
	*conn
}

func (s *shared) crude() crude {
	s.t.Helper()
	nc, err := net.Dial("unix", s.path)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { nc.Close() })
	c := crude{s.t, &conn{c: nc.(*net.UnixConn)}}
	if m, err := c.receive(); err != nil || m.Kind != kindHello {
		s.t.Fatalf("got %+v, %v, want a hello", m, err)
	}
	return c
}

func (c crude) write(b []byte) {
	c.t.Helper()
	if _, err := c.c.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

func (c crude) hello() crude { c.say(message{Kind: kindHello, Value: version}); return c }

func (c crude) say(m message) {
	c.t.Helper()
	if err := c.send(m); err != nil {
		c.t.Fatal(err)
	}
}

// pass sends a byte with descriptors.
func (c crude) pass(fds ...int) {
	c.t.Helper()
	if _, _, err := c.c.WriteMsgUnix([]byte{0}, unix.UnixRights(fds...), nil); err != nil {
		c.t.Fatal(err)
	}
}

// dropped waits until the master has hung up; what it says before is skipped.
func (c crude) dropped(why string) {
	c.t.Helper()
	if _, err := io.Copy(io.Discard, c.c); err != nil && !errors.Is(err, syscall.ECONNRESET) {
		c.t.Errorf("%s: %v", why, err)
	}
}

// want reads the next message.
func (c crude) want(why string, k kind, reason string) {
	c.t.Helper()
	m, err := c.receive()
	if err != nil || m.Kind != k || m.Reason != reason {
		c.t.Errorf("%s: got %+v, %v, want message 0x%x with %q", why, m, err, uint32(k), reason)
	}
}

// What breaks the protocol ends its client and nobody else.
func TestHostileClients(t *testing.T) {
	s := share(t, nil)
	session := message{Kind: kindNewSession, Session: &sessionRequest{Command: "cat"}}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	fd := int(null.Fd())
	frame := func(n uint32, b string) []byte { return append(binary.BigEndian.AppendUint32(nil, n), b...) }
	for _, tt := range []struct {
		name   string
		do     func(c crude)
		notice string // "" is none
	}{
		{"no hello", func(c crude) { c.say(message{Kind: kindAliveCheck}) }, "a hello is due"},
		{"two hellos", func(c crude) { c.hello().hello() }, "a second hello"},
		{"another version", func(c crude) { c.say(message{Kind: kindHello, Value: 3}) }, "version 3"},
		{"a long message", func(c crude) { c.hello().write(frame(maxPacket+1, "")) }, "at most 262144 are taken"},
		{"the longest message", func(c crude) { c.hello().write(frame(1<<32-1, "")) }, "at most 262144 are taken"},
		{"an empty message", func(c crude) { c.hello().write(frame(0, "")) }, "malformed"},
		{"half a message", func(c crude) { c.hello().write(frame(100, "half")); c.c.CloseWrite() }, "unexpected EOF"},
		{"half a length", func(c crude) { c.hello().write([]byte{0, 0}); c.c.CloseWrite() }, "unexpected EOF"},
		{"no descriptors", func(c crude) { c.hello().say(session); c.write([]byte{0, 0, 0}) }, "one descriptor is due with each byte"},
		{"two at once", func(c crude) { c.hello().say(session); c.pass(fd, fd) }, "one descriptor is due with each byte"},
		{"a hundred at once", func(c crude) {
			c.hello().say(session)
			fds := make([]int, 100)
			for i := range fds {
				fds[i] = fd
			}
			c.pass(fds...)
		}, "one descriptor is due with each byte"},
		{"gone between them", func(c crude) { c.hello().say(session); c.pass(fd); c.c.CloseWrite() }, "receive descriptor 1: unexpected EOF"},
		{"gone before the answer", func(c crude) { c.hello().say(session); c.c.Close() }, "receive descriptor 0"},
	} {
		c := s.crude()
		tt.do(c)
		if tt.name != "gone before the answer" {
			c.dropped(tt.name)
		}
		if got := <-s.notices; !strings.Contains(got, tt.notice) {
			t.Errorf("%s: the notice is %q, want %q in it", tt.name, got, tt.notice)
		}
	}
	c := s.crude().hello()
	c.say(message{Kind: 0x100000ff, ID: 3})
	c.want("an unknown message", kindFailure, "unsupported request")
	c.say(message{Kind: kindOK, ID: 3})
	c.want("a master's message", kindFailure, "unsupported request")
	c.say(message{Kind: kindCloseForward, Forward: &forwardRequest{Type: 77}})
	c.want("a type of forward that there is not", kindFailure, "port not forwarded")
	c.say(message{Kind: kindOpenForward, Forward: &forwardRequest{forwardDynamic, "/s", pathPort, "socks", 0}})
	c.want("a proxy on a path", kindFailure, "Invalid forwarding request")
	// Two sessions of one client.
	session.Session.Command = "hang"
	for _, want := range []struct {
		k      kind
		reason string
	}{{kindSessionOpened, ""}, {kindFailure, "Multiple sessions not supported"}} {
		c.say(session)
		for range 3 {
			c.pass(fd)
		}
		c.want("one of two sessions", want.k, want.reason)
	}
	c.c.Close()
	<-s.over
	if got := runIn(t, s.dial(), Session{Command: "fail"}, ""); got.status != 7 {
		t.Errorf("after all that: got %v", got)
	}
}

// Who asks without reading the answers waits; others do not, and the master ends
// all the same.
func TestFlood(t *testing.T) {
	s := share(t, nil)
	c := s.crude().hello()
	c.c.SetWriteBuffer(4 << 10)
	flooded := make(chan struct{})
	go func() { // ends with the master
		defer close(flooded)
		for c.send(message{Kind: kindAliveCheck}) == nil {
		}
	}()
	if got := runIn(t, s.dial(), Session{Command: "fail"}, ""); got.status != 7 {
		t.Errorf("another client: got %v", got)
	}
	s.Master.Close()
	<-flooded
}

// The descriptors of clients that were turned away, and of sessions that are over,
// are closed.
func TestDescriptorsAreGivenBack(t *testing.T) {
	s := share(t, nil)
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	once := func() {
		runIn(t, s.dial(), Session{Command: "fail"}, "")
		c := s.crude().hello()
		c.say(message{Kind: kindNewSession, Session: &sessionRequest{}})
		c.pass(int(null.Fd()))
		c.pass(int(null.Fd()), int(null.Fd()))
		c.dropped("one descriptor too many")
		c.c.Close()
		<-s.notices
		s.Drain(t.Context())
	}
	once()
	before := testnet.Descriptors(t)
	const rounds = 20
	for range rounds {
		once()
	}
	// Those of this test's own client and its pipes are closed at its end.
	if after := testnet.Descriptors(t); after > before+rounds*ownOfARound {
		t.Errorf("%d descriptors are open after %d rounds, %d before", after, rounds, before)
	}
}

// ownOfARound is how many descriptors a round of the test leaves open by itself: the
// client of runIn, and three ends of its pipes.
const ownOfARound = 4

// Descriptors are left as they were: what is not blocking stays so, and what is
// blocking.
func TestDescriptorsAreLeftAsTheyWere(t *testing.T) {
	s := share(t, nil)
	for _, blocking := range []bool{true, false} {
		for _, kind := range []string{"pipe", "socket"} {
			fds := make([]int, 2)
			var err error
			if kind == "pipe" {
				err = unix.Pipe(fds)
			} else {
				var pair [2]int
				pair, err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
				fds = pair[:]
			}
			if err != nil {
				t.Fatal(err)
			}
			if !blocking {
				unix.SetNonblock(fds[0], true)
			}
			in := os.NewFile(uintptr(fds[0]), "in")
			unix.Close(fds[1])
			_, out := pipe(t)
			p, err := s.dial().Start(Session{Command: "cat"}, in, out, out)
			if err != nil {
				t.Fatal(err)
			}
			p.Wait(t.Context(), nil)
			raw, _ := in.SyscallConn()
			raw.Control(func(fd uintptr) {
				if flags, err := unix.FcntlInt(fd, unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK == 0 != blocking {
					t.Errorf("%s, blocking %v: flags 0x%x, %v, after the session", kind, blocking, flags, err)
				}
			})
			in.Close()
		}
	}
}

func TestMayConnect(t *testing.T) {
	for _, tt := range []struct {
		peer, own int
		want      bool
	}{{1000, 1000, true}, {0, 1000, true}, {1001, 1000, false}, {1000, 0, false}, {-1, 1000, true}} {
		if got := mayConnect(tt.peer, tt.own); got != tt.want {
			t.Errorf("user %d to a master of %d: got %v, want %v", tt.peer, tt.own, got, tt.want)
		}
	}
	s := share(t, nil)
	c := s.crude()
	if _, uid, err := unixsock.PeerOf(c.c); err != nil || uid != os.Getuid() {
		t.Errorf("the peer's user: got %d, %v, want %d", uid, err, os.Getuid())
	}
}
