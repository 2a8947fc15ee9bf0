package rawpipe

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/adit-ssh/adit/internal/testnet"
	"github.com/adit-ssh/adit/internal/wire"
)

const (
	clientVersion = "SSH-2.0-client\r\n"
	serverVersion = "SSH-2.0-server\r\n"
)

// readDisconnect reads what a client would take for a version line and a
// DISCONNECT, and returns its text.
func readDisconnect(t *testing.T, b []byte) string {
	t.Helper()
	line, packet, found := bytes.Cut(b, []byte("\r\n"))
	if !found || !bytes.HasPrefix(line, []byte("SSH-2.0-adit")) {
		t.Fatalf("%q does not begin with a version line of ours", b)
	}
	if len(packet) < 16 || len(packet)%8 != 0 {
		t.Fatalf("a packet of %d bytes: 16 at least are due, and a multiple of 8", len(packet))
	}
	length, padding := int(binary.BigEndian.Uint32(packet)), int(packet[4])
	if length+4 != len(packet) || padding < 4 || padding > length-1 {
		t.Fatalf("packet_length %d, padding_length %d in %d bytes", length, padding, len(packet))
	}
	m, err := wire.Decode(wire.PhaseAny, packet[5:4+length-padding])
	if err != nil {
		t.Fatal(err)
	}
	return m.(*wire.Disconnect).Description
}

func TestAppendDisconnect(t *testing.T) {
	for n := range 600 {
		text := readDisconnect(t, AppendDisconnect(nil, "adit_0.1", strings.Repeat("x", n)))
		if want := min(n, maxReason); len(text) != want {
			t.Errorf("a text of %d bytes is %d bytes, want %d", n, len(text), want)
		}
	}
	b := AppendDisconnect([]byte{}, "adit x-\r\ny", "one\ntwo\x1b[2J\x00ü…")
	if want := "SSH-2.0-adit_x___y\r\n"; !strings.HasPrefix(string(b), want) {
		t.Errorf("version line %q, want %q", b[:20], want)
	}
	if got, want := readDisconnect(t, b), "one two?[2J??..."; got != want {
		t.Errorf("text %q, want %q", got, want)
	}
}

// rig is a Pipe between a client and a server that the test plays.
type rig struct {
	Pipe
	client, server *testnet.Conn
	err            error
	done           chan struct{}
}

// newRig starts nothing yet.
func newRig() *rig {
	client, ours := testnet.Pipe(testnet.Options{})
	near, server := testnet.Pipe(testnet.Options{})
	r := &rig{client: client, server: server, done: make(chan struct{})}
	r.In, r.Out, r.CloseOut = ours, ours, ours.CloseWrite
	r.Program, r.Timeout = "adit", Timeout
	r.Dial = func(context.Context) (net.Conn, error) { return near, nil }
	return r
}

func (r *rig) start(ctx context.Context) {
	go func() {
		defer close(r.done)
		defer r.In.(*testnet.Conn).Close() // as a program's end does
		r.err = r.Run(ctx)
	}()
}

// end closes what is still open, so that all goroutines end.
func (r *rig) end() {
	r.client.Close()
	r.server.Close()
	<-r.done
}

func wantRead(t *testing.T, c io.Reader, want string) {
	t.Helper()
	b := make([]byte, len(want))
	if _, err := io.ReadFull(c, b); err != nil || string(b) != want {
		t.Errorf("read %q, %v, want %q", b, err, want)
	}
}

func TestRunCopies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig()
		r.start(t.Context())
		defer r.end()
		io.WriteString(r.client, clientVersion)
		wantRead(t, r.server, clientVersion)
		io.WriteString(r.server, serverVersion)
		wantRead(t, r.client, serverVersion)
		<-time.After(time.Hour) // no limit any more
		io.WriteString(r.server, "later")
		wantRead(t, r.client, "later")
		r.server.Close()
		if rest, err := io.ReadAll(r.client); len(rest) > 0 || err != nil {
			t.Errorf("at the server's end the client reads %q, %v, want its end", rest, err)
		}
		if <-r.done; r.err != nil {
			t.Errorf("the server's end: %v", r.err)
		}
	})
}

// What is told in band, and when it is not.
func TestRunTells(t *testing.T) {
	unreachable := errors.New("connect to db:22: no route")
	hang := func(ctx context.Context) (net.Conn, error) {
		<-ctx.Done()
		return nil, errors.Join(errors.New("connect to db:22"), context.Cause(ctx))
	}
	deaf := make(chan struct{})
	for _, tt := range []struct {
		name  string
		edit  func(*rig)
		serve func(*rig) // plays the server
		text  string     // of the DISCONNECT; "" for none
		err   string
		took  time.Duration
	}{
		{"unreachable", func(r *rig) {
			r.Dial = func(context.Context) (net.Conn, error) { return nil, unreachable }
			r.Hint = func(error) string { return "try another" }
			r.Telling = func(err error) { r.Hint = func(error) string { return "try another, " + err.Error()[:7] } }
		}, nil, "adit: connect to db:22: no route (try another, connect)", "no route", 0},
		{"slow to connect", func(r *rig) { r.Dial = hang }, nil, "adit: connect to db:22 no answer within 8s: i/o timeout", "no answer", 8 * time.Second},
		{"a dialer that is stuck", func(r *rig) {
			r.Dial = func(context.Context) (net.Conn, error) { <-deaf; return nil, unreachable }
		}, nil, "adit: on the way to the server: no answer within 8s: i/o timeout", "no answer", 8*time.Second + abandon},
		{"silent", nil, nil, "adit: wait for the server's version line: no answer within 8s: i/o timeout", "no answer", 8 * time.Second},
		{"closed", nil, func(r *rig) { r.server.Close() }, "adit: wait for the server's version line: the server closed the connection without a byte", "without a byte", 0},
		{"cut", nil, func(r *rig) { r.server.Reset() }, "adit: wait for the server's version line: ", "version line", 0},
		{"half a line", nil, func(r *rig) {
			io.ReadFull(r.server, make([]byte, len(clientVersion)))
			io.WriteString(r.server, "SS")
			r.server.Close()
		}, "", "", 0},
		{"longer by wish", func(r *rig) { r.Timeout = time.Minute }, nil, "adit: wait for the server's version line: no answer within 1m0s: i/o timeout", "no answer", time.Minute},
		{"not SSH", func(r *rig) {
			r.NotSSH = true
			r.Dial = func(context.Context) (net.Conn, error) { return nil, unreachable }
		}, nil, "", "no route", 0},
		{"an echo", func(r *rig) { r.Clean = true }, func(r *rig) {
			b := make([]byte, len(clientVersion))
			io.ReadFull(r.server, b)
			io.WriteString(r.server, "Last login: today\r\n"+string(b))
		}, "adit: wait for the server's version line: what comes back is the client's own", "client's own", 0},
		{"a banner and silence", func(r *rig) { r.Clean = true }, func(r *rig) {
			io.WriteString(r.server, "Welcome\r\n")
		}, "adit: wait for the server's version line: no answer", "no answer", 8 * time.Second},
		{"an endless line", func(r *rig) { r.Clean = true }, func(r *rig) {
			io.WriteString(r.server, strings.Repeat("x", maxLine))
		}, "adit: wait for the server's version line: a line of more than 8192 bytes", "8192 bytes", 0},
		{"endless lines", func(r *rig) { r.Clean = true }, func(r *rig) {
			io.WriteString(r.server, strings.Repeat("x\n", maxLines))
		}, "adit: wait for the server's version line: 1024 lines came", "1024 lines", 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			deaf = make(chan struct{})
			r := newRig()
			if tt.edit != nil {
				tt.edit(r)
			}
			io.WriteString(r.client, clientVersion)
			start := time.Now()
			r.start(t.Context())
			if tt.serve != nil {
				tt.serve(r)
			}
			first := make([]byte, 4096)
			n, _ := r.client.Read(first)
			took := time.Since(start)
			r.client.Close() // it has what it wanted
			if <-r.done; time.Since(start) != took {
				t.Errorf("%s: took %v longer than its client", tt.name, time.Since(start)-took)
			}
			r.end()
			close(deaf)
			if tt.text == "" && bytes.Contains(first[:n], []byte("SSH-2.0-adit")) {
				t.Errorf("%s: told %q", tt.name, first[:n])
			}
			if tt.text != "" && took != tt.took {
				t.Errorf("%s: took %v, want %v", tt.name, took, tt.took)
			}
			if tt.text != "" && n == 0 {
				t.Errorf("%s: the client is told nothing; error %v", tt.name, r.err)
			} else if tt.text != "" {
				if got := readDisconnect(t, first[:n]); !strings.HasPrefix(got, tt.text) {
					t.Errorf("%s: told %q, want %q", tt.name, got, tt.text)
				}
			}
			if got := ""; r.err != nil {
				if got = r.err.Error(); tt.err == "" || !strings.Contains(got, tt.err) {
					t.Errorf("%s: error %q, want %q", tt.name, got, tt.err)
				}
			} else if tt.err != "" {
				t.Errorf("%s: no error, want %q", tt.name, tt.err)
			}
		})
	}
}

// A clock counts only the time in which nobody is asked, whichever questions
// overlap, also one that was asked before it began.
func TestClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewClock(10 * time.Second)
		early := c.Pause()
		ctx, stop := c.Limit(t.Context())
		defer stop()
		began := time.Now()
		<-time.After(time.Hour)
		early()
		<-time.After(9 * time.Second)
		first := c.Pause()
		<-time.After(time.Minute)
		second := c.Pause()
		first()
		<-time.After(time.Minute)
		second()
		<-ctx.Done()
		if took := time.Since(began); took != time.Hour+2*time.Minute+10*time.Second {
			t.Errorf("it ended after %v, want 10s besides the questions' time", took)
		}
		if err := context.Cause(ctx); !errors.Is(err, os.ErrDeadlineExceeded) || err.Error() != "no answer within 10s: i/o timeout" {
			t.Errorf("its cause is %v", err)
		}
		c.Pause()() // too late, and harmless
	})
	synctest.Test(t, func(t *testing.T) {
		c := NewClock(0)
		ctx, stop := c.Limit(t.Context())
		c.Pause()()
		<-time.After(1000 * time.Hour)
		if ctx.Err() != nil {
			t.Errorf("without a limit it ended: %v", context.Cause(ctx))
		}
		stop()
	})
}

// A client that goes away ends it at once, whatever it was doing, and so does a
// signal.
func TestRunEnds(t *testing.T) {
	reason := errors.New("signal")
	hang := func(ctx context.Context) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }
	for _, tt := range []struct {
		name string
		edit func(*rig)
		end  func(r *rig, gone chan struct{}, cancel context.CancelCauseFunc)
		want error
		sent bool // the client has sent its version before
	}{
		{"EOF while connecting", func(r *rig) { r.Dial = hang }, func(r *rig, _ chan struct{}, _ context.CancelCauseFunc) { r.client.CloseWrite() }, nil, false},
		{"hang-up while connecting", func(r *rig) { r.Dial = hang }, func(_ *rig, gone chan struct{}, _ context.CancelCauseFunc) { close(gone) }, nil, true},
		{"signal while connecting", func(r *rig) { r.Dial = hang }, func(_ *rig, _ chan struct{}, cancel context.CancelCauseFunc) { cancel(reason) }, reason, true},
		{"EOF", nil, func(r *rig, _ chan struct{}, _ context.CancelCauseFunc) { r.client.CloseWrite() }, nil, true},
		{"hang-up", nil, func(_ *rig, gone chan struct{}, _ context.CancelCauseFunc) { close(gone) }, nil, true},
		{"hang-up of what is no SSH", func(r *rig) { r.NotSSH = true }, func(_ *rig, gone chan struct{}, _ context.CancelCauseFunc) { close(gone) }, nil, true},
		{"a reader that is gone", func(r *rig) { r.Out = brokenPipe(t) }, func(r *rig, _ chan struct{}, _ context.CancelCauseFunc) {
			io.WriteString(r.server, serverVersion)
		}, nil, true},
		{"signal", nil, func(_ *rig, _ chan struct{}, cancel context.CancelCauseFunc) { cancel(reason) }, reason, true},
		{"signal while a failure is told", func(r *rig) {
			r.Dial = func(context.Context) (net.Conn, error) { return nil, reason }
		}, func(_ *rig, _ chan struct{}, cancel context.CancelCauseFunc) { cancel(errors.New("x")) }, reason, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			r, gone := newRig(), make(chan struct{})
			r.Gone = gone
			if tt.edit != nil {
				tt.edit(r)
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			if tt.sent {
				io.WriteString(r.client, clientVersion)
			}
			r.start(ctx)
			synctest.Wait()
			start := time.Now()
			tt.end(r, gone, cancel)
			<-r.done
			if took := time.Since(start); took > 100*time.Millisecond {
				t.Errorf("%s: took %v", tt.name, took)
			}
			if !errors.Is(r.err, tt.want) {
				t.Errorf("%s: %v, want %v", tt.name, r.err, tt.want)
			}
			r.end()
		})
	}
}

// What is no SSH has half-closes, and may take its time.
func TestRunHalfCloses(t *testing.T) {
	for _, said := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig()
			r.NotSSH = said // otherwise it is seen by what the client sends
			r.start(t.Context())
			defer r.end()
			io.WriteString(r.client, "GET / HTTP/1.0\r\n\r\n")
			r.client.CloseWrite()
			if b, err := io.ReadAll(r.server); string(b) != "GET / HTTP/1.0\r\n\r\n" || err != nil {
				t.Errorf("the server reads %q, %v", b, err)
			}
			<-time.After(time.Minute)
			io.WriteString(r.server, "slow answer")
			r.server.Close()
			if b, err := io.ReadAll(r.client); string(b) != "slow answer" || err != nil {
				t.Errorf("the client reads %q, %v", b, err)
			}
			if <-r.done; r.err != nil {
				t.Error(r.err)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) { // the server ends first
		r := newRig()
		r.NotSSH = true
		r.start(t.Context())
		defer r.end()
		r.server.CloseWrite()
		if b, err := io.ReadAll(r.client); len(b) > 0 || err != nil {
			t.Errorf("the client reads %q, %v", b, err)
		}
		io.WriteString(r.client, "still there")
		r.client.CloseWrite()
		if b, err := io.ReadAll(r.server); string(b) != "still there" || err != nil {
			t.Errorf("the server reads %q, %v", b, err)
		}
		if <-r.done; r.err != nil {
			t.Error(r.err)
		}
	})
}

// brokenPipe is a standard output whose reader is gone.
func brokenPipe(t *testing.T) io.Writer {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	r.Close()
	return w
}

func TestRunClean(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig()
		r.Clean = true
		var skipped []string
		r.Skipped = func(line string) { skipped = append(skipped, line) }
		io.WriteString(r.client, clientVersion)
		r.start(t.Context())
		defer r.end()
		for _, b := range []byte("Starting session\r\n\r\n\x1b[1mhi\n" + serverVersion + "KEX") {
			r.server.Write([]byte{b})
		}
		wantRead(t, r.client, serverVersion+"KEX")
		if got := strings.Join(skipped, "|"); got != "Starting session||?[1mhi" {
			t.Errorf("left out %q", got)
		}
		io.WriteString(r.server, "not SSH any more\n") // is the peer's matter
		wantRead(t, r.client, "not SSH any more\n")
	})
}

func FuzzClean(f *testing.F) {
	f.Add([]byte("hello\r\nSSH-2.0-x\r\nrest"), byte(3))
	f.Add([]byte(clientVersion), byte(1))
	f.Fuzz(func(t *testing.T, in []byte, step byte) {
		src := &stepReader{in, int(step)%64 + 1}
		buf := make([]byte, bufferSize)
		n, err := clean(src, buf, func() string { return strings.TrimSpace(clientVersion) }, nil)
		if err == nil && !bytes.HasPrefix(buf[:n], []byte("SSH-")) {
			t.Errorf("%q comes through", buf[:n])
		}
		if err != nil && err != io.EOF && n > 0 {
			t.Errorf("%d bytes come with %v", n, err)
		}
	})
}

type stepReader struct {
	b    []byte
	step int
}

func (r *stepReader) Read(p []byte) (int, error) {
	if len(r.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.b[:min(len(r.b), r.step)])
	r.b = r.b[n:]
	return n, nil
}
