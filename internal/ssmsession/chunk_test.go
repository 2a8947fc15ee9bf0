package ssmsession

import (
	"context"
	"testing"
	"testing/synctest"
)

func TestChunkGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sizes := map[int]int{}
		p := newScript(t)
		p.begin(Options{})
		defer p.s.Close()
		go p.s.Write(make([]byte, 2<<20))
		probes := 0
		for range 300 {
			for _, f := range p.take() {
				if sizes[len(f.Payload)]++; sizes[len(f.Payload)] == 1 && (len(f.Payload) == 4<<10 || len(f.Payload) == 16<<10) {
					probes++
					if more := p.take(); len(more) > 0 {
						t.Errorf("%d messages were sent behind the first of %d bytes", len(more), len(f.Payload))
					}
				}
				p.ack(f.Sequence)
			}
		}
		if sizes[chunkDefault] < 20 || probes != 2 {
			t.Errorf("sizes of messages %v, want most of %d after two probes", sizes, chunkDefault)
		}
	})
}

// A larger message may have arrived, with its ack lost, when the WebSocket ends:
// it is sent again as it was. Only one that the gateway has refused for its size
// is sent in pieces.
func TestProbeThatIsNotAcked(t *testing.T) {
	for _, c := range []struct {
		why  error
		want int
	}{{nil, 4 << 10}, {ErrTooBig, chunkLeast}} {
		synctest.Test(t, func(t *testing.T) {
			p, second := newScript(t), newScript(t)
			p.why = c.why
			p.begin(Options{Connect: func(_ context.Context, again bool, _ func() bool) (Messages, error) {
				if again {
					return second, nil
				}
				return p, nil
			}})
			defer p.s.Close()
			go p.s.Write(make([]byte, 200<<10))
			probe := int64(-1)
			for probe < 0 {
				for _, f := range p.take() {
					if len(f.Payload) > chunkLeast {
						probe = f.Sequence
					} else {
						p.ack(f.Sequence)
					}
				}
			}
			p.take()
			p.Close()
			for _, f := range second.take() {
				if f.Sequence == probe && len(f.Payload) != c.want {
					t.Errorf("after %v: message %d came again with %d bytes, want %d", c.why, probe, len(f.Payload), c.want)
				}
				if f.Sequence != probe && c.why == nil {
					t.Errorf("message %d was sent beside the first of a larger size", f.Sequence)
				}
				second.ack(f.Sequence)
			}
			for _, f := range second.take() {
				if len(f.Payload) > chunkLeast {
					t.Errorf("after %v: a message of %d bytes, want no more such", c.why, len(f.Payload))
				}
			}
		})
	}
}
