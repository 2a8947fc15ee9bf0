//go:build unix

package control

import (
	"encoding/binary"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/adit-ssh/adit/internal/testnet"
)

// scriptedMaster answers one client: it reads a message for each answer, and its
// descriptors, and goes.
func scriptedMaster(t *testing.T, hello []byte, descriptors int, answers ...[]byte) *Client {
	t.Helper()
	path, _ := testnet.ServeUnix(t, func(nc *net.UnixConn) {
		c := &conn{c: nc}
		nc.Write(hello)
		c.receive()
		for i, a := range answers {
			if i < 2 || descriptors == 0 { // of a session nothing more is asked
				if _, err := c.receive(); err != nil {
					return
				}
			}
			if i == 1 && descriptors > 0 {
				fds, _ := c.receiveFiles(descriptors)
				closeAll(fds)
			}
			nc.Write(a)
		}
	})
	c, err := Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func framed(m message) []byte {
	b := m.append(make([]byte, 4))
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b
}

var greeting = framed(message{Kind: kindHello, Value: version})

// What a master says that makes no sense is an error, and its words can't write to
// the terminal.
func TestHostileMasters(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer []byte
		want   string
	}{
		{"an answer to something else", framed(message{Kind: kindAlive, ID: 9}), "out of sequence reply: request 0, reply to 9"},
		{"an answer of another kind", framed(message{Kind: kindOK}), "unexpected response from master 0x80000001"},
		{"an unknown answer", framed(message{Kind: 0x8000ffff}), "unexpected response from master 0x8000ffff"},
		{"a long message", []byte{0xff, 0xff, 0xff, 0xff}, "at most 262144 are taken"},
		{"half a message", framed(message{Kind: kindAlive})[:10], "unexpected EOF"},
		{"half an answer", []byte{0, 0, 0, 8, 0x80, 0, 0, 5, 0, 0, 0, 0}, "malformed message 0x80000005"},
		{"nothing", nil, "unexpected EOF"},
		{"a refusal that writes", framed(message{Kind: kindFailure, Reason: "\x1b[2J\r\nno\u009b"}), "alive check failed: ?[2J??no?"},
	} {
		if _, err := scriptedMaster(t, greeting, 0, tt.answer).Alive(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want an error with %q", tt.name, err, tt.want)
		}
	}
	if err := scriptedMaster(t, greeting, 0, nil).Terminate(); err != nil {
		t.Errorf("a master that is gone before it answers -O exit: %v", err)
	}
}

func TestMastersOfAnotherVersion(t *testing.T) {
	for _, tt := range []struct {
		hello []byte
		want  string
	}{
		{framed(message{Kind: kindHello, Value: 5}), "unsupported multiplexing protocol version 5 (expected 4)"},
		{framed(message{Kind: kindOK}), "the master said message 0x80000001 where a hello is due"},
		{nil, "the master's hello: unexpected EOF"},
	} {
		path, ended := testnet.ServeUnix(t, func(nc net.Conn) {
			nc.Read(make([]byte, 12))
			nc.Write(tt.hello)
		})
		if _, err := Dial(t.Context(), path); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got %v, want an error with %q", err, tt.want)
		}
		ended()
	}
}

// A session's end: a status of its own, once; no terminal after all.
func TestWaiting(t *testing.T) {
	opened := framed(message{Kind: kindSessionOpened, ID: 1, Value: 7})
	exit := func(session, status uint32) []byte {
		return framed(message{Kind: kindExit, ID: session, Value: status})
	}
	for _, tt := range []struct {
		name   string
		rest   [][]byte
		status int
		want   string
		cooked bool
	}{
		{"a status", [][]byte{exit(7, 3)}, 3, "", false},
		{"no terminal", [][]byte{framed(message{Kind: kindTTYAllocFail, ID: 7}), exit(7, 3)}, 3, "", true},
		{"none", nil, 0, ErrNoStatus.Error(), false},
		{"another session's", [][]byte{exit(8, 3)}, 0, "unexpected response", false},
		{"two", [][]byte{exit(7, 3), exit(7, 4)}, 0, "unexpected response", false},
		{"half of one", [][]byte{exit(7, 3)[:9]}, 0, "unexpected EOF", false},
	} {
		c := scriptedMaster(t, greeting, 3, append([][]byte{framed(message{Kind: kindAlive, Value: 1}), opened}, tt.rest...)...)
		in, out := pipe(t)
		p, err := c.Start(Session{Command: "x"}, in, out, out)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		cooked := false
		status, err := p.Wait(t.Context(), func() { cooked = true })
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
		if status != tt.status || cooked != tt.cooked {
			t.Errorf("%s: got status %d, cooked %v, want %d, %v", tt.name, status, cooked, tt.status, tt.cooked)
		}
	}
	if _, err := Dial(t.Context(), filepath.Join(t.TempDir(), "none")); !errors.As(err, new(*ConnectError)) {
		t.Errorf("no master: got %v", err)
	}
}
