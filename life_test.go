package adit_test

import (
	"errors"
	"net"
	"strings"
	"testing"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/internal/testpeer"
	"github.com/adit-ssh/adit/trace"
)

// names are the events of a recorder, those of messages left out.
func names(r *trace.Recorder) string {
	var all []string
	for _, rec := range r.Records() {
		if n := rec.Event.Name(); n != "transport:packet" {
			all = append(all, n)
		}
	}
	return strings.Join(all, " ")
}

// A connection tells its life from the first step of dialling to its end, and a
// channel what it is about.
func TestEventsOfAConnection(t *testing.T) {
	s := testpeer.XCrypto(t)
	target := testpeer.EchoTarget(t).Addr
	r := trace.NewRecorder(trace.LevelPacket, 1000)
	c := dial(t, s.Addr, &adit.Config{User: s.User, CheckHostKey: adit.FixedHostKey(s.HostKeys[0]), Keys: adit.Keys(s.Key.Signer), Tracer: r})
	nc, err := c.DialContext(t.Context(), "tcp", target)
	if err != nil {
		t.Fatal(err)
	}
	nc.Close()
	if _, err := c.DialContext(t.Context(), "tcp", testpeer.RefusedAddr(t)); err == nil {
		t.Fatal("connected to nobody")
	}
	c.Close()
	c.Close()
	want := "connection:start dial:stage dial:stage connection:up transport:version transport:negotiated transport:kex_done userauth:attempt mux:channel_opened"
	// A key may be asked about first, which depends on what of the server is there.
	got := strings.Replace(names(r), "userauth:attempt userauth:attempt", "userauth:attempt", 1)
	if !strings.HasPrefix(got, want) || strings.Count(got, "connection:end") != 1 || !strings.HasSuffix(got, " connection:end") {
		t.Errorf("got %s\nwant %s … connection:end", got, want)
	}
	for _, rec := range r.Records() {
		switch e := rec.Event.(type) {
		case trace.ConnStart:
			if e.Role != "client" || e.Target != s.User+"@"+s.Addr {
				t.Errorf("got %+v", e)
			}
		case trace.ConnUp:
			if e.Remote != s.Addr {
				t.Errorf("got %+v", e)
			}
		case trace.ChannelOpened:
			if e.Target != target || !strings.HasPrefix(e.Originator, "127.0.0.1:") {
				t.Errorf("got %+v, want target %s", e, target)
			}
		case trace.ChannelRefused:
			if e.Target == "" {
				t.Errorf("got %+v, want a target", e)
			}
		case trace.ConnEnd:
			if e.Err != "" || e.Took <= 0 {
				t.Errorf("we closed it, and got %+v", e)
			}
		}
	}
}

// A connection that does not come about tells why, and ends.
func TestEventsOfAFailure(t *testing.T) {
	s := testpeer.XCrypto(t)
	for name, cfg := range map[string]*adit.Config{
		"dial":     {Dial: nil},
		"host key": {CheckHostKey: func(_, _ string, _ gossh.PublicKey) error { return errors.New("not that one") }},
		"login":    {CheckHostKey: adit.FixedHostKey(s.HostKeys[0])},
	} {
		r := trace.NewRecorder(trace.LevelConn, 100)
		cfg.User, cfg.Tracer = s.User, r
		address := s.Addr
		if name == "dial" {
			address = testpeer.RefusedAddr(t)
		}
		c, err := adit.Dial(t.Context(), address, cfg)
		if err == nil {
			c.Close()
			t.Fatalf("%s: it works", name)
		}
		records := r.Records()
		e, ok := records[len(records)-1].Event.(trace.ConnEnd)
		if !ok || e.Err != err.Error() {
			t.Errorf("%s: the last event is %+v, want the end with %q", name, records[len(records)-1].Event, err)
		}
	}
}

// Two connections with one trace.File have numbers of their own.
func TestTwoConnections(t *testing.T) {
	s := testpeer.XCrypto(t)
	out, in := net.Pipe()
	defer out.Close()
	f := trace.NewFile(in, trace.LevelConn, "test", new(trace.JSON))
	read := make(chan []trace.Entry, 1)
	go func() { // ends with the trace
		r, err := trace.NewReader(out)
		if err != nil {
			t.Error(err)
			read <- nil
			return
		}
		all, err := r.ReadAll()
		if err != nil {
			t.Error(err)
		}
		read <- all
	}()
	for range 2 {
		dial(t, s.Addr, &adit.Config{User: s.User, CheckHostKey: adit.FixedHostKey(s.HostKeys[0]), Keys: adit.Keys(s.Key.Signer), Tracer: f}).Close()
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	starts, ends := map[int]int{}, map[int]int{}
	for _, e := range <-read {
		switch e.Event {
		case "connection:start":
			starts[e.Conn]++
		case "connection:end":
			ends[e.Conn]++
		}
	}
	for conn := 1; conn <= 2; conn++ {
		if starts[conn] != 1 || ends[conn] != 1 {
			t.Errorf("connection %d begins %d times and ends %d times", conn, starts[conn], ends[conn])
		}
	}
}
