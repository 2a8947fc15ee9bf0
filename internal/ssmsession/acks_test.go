package ssmsession

import (
	"testing"
	"time"

	"github.com/adit-ssh/adit/internal/ssmwire"
)

// Acks that come together leave together, with the data that there is, and in 5 ms
// at the latest: the agent would send again what is not acked.
func TestAcksWaitForEachOther(t *testing.T) {
	scripted(t, Options{}, func(p *script) {
		<-time.After(time.Second)
		p.take()
		kinds := func() (acks, data int) {
			for _, f := range p.take() {
				if f.Type == ssmwire.Acknowledge {
					acks++
				} else {
					data++
				}
			}
			return acks, data
		}
		want := func(why string, acks, data int) {
			t.Helper()
			if a, d := kinds(); a != acks || d != data {
				t.Errorf("%s: %d acks and %d messages, want %d and %d", why, a, d, acks, data)
			}
		}
		p.output(2, ssmwire.PayloadData, "x")
		<-time.After(ackDelay / 2)
		p.output(3, ssmwire.PayloadData, "x")
		want("before 5 ms", 0, 0)
		<-time.After(ackDelay / 2)
		want("after 5 ms", 2, 0)

		p.output(4, ssmwire.PayloadData, "x")
		want("one that waits", 0, 0)
		p.s.Write([]byte("y"))
		want("data takes it along", 1, 1)
		<-time.After(10 * ackDelay)
		want("once only", 0, 0)

		for i := range int64(ackBatch) {
			p.output(5+i, ssmwire.PayloadData, "x")
		}
		want("a full batch", ackBatch, 0)
	})
}
