package session_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/internal/session"
	"github.com/adit-ssh/adit/internal/testpeer"
	"github.com/adit-ssh/adit/internal/wire"
)

// patience bounds tests that fail.
const patience = time.Minute

// served is the server's end of a session.
type served struct {
	gossh.Channel
	requests <-chan *gossh.Request
	conn     gossh.Conn
}

// next returns the next request as text, and answers it if an answer is wanted.
func (s *served) next(ok bool) string {
	r, open := <-s.requests
	if !open {
		return "end"
	}
	r.Reply(ok, nil)
	return fmt.Sprintf("%s %t %q", r.Type, r.WantReply, r.Payload)
}

// exit sends exit-status and CLOSE.
func (s *served) exit(status byte) {
	s.SendRequest("exit-status", false, []byte{0, 0, 0, status})
	s.Close()
}

// open returns a session's channel whose other end serve has. The connection ends
// with the test.
func open(t *testing.T, serve func(*served)) *adit.Conn {
	t.Helper()
	host := testpeer.NewKey(t, "ed25519")
	config := &gossh.ServerConfig{NoClientAuth: true}
	config.AddHostKey(host.Signer)
	a, b := net.Pipe()
	hung := time.AfterFunc(patience, func() { b.Close() })
	t.Cleanup(func() {
		if !hung.Stop() {
			t.Errorf("the session did not end in %v", patience)
		}
	})
	var wg sync.WaitGroup
	wg.Go(func() {
		conn, channels, requests, err := gossh.NewServerConn(b, config)
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		wg.Go(func() { gossh.DiscardRequests(requests) })
		for c := range channels {
			ch, requests, err := c.Accept()
			if err != nil {
				t.Error(err)
				return
			}
			serve(&served{ch, requests, conn})
		}
	})
	c, err := adit.NewClient(t.Context(), a, "server:22", "tester", &adit.Config{CheckHostKey: adit.FixedHostKey(host.Public)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		wg.Wait()
	})
	ch, err := c.OpenChannel(t.Context(), wire.ChannelSession, nil, adit.Options{Requests: true, Stderr: true})
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

func TestRequests(t *testing.T) {
	env := []wire.Env{{Name: "LANG", Value: "C"}, {Name: "EMPTY"}}
	pty := &wire.PtyReq{Term: "vt100", Columns: 80, Rows: 24, Width: 640, Height: 480, Modes: []byte{0}}
	const lang, empty = `env false "\x00\x00\x00\x04LANG\x00\x00\x00\x01C"`, `env false "\x00\x00\x00\x05EMPTY\x00\x00\x00\x00"`
	const terminal = `pty-req true "\x00\x00\x00\x05vt100\x00\x00\x00P\x00\x00\x00\x18\x00\x00\x02\x80\x00\x00\x01\xe0\x00\x00\x00\x01\x00"`
	for _, tt := range []struct {
		name    string
		request session.Request
		want    []string
	}{
		{"shell", session.Request{}, []string{`shell true ""`}},
		{"exec", session.Request{Command: "ls -l", Env: env}, []string{lang, empty, `exec true "\x00\x00\x00\x05ls -l"`}},
		{"subsystem", session.Request{Command: "sftp", Subsystem: true}, []string{`subsystem true "\x00\x00\x00\x04sftp"`}},
		{"terminal", session.Request{PTY: pty, Env: env[:1]}, []string{terminal, lang, `shell true ""`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ch := open(t, func(s *served) {
				for _, want := range tt.want {
					if got := s.next(true); got != want {
						t.Errorf("asked for %s, want %s", got, want)
					}
				}
				s.exit(0)
			})
			s, err := session.Start(ch, tt.request)
			if err != nil {
				t.Fatal(err)
			}
			if exit, _, err := s.Run(t.Context(), session.Streams{Out: io.Discard, Err: io.Discard}); err != nil || !exit.Known {
				t.Errorf("ended with %+v, %v, want an exit status", exit, err)
			}
		})
	}
}

func TestStreams(t *testing.T) {
	in := strings.Repeat("what goes in comes out\r\n\x00\xff", 100_000)
	ch := open(t, func(s *served) {
		s.next(true)
		if _, err := io.Copy(s, s); err != nil { // until EOF
			t.Error(err)
		}
		io.WriteString(s.Stderr(), "that was all\n")
		s.exit(7)
	})
	s, err := session.Start(ch, session.Request{Command: "cat"})
	if err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	ended := false
	exit, unwritten, err := s.Run(t.Context(), session.Streams{In: strings.NewReader(in), Out: &out, Err: &errs, OutEnded: func() { ended = true }})
	if exit != (session.Exit{Known: true, Status: 7}) || unwritten != nil || err != nil {
		t.Errorf("ended with %+v, %v, %v, want status 7", exit, unwritten, err)
	}
	if out.String() != in || errs.String() != "that was all\n" || !ended {
		t.Errorf("%d bytes came out, want the %d that went in; standard error %q; OutEnded was called: %t", out.Len(), len(in), errs.String(), ended)
	}
}

func TestHowItEnds(t *testing.T) {
	for _, tt := range []struct {
		name  string
		serve func(*served)
		want  session.Exit
	}{
		{"status 0", func(s *served) { s.exit(0) }, session.Exit{Known: true}},
		{"status before output", func(s *served) {
			s.SendRequest("exit-status", false, []byte{0, 0, 1, 0})
			io.WriteString(s, "late")
			s.Close()
		}, session.Exit{Known: true, Status: 256}},
		{"signal", func(s *served) {
			s.SendRequest("exit-signal", false, gossh.Marshal(struct {
				Name     string
				Core     bool
				Msg, Tag string
			}{"TERM", false, "ended", ""}))
			s.Close()
		}, session.Exit{Known: true, Signal: "TERM"}},
		{"without a word", func(s *served) { s.Close() }, session.Exit{}},
		{"malformed", func(s *served) {
			if ok, err := s.SendRequest("exit-status", true, []byte{0, 0}); ok || err != nil {
				t.Errorf("two bytes as exit-status: answered %t, %v, want a failure", ok, err)
			}
			s.Close()
		}, session.Exit{}},
		{"unknown requests", func(s *served) {
			if ok, err := s.SendRequest("frobnicate", true, nil); ok || err != nil {
				t.Errorf("an unknown request: answered %t, %v, want a failure", ok, err)
			}
			s.SendRequest("eow@openssh.com", false, nil)
			s.exit(1)
		}, session.Exit{Known: true, Status: 1}},
		{"connection lost", func(s *served) { s.conn.Close() }, session.Exit{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ch := open(t, func(s *served) {
				s.next(true)
				tt.serve(s)
			})
			s, err := session.Start(ch, session.Request{Command: "x"})
			if err != nil {
				t.Fatal(err)
			}
			if exit, _, err := s.Run(t.Context(), session.Streams{Out: io.Discard, Err: io.Discard}); exit != tt.want || err != nil {
				t.Errorf("ended with %+v, %v, want %+v", exit, err, tt.want)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	unwanted := errors.New("a terminal or nothing")
	for _, tt := range []struct {
		name       string
		pty, start bool // what the server grants
		noPTY      error
		wantErr    string
	}{
		{"no terminal, and none needed", false, true, nil, ""},
		{"no terminal", false, true, unwanted, "a terminal or nothing"},
		{"no command", true, false, nil, "exec request failed on channel 0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ch := open(t, func(s *served) {
				s.next(tt.pty)
				s.next(tt.start)
				if tt.wantErr == "" {
					s.exit(0)
				} else if got := s.next(false); got != "end" {
					t.Errorf("after the refusal came %s, want the channel's end", got)
				}
			})
			s, err := session.Start(ch, session.Request{Command: "x", PTY: &wire.PtyReq{}})
			if err != nil {
				t.Fatal(err)
			}
			called := false
			_, _, err = s.Run(t.Context(), session.Streams{Out: io.Discard, Err: io.Discard, NoPTY: func() error {
				called = true
				return tt.noPTY
			}})
			if got := fmt.Sprint(err); (err != nil || tt.wantErr != "") && got != tt.wantErr {
				t.Errorf("ended with %v, want %q", err, tt.wantErr)
			}
			if called == tt.pty {
				t.Errorf("NoPTY was called: %t, want %t", called, !tt.pty)
			}
		})
	}
}

// Whoever reads our output may stop, as head does: the server hears of it, and the
// other stream goes on.
func TestOutputNobodyReads(t *testing.T) {
	ch := open(t, func(s *served) {
		s.next(true)
		io.WriteString(s, "y\n")
		if got, want := s.next(false), `eow@openssh.com false ""`; got != want {
			t.Errorf("the server heard %s, want %s", got, want)
		}
		io.WriteString(s, strings.Repeat("y\n", 2<<20)) // more than the window
		io.WriteString(s.Stderr(), "broken pipe\n")
		s.exit(1)
	})
	s, err := session.Start(ch, session.Request{Command: "yes"})
	if err != nil {
		t.Fatal(err)
	}
	r, w := io.Pipe()
	broken := errors.New("nobody reads")
	r.CloseWithError(broken)
	var errs bytes.Buffer
	exit, unwritten, err := s.Run(t.Context(), session.Streams{Out: w, Err: &errs})
	if exit.Status != 1 || unwritten != broken || err != nil || errs.String() != "broken pipe\n" {
		t.Errorf("ended with %+v, %v, %v, standard error %q; want status 1, %v, and what was said last", exit, unwritten, err, errs.String(), broken)
	}
}

// An interrupt ends the session although standard input never ends and nobody
// takes the output.
func TestInterrupted(t *testing.T) {
	stuck := make(chan struct{})
	ch := open(t, func(s *served) {
		s.next(true)
		io.WriteString(s, "output")
		<-stuck
		if got := s.next(false); got != "end" {
			t.Errorf("the server heard %s, want the channel's end", got)
		}
	})
	s, err := session.Start(ch, session.Request{Command: "x"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	in, keys := io.Pipe()
	out, w := io.Pipe()
	defer keys.Close()
	defer out.Close()
	why := errors.New("interrupted")
	writing := writerFunc(func(p []byte) (int, error) {
		cancel(why)
		close(stuck)
		return w.Write(p) // for ever
	})
	if _, _, err := s.Run(ctx, session.Streams{In: in, Out: writing, Err: io.Discard}); err != why {
		t.Errorf("ended with %v, want %v", err, why)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// A session that a person ends with ~. has ended, whatever the server does.
func TestTerminated(t *testing.T) {
	ch := open(t, func(s *served) {
		s.next(true)
		b, err := io.ReadAll(s)
		if string(b) != "ls\n" || err != nil {
			t.Errorf("the server read %q, %v, want what was typed before", b, err)
		}
	})
	s, err := session.Start(ch, session.Request{})
	if err != nil {
		t.Fatal(err)
	}
	keys := &session.Escapes{In: strings.NewReader("ls\n~."), Char: '~', Do: func(byte) (bool, error) { return true, session.ErrTerminated }}
	if exit, _, err := s.Run(t.Context(), session.Streams{In: keys, Out: io.Discard, Err: io.Discard}); err != session.ErrTerminated || exit.Known {
		t.Errorf("ended with %+v, %v, want %v", exit, err, session.ErrTerminated)
	}
}
