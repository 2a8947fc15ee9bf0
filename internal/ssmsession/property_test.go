package ssmsession

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/adit-ssh/adit/internal/testnet"
	"github.com/adit-ssh/adit/internal/testpeer/ssmgw"
)

// bench is a gateway, an agent and a target in memory.
type bench struct {
	t       testing.TB
	gw      *ssmgw.Gateway
	target  func(net.Conn) // what the agent reaches
	options Options
	late    func() // before each new WebSocket, if not nil
	id      string
}

// start opens a session of a document through the gateway.
func (b *bench) start(ctx context.Context, document string, parameters map[string][]string) (*Session, error) {
	if b.target != nil {
		b.gw.Agent.Dial = func(context.Context, string) (net.Conn, error) {
			near, far := testnet.Pipe(testnet.Options{})
			go b.target(far) // ends with its connection
			return near, nil
		}
	}
	id, token, err := b.gw.StartSession(document, parameters)
	if err != nil {
		return nil, err
	}
	b.id = id
	o := b.options
	o.Connect = func(_ context.Context, again bool, _ func() bool) (Messages, error) {
		if again {
			if b.late != nil {
				b.late()
			}
			if token, err = b.gw.ResumeSession(id); err != nil {
				return nil, err
			}
			if token == "" {
				return nil, ErrOver
			}
		}
		c, err := b.gw.Open(id, fmt.Appendf(nil, `{"MessageSchemaVersion":"1.0","RequestId":"r","TokenValue":%q,"ClientId":"c","ClientVersion":"1.2.792.0"}`, token))
		if err != nil {
			return nil, err
		}
		return wire{c}, nil
	}
	return Start(ctx, o)
}

// wire turns the gateway's errors into ours.
type wire struct{ *ssmgw.Conn }

func (w wire) ReadMessage() ([]byte, error) {
	b, err := w.Conn.ReadMessage()
	if errors.Is(err, ssmgw.ErrTooBig) {
		err = fmt.Errorf("%w: %w", ErrTooBig, err)
	}
	return b, err
}

// stream is size bytes that a seed makes, behind their number.
func stream(seed byte, size int) []byte {
	b := make([]byte, 8+size)
	binary.BigEndian.PutUint64(b, uint64(size))
	rand.NewChaCha8([32]byte{seed}).Read(b[8:])
	return b
}

// readStream reads what stream made, and returns its hash.
func readStream(r io.Reader) (sum [sha256.Size]byte, err error) {
	head := make([]byte, 8)
	if _, err := io.ReadFull(r, head); err != nil {
		return sum, err
	}
	h := sha256.New()
	if _, err := io.CopyN(h, r, int64(binary.BigEndian.Uint64(head))); err != nil {
		return sum, err
	}
	return [sha256.Size]byte(h.Sum(nil)), nil
}

// exchange sends up and has the target send down, at the same time; the target
// answers with the hash of what it got. It returns what went wrong: an error is
// fair, wrong bytes are not.
func exchange(t testing.TB, s *Session, up, down []byte) error {
	errs := make(chan error, 2)
	go func() {
		_, err := s.Write(up)
		errs <- err
	}()
	sum, err := readStream(s)
	if err == nil {
		if sum != sha256.Sum256(down[8:]) {
			t.Error("what came down is not what was sent")
		}
		answer := make([]byte, sha256.Size)
		if _, err = io.ReadFull(s, answer); err == nil && [sha256.Size]byte(answer) != sha256.Sum256(up[8:]) {
			t.Error("what went up is not what was sent")
		}
	}
	if err != nil {
		s.SetDeadline(time.Unix(1, 0)) // the writer, too
	}
	return errors.Join(err, <-errs)
}

// exchangeTarget is the other end of exchange. With stays it leaves it to the
// client to end: the agent drains for 2 s only.
func exchangeTarget(down []byte, stays bool) func(net.Conn) {
	return func(c net.Conn) {
		defer c.Close()
		sent := make(chan struct{})
		go func() {
			c.Write(down)
			close(sent)
		}()
		sum, err := readStream(c)
		<-sent
		if err == nil {
			c.Write(sum[:])
		}
		if stays {
			io.Copy(io.Discard, c)
		}
	}
}

// schedule is one run of the property: faults of the gateway, the agent's habits,
// and what else may happen.
type schedule struct {
	faults   ssmgw.Faults
	agent    ssmgw.Agent
	document string
	maxChunk int
	up, down int // bytes
	// What a session can't survive: the API ends it, or does not resume it.
	terminate time.Duration // 0 is never
	noResume  bool
}

// heals says that the session must not fail.
func (s *schedule) heals() bool { return s.terminate == 0 && !s.noResume }

func scheduleOf(r *rand.Rand) (s schedule) {
	maybe := func(p float64) bool { return r.Float64() < p }
	f := &s.faults
	f.Seed = r.Uint64()
	f.Delay = time.Duration(r.IntN(80)) * time.Millisecond
	for _, rate := range []*float64{&f.Drop, &f.Duplicate, &f.Reorder, &f.DropAcks, &f.Corrupt, &f.Unknown} {
		if maybe(0.4) {
			*rate = r.Float64() * []float64{0.002, 0.02, 0.1}[r.IntN(3)]
		}
	}
	if maybe(0.4) {
		f.CloseAfter, f.Closes = 20_000+r.Int64N(200_000), 1+r.IntN(6)
	}
	if maybe(0.2) {
		f.CloseEvery, f.Closes = time.Duration(1+r.IntN(20))*time.Second, 1+r.IntN(6)
	}
	if maybe(0.2) {
		f.PauseEvery = 25 + r.IntN(300)
	}
	if maybe(0.15) {
		f.HalfOpenAfter = 20_000 + r.Int64N(300_000)
	}
	if maybe(0.15) {
		f.MaxPayload = 1024 << r.IntN(6)
	}
	s.up, s.down = r.IntN(600_000), r.IntN(200_000)
	s.agent.Payload = []int{1, 700, 1024, 1024, 65536}[r.IntN(5)]
	if s.agent.Payload == 1 {
		s.down = 0
	}
	if maybe(0.5) {
		s.agent.Sleep = time.Millisecond
	}
	s.agent.Version = []string{"", "", "2.3.672.0", "3.0.196.0", "3.1.1511.0", "4.0.0.0"}[r.IntN(6)]
	s.document = []string{"AWS-StartSSHSession", "AWS-StartSSHSession", "AWS-StartPortForwardingSession"}[r.IntN(3)]
	s.maxChunk = []int{0, 0, chunkLeast, chunkMost}[r.IntN(4)]
	if maybe(0.1) {
		s.terminate = time.Millisecond + time.Duration(r.Int64N(int64(20*time.Second)))
	}
	s.noResume = maybe(0.1)
	return s
}

// schedules is how many runs a property has: usually, in short tests, or by
// ADIT_SSM_SCHEDULES.
func schedules(t *testing.T, usual, short int) int {
	t.Helper()
	if n, err := strconv.Atoi(os.Getenv("ADIT_SSM_SCHEDULES")); err == nil {
		return n
	}
	if testing.Short() {
		return short
	}
	return usual
}

// Whatever the gateway does, both directions arrive whole, or the session ends
// with an error before its deadline.
func TestProperty(t *testing.T) {
	first, n := uint64(1), schedules(t, 40, 15)
	if seed, err := strconv.ParseUint(os.Getenv("ADIT_SSM_SEED"), 10, 64); err == nil {
		first = seed
		if os.Getenv("ADIT_SSM_SCHEDULES") == "" {
			n = 1
		}
	}
	whole, ended := 0, 0
	for seed := first; seed < first+uint64(n); seed++ {
		s := scheduleOf(rand.New(rand.NewPCG(seed, 8)))
		err := s.run(t, seed)
		switch {
		case err == nil:
			whole++
		case s.heals():
			t.Fatalf("ADIT_SSM_SEED=%d %+v: faults that heal: %v", seed, s, err)
		default:
			ended++
		}
	}
	t.Logf("of %d schedules %d got through, and %d ended with an error", n, whole, ended)
}

// run moves both streams. Wrong bytes fail the test; an error may be fair.
func (s *schedule) run(t *testing.T, seed uint64) (err error) {
	defer func() { // a bubble that fails ends the test
		if t.Failed() {
			t.Logf("ADIT_SSM_SEED=%d %+v", seed, *s)
		}
	}()
	up, down := stream(1, s.up), stream(2, s.down)
	synctest.Test(t, func(t *testing.T) {
		b := &bench{t: t, gw: &ssmgw.Gateway{Agent: s.agent, Faults: s.faults}, target: exchangeTarget(down, true)}
		b.options.Raw, b.options.MaxChunk = true, s.maxChunk
		defer b.gw.Close()
		if s.noResume {
			b.gw.FailResumes(1 << 30)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var session *Session
		if session, err = b.start(ctx, s.document, nil); err != nil {
			return
		}
		defer session.Close()
		if s.terminate > 0 {
			timer := time.AfterFunc(s.terminate, func() { b.gw.TerminateSession(b.id) })
			defer timer.Stop()
		}
		deadline := time.Now().Add(4 * time.Hour) // a line that is dead for minutes, thirty times
		session.SetDeadline(deadline)
		if err = exchange(t, session, up, down); !time.Now().Before(deadline) {
			t.Errorf("it hangs: %v", err)
		}
	})
	return err
}

// The two ends of a quiet line.
func TestExchange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up, down := stream(1, 3_000_000), stream(2, 500_000)
		b := &bench{t: t, gw: &ssmgw.Gateway{Faults: ssmgw.Faults{Delay: 2 * time.Millisecond}}, target: exchangeTarget(down, false)}
		defer b.gw.Close()
		s, err := b.start(t.Context(), "AWS-StartSSHSession", nil)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := exchange(t, s, up, down); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("3 MB took %v at 4 ms", took)
		}
		if rest, err := io.ReadAll(s); len(rest) > 0 || err != nil {
			t.Errorf("after the target's end: %q, %v", rest, err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if !bytes.Equal([]byte(s.AgentVersion()), []byte("3.3.987.0")) {
			t.Errorf("agent version %q", s.AgentVersion())
		}
	})
}
