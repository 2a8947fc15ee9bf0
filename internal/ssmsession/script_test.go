package ssmsession

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"io"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/adit-ssh/adit/internal/ssmwire"
)

// script is a gateway that does what a test says, message by message. It is made
// inside a synctest bubble.
type script struct {
	t    *testing.T
	s    *Session
	in   chan []byte
	gone chan struct{}
	once sync.Once
	why  error // what ReadMessage returns at the end; nil is io.EOF

	mu   sync.Mutex
	sent []ssmwire.Frame // guarded by mu: what the client sent
	ids  byte
}

func newScript(t *testing.T) *script {
	return &script{t: t, in: make(chan []byte, 100_000), gone: make(chan struct{})}
}

func (p *script) ReadMessage() ([]byte, error) {
	select {
	case b := <-p.in:
		return b, nil
	case <-p.gone:
		return nil, cmp.Or(p.why, io.EOF)
	}
}

func (p *script) WriteMessage(b []byte) error {
	f, err := ssmwire.Parse(bytes.Clone(b))
	if err != nil {
		p.t.Errorf("the client sent a bad frame: %v", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent = append(p.sent, f)
	return nil
}

func (p *script) Flush() error { return nil }

func (p *script) Close() error {
	p.once.Do(func() { close(p.gone) })
	return nil
}

// output sends a numbered message of the agent's.
func (p *script) output(sequence int64, kind uint32, payload string) {
	p.ids++
	f := ssmwire.Frame{Type: ssmwire.Output, Created: 1, Sequence: sequence, PayloadType: kind, Payload: []byte(payload), ID: ssmwire.ID{15: p.ids}}
	p.in <- f.Append(nil)
}

func (p *script) control(typ, payload string) {
	f := ssmwire.Frame{Type: typ, Created: 1, Flags: ssmwire.FlagsControl, Payload: []byte(payload)}
	p.in <- f.Append(nil)
}

// ack acknowledges a message of the client's.
func (p *script) ack(sequence int64) {
	p.control(ssmwire.Acknowledge, string(ssmwire.AppendAck(nil, ssmwire.Input, ssmwire.ID{}, sequence)))
}

// take returns what the client has sent by now, and forgets it.
func (p *script) take() []ssmwire.Frame {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	sent := p.sent
	p.sent = nil
	return sent
}

// acks are the sequence numbers that the client acknowledged by now, or does while
// an ack may wait.
func (p *script) acks() (sequences []int64) {
	synctest.Wait()
	<-time.After(ackDelay)
	for _, f := range p.take() {
		if f.Type == ssmwire.Acknowledge {
			a, err := ssmwire.ParseAck(f.Payload)
			if err != nil || a.Type != ssmwire.Output {
				p.t.Errorf("bad ack %s: %v", f.Payload, err)
			}
			sequences = append(sequences, a.Sequence)
		}
	}
	return sequences
}

// inputs are the sequence numbers of the client's messages by now.
func (p *script) inputs() (sequences []int64) {
	for _, f := range p.take() {
		if f.Type == ssmwire.Input {
			sequences = append(sequences, f.Sequence)
		}
	}
	return sequences
}

func (p *script) wantAcks(why string, want ...int64) {
	p.t.Helper()
	if got := p.acks(); !slices.Equal(got, want) {
		p.t.Errorf("%s: acks %v, want %v", why, got, want)
	}
}

func (p *script) wantInputs(why string, want ...int64) {
	p.t.Helper()
	if got := p.inputs(); !slices.Equal(got, want) {
		p.t.Errorf("%s: messages %v, want %v", why, got, want)
	}
}

func (p *script) wantRead(why, want string) {
	p.t.Helper()
	buf := make([]byte, len(want))
	p.s.SetReadDeadline(time.Now().Add(time.Second))
	if n, err := io.ReadFull(p.s, buf); string(buf[:n]) != want || err != nil {
		p.t.Errorf("%s: read %q, %v; want %q", why, buf[:n], err, want)
	}
}

const greeting = `{"AgentVersion":"3.3.987.0","RequestedClientActions":[{"ActionType":"SessionType","ActionParameters":{"SessionType":"Port","Properties":{"portNumber":"22"}}}]}`

// begin starts a session and does the handshake: the agent's messages 0 and 1,
// the client's 0.
func (p *script) begin(o Options) {
	p.t.Helper()
	p.greet(greeting)
	if err := p.answered(o); err != nil {
		p.t.Fatal(err)
	}
	p.take()
}

// answered starts a session, acknowledges its answer to the greeting and
// completes the handshake.
func (p *script) answered(o Options) error {
	done := make(chan error, 1)
	go func() { done <- p.start(o) }()
	synctest.Wait()
	p.output(1, ssmwire.PayloadHandshakeComplete, `{"CustomerMessage":"be good"}`)
	p.ack(0)
	return <-done
}

func (p *script) greet(text string) { p.output(0, ssmwire.PayloadHandshakeRequest, text) }

func (p *script) start(o Options) (err error) {
	if o.Connect == nil {
		o.Connect = func(context.Context, bool, func() bool) (Messages, error) { return p, nil }
	}
	ctx, cancel := context.WithTimeout(p.t.Context(), 20*time.Second)
	defer cancel()
	p.s, err = Start(ctx, o)
	return err
}

// scripted runs a test with a session that is open.
func scripted(t *testing.T, o Options, test func(p *script)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := newScript(t)
		p.begin(o)
		defer p.s.Close()
		test(p)
	})
}

func TestHandshakeAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newScript(t)
		p.greet(greeting)
		done := make(chan error, 1)
		go func() { done <- p.start(Options{}) }()
		sent := p.take()
		p.ack(0)
		if len(sent) != 2 || sent[0].Type != ssmwire.Acknowledge || sent[1].PayloadType != ssmwire.PayloadHandshakeResponse || sent[1].Sequence != 0 {
			t.Fatalf("the client sent %+v, want an ack and its response", sent)
		}
		var r ssmwire.HandshakeResponse
		if err := json.Unmarshal(sent[1].Payload, &r); err != nil || r.ClientVersion != ssmwire.ClientModern ||
			len(r.ProcessedClientActions) != 1 || r.ProcessedClientActions[0].ActionStatus != ssmwire.ActionSuccess {
			t.Errorf("response %s, %v", sent[1].Payload, err)
		}
		// The server's first line may come in the same burst.
		p.output(1, ssmwire.PayloadHandshakeComplete, `{"CustomerMessage":"be good"}`)
		p.output(2, ssmwire.PayloadData, "SSH-2.0-x\r\n")
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		defer p.s.Close()
		p.wantRead("early banner", "SSH-2.0-x\r\n")
		p.wantAcks("at once", 1, 2)
		if p.s.CustomerMessage() != "be good" || p.s.Multiplexed() {
			t.Errorf("message %q, multiplexed %v", p.s.CustomerMessage(), p.s.Multiplexed())
		}
		if got := p.s.RemoteAddr().String(); got != "localhost:22" {
			t.Errorf("remote address %s", got)
		}
	})
}

// A document that forwards ports multiplexes with agents that can, and the
// version that we announce decides.
func TestVersionSwitch(t *testing.T) {
	for _, c := range []struct {
		agent           string
		raw, mux, alive bool
		announced       string
	}{
		{agent: "3.3.987.0", mux: true, announced: ssmwire.ClientModern},
		{agent: "3.1.1511.0", mux: true, alive: true, announced: ssmwire.ClientModern},
		{agent: "3.0.196.0", announced: ssmwire.ClientRaw},
		{agent: "nonsense", announced: ssmwire.ClientRaw},
		{agent: "3.3.987.0", raw: true, announced: ssmwire.ClientRaw},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := newScript(t)
			p.greet(`{"AgentVersion":"` + c.agent + `","RequestedClientActions":[{"ActionType":"SessionType","ActionParameters":{"SessionType":"Port","Properties":{"portNumber":"80","type":"LocalPortForwarding"}}}]}`)
			if err := p.answered(Options{Raw: c.raw}); err != nil {
				t.Fatal(err)
			}
			defer p.s.Close()
			var announced string
			for _, f := range p.take() {
				var r ssmwire.HandshakeResponse
				if f.PayloadType == ssmwire.PayloadHandshakeResponse && json.Unmarshal(f.Payload, &r) == nil {
					announced = r.ClientVersion
				}
			}
			if p.s.Multiplexed() != c.mux || p.s.KeepAlive() != c.alive || announced != c.announced {
				t.Errorf("agent %s, raw %v: multiplexed %v, keep-alive %v, announced %s; want %v, %v, %s",
					c.agent, c.raw, p.s.Multiplexed(), p.s.KeepAlive(), announced, c.mux, c.alive, c.announced)
			}
		})
	}
}

func TestRefusedHandshakes(t *testing.T) {
	for _, c := range []struct{ greeting, want string }{
		{`{"RequestedClientActions":[{"ActionType":"SessionType","ActionParameters":{"SessionType":"Standard_Stream"}}]}`, "Standard_Stream"},
		{`{"RequestedClientActions":[{"ActionType":"SessionType","ActionParameters":{"SessionType":"Port"}},{"ActionType":"KMSEncryption","ActionParameters":{"KMSKeyId":"k"}}]}`, "KMS"},
		{`{"RequestedClientActions":[{"ActionType":"Dance"}]}`, "Dance"},
		{`not JSON`, "handshake request"},
		{`{"RequestedClientActions":"many"}`, "handshake request"},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := newScript(t)
			p.greet(c.greeting)
			began := time.Now()
			err := p.answered(Options{})
			if err == nil || !bytes.Contains([]byte(err.Error()), []byte(c.want)) {
				t.Errorf("%s: %v, want one with %q", c.greeting, err, c.want)
			}
			if took := time.Since(began); took > time.Second {
				t.Errorf("%s: took %v", c.greeting, took)
			}
		})
	}
}

// Without an agent, Start ends with its context, and ends the session.
func TestStartIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newScript(t)
		terminated := 0
		began := time.Now()
		err := p.start(Options{Terminate: func(context.Context) error { terminated++; return nil }})
		if err == nil || time.Since(began) != 20*time.Second || terminated != 1 {
			t.Errorf("%v after %v, terminated %d times", err, time.Since(began), terminated)
		}
	})
}
