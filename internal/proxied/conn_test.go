package proxied_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/adit-ssh/adit/internal/mux"
	"github.com/adit-ssh/adit/internal/packet"
	"github.com/adit-ssh/adit/internal/proxied"
	"github.com/adit-ssh/adit/internal/wire"
)

// scripted is a Conn whose peer the test plays.
func scripted(t *testing.T) (*proxied.Conn, net.Conn) {
	a, b := net.Pipe()
	c := proxied.New(a)
	t.Cleanup(func() { b.Close(); c.Close() })
	return c, b
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestFraming(t *testing.T) {
	c, peer := scripted(t)
	for _, tt := range []struct{ name, payload, want string }{
		{"EOF of a channel", "60 00000007", "00000006 00 60 00000007"},
		{"an answer without data", "51", "00000005 00 51 000000"},
	} {
		if err := c.WritePacket(unhex(t, tt.payload), nil); err != nil {
			t.Fatal(err)
		}
		want := unhex(t, tt.want)
		got := make([]byte, len(want))
		if _, err := io.ReadFull(peer, got); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: got %x, %v, want %x", tt.name, got, err, want)
		}
	}
	b := c.NewBatch(4)
	copy(b.Data(0), "abcd")
	copy(b.Data(1), "ef")
	b.Fill(7, 6)
	if err := c.WriteBatch(b, nil); err != nil {
		t.Fatal(err)
	}
	want := unhex(t, "0000000e 00 5e 00000007 00000004 61626364  0000000c 00 5e 00000007 00000002 6566")
	got := make([]byte, len(want))
	if _, err := io.ReadFull(peer, got); err != nil || !bytes.Equal(got, want) {
		t.Errorf("a batch: got %x, %v, want %x", got, err, want)
	}
}

func TestReading(t *testing.T) {
	for _, tt := range []struct{ name, sent, want, err string }{
		{"two packets", "00000006 00 60 00000007 00000006 00 61 00000008", "60 00000007, 61 00000008", "EOF"},
		{"a failure made longer", "00000005 00 52 000000", "52", "EOF"},
		{"messages of the transport", "00000002 00 02 00000006 00 01 00000000 00000006 00 60 00000007 00000002 00 15", "60 00000007", "EOF"},
		{"nothing", "", "", "EOF"},
		{"a length that is cut", "0000", "", "unexpected EOF"},
		{"a packet that is cut", "00000006 00 60 0000", "", "unexpected EOF"},
		{"length 0", "00000000 00", "", "a packet of 0 bytes"},
		{"length 1", "00000001 00", "", "a packet of 1 bytes"},
		{"too long", "00040001 00", "", "a packet of 262145 bytes"},
		{"the longest", "ffffffff 00", "", "a packet of 4294967295 bytes"},
		{"padding", "00000006 04 60 00000007", "", "4 bytes of padding"},
	} {
		c, peer := scripted(t)
		var wg sync.WaitGroup
		wg.Go(func() { peer.Write(unhex(t, tt.sent)); peer.Close() })
		var got []string
		var err error
		for err == nil {
			var p []byte
			if p, err = c.ReadBuffered(); p == nil && err == nil {
				p, err = c.ReadPacket()
			}
			if err == nil {
				got = append(got, hex.EncodeToString(p))
			}
		}
		wg.Wait()
		if text := strings.Join(got, ", "); text != strings.NewReplacer(" ", "", ",", ", ").Replace(tt.want) || !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: got %s, then %v, want %s, then %s", tt.name, text, err, tt.want, tt.err)
		}
	}
}

// A peer that reads nothing holds writers up, which can be cancelled, and what can't
// wait becomes an error before memory runs out.
func TestPeerThatDoesNotRead(t *testing.T) {
	c, _ := scripted(t)
	p := make([]byte, 64<<10)
	p[0] = wire.NumChannelData
	cancel := make(chan struct{})
	waiting := make(chan error, 1)
	go func() { // ends with cancel
		for {
			if err := c.WritePacket(p, cancel); err != nil {
				waiting <- err
				return
			}
		}
	}()
	var err error
	total := 0
	for ; err == nil; total += len(p) {
		err = c.QueuePacket(p)
	}
	if !errors.Is(err, proxied.ErrOverflow) || total > 8<<20 {
		t.Errorf("got %v after %d bytes, want %v", err, total, proxied.ErrOverflow)
	}
	close(cancel)
	if err := <-waiting; err != packet.ErrCancelled {
		t.Errorf("a writer that waited: got %v, want %v", err, packet.ErrCancelled)
	}
}

// Whoever waits for room is woken by the connection's end.
func TestCloseWakesWriters(t *testing.T) {
	c, peer := scripted(t)
	p := make([]byte, 64<<10)
	waiting := make(chan error, 1)
	go func() { // ends with the connection
		for {
			if err := c.WritePacket(p, nil); err != nil {
				waiting <- err
				return
			}
		}
	}()
	io.ReadFull(peer, make([]byte, 1<<20)) // it writes
	peer.Close()
	if err := <-waiting; err == nil {
		t.Error("a write to a peer that has gone succeeds")
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := c.QueuePacket(p); err == nil {
		t.Error("QueuePacket after Close succeeds")
	}
}

// Two muxes speak with each other, as master and client do, also when much is said.
func TestMux(t *testing.T) {
	a, b := net.Pipe()
	server := mux.New(proxied.New(a), mux.Config{
		Open: func(p *mux.Pending) {
			ch, err := p.Accept(mux.Options{})
			if err == nil {
				io.Copy(ch, ch)
				ch.CloseWrite()
				<-ch.Closed()
			}
		},
		Global: func(name string, data []byte) (bool, []byte) { return name == "yes", data },
	})
	client := mux.New(proxied.New(b), mux.Config{})
	defer server.Close()
	defer client.Close()
	for name, want := range map[string]bool{"yes": true, "no": false} {
		ok, reply, err := client.Request(context.Background(), name, true, []byte("data"))
		if ok != want || err != nil || want && string(reply) != "data" {
			t.Errorf("global request %s: got %v, %q, %v", name, ok, reply, err)
		}
	}
	ch, err := client.Open(t.Context(), "session", nil, mux.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer ch.Close()
	text := bytes.Repeat([]byte("all of it, "), 1<<20)
	var wg sync.WaitGroup
	wg.Go(func() { ch.Write(text); ch.CloseWrite() })
	if got, err := io.ReadAll(ch); err != nil || !bytes.Equal(got, text) {
		t.Errorf("got %d bytes back, %v, want the %d that were sent", len(got), err, len(text))
	}
	wg.Wait()
}

func FuzzReading(f *testing.F) {
	f.Add([]byte{0, 0, 0, 6, 0, 0x60, 0, 0, 0, 7})
	f.Add([]byte{0, 0, 0, 5, 0, 0x52, 0, 0, 0, 0, 0, 0, 2, 0, 21})
	f.Fuzz(func(t *testing.T, b []byte) {
		c := proxied.New(readOnly{bytes.NewReader(b)})
		defer c.Close()
		for {
			p, err := c.ReadPacket()
			if err != nil {
				return
			}
			if len(p) == 0 || p[0] < wire.NumGlobalRequest || p[0] > wire.NumChannelFailure {
				t.Fatalf("packet %x", p)
			}
		}
	})
}

// readOnly is a connection that only has what to read.
type readOnly struct{ io.Reader }

func (readOnly) Write(p []byte) (int, error)      { return len(p), nil }
func (readOnly) Close() error                     { return nil }
func (readOnly) LocalAddr() net.Addr              { return nil }
func (readOnly) RemoteAddr() net.Addr             { return nil }
func (readOnly) SetDeadline(time.Time) error      { return nil }
func (readOnly) SetReadDeadline(time.Time) error  { return nil }
func (readOnly) SetWriteDeadline(time.Time) error { return nil }
