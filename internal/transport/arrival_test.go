package transport

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// tuned records what an arrival does to its socket.
type tuned struct {
	mu   sync.Mutex
	acks int
	mark int
}

func (s *tuned) tuner() tcpTuner {
	return tcpTuner{
		ack:      func() { s.mu.Lock(); s.acks++; s.mu.Unlock() },
		lowWater: func(n int) { s.mu.Lock(); s.mark = n; s.mu.Unlock() },
		wait:     func(int) {},
	}
}

func (s *tuned) take() (acks, mark int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	acks, s.acks = s.acks, 0
	return acks, s.mark
}

func TestArrivalAcksSmallReadsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s tuned
		var h hurry
		a := newArrival(s.tuner(), &h)
		defer a.stop()
		for range 5 {
			a.read(100)
		}
		if acks, mark := s.take(); acks != 5 || mark != 0 {
			t.Errorf("5 small reads: %d acknowledgements and low-water mark %d, want 5 and none", acks, mark)
		}
		a.read(40 << 10)
		if acks, _ := s.take(); acks != 0 {
			t.Errorf("a large read was acknowledged at once")
		}
		<-time.After(arrivalPause)
		synctest.Wait()
		if acks, _ := s.take(); acks != 1 {
			t.Errorf("%d acknowledgements within %v of a large read, want 1", acks, arrivalPause)
		}
	})
}

func TestArrivalGathersFastBulk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s tuned
		var h hurry
		a := newArrival(s.tuner(), &h)
		defer a.stop()
		bulk := func(d time.Duration) {
			for range d / (100 * time.Microsecond) {
				<-time.After(100 * time.Microsecond)
				a.read(32 << 10)
			}
		}
		const gathered = 192 << 10 // three quarters of 320 KiB, in whole steps
		bulk(10 * time.Millisecond)
		acks, mark := s.take()
		if mark != gathered || acks > 4 {
			t.Errorf("amid 312 MiB/s: low-water mark %d and %d acknowledgements, want %d and few", mark, acks, gathered)
		}
		h.at.Store(time.Now().UnixNano())
		bulk(time.Millisecond)
		if _, mark := s.take(); mark != 1 {
			t.Errorf("in a hurry: low-water mark %d, want 1", mark)
		}
		bulk(hurryTime)
		if _, mark := s.take(); mark != gathered {
			t.Errorf("%v after the hurry: low-water mark %d, want %d", hurryTime, mark, gathered)
		}
		// What stays below the mark must not stay for long.
		<-time.After(arrivalPause)
		synctest.Wait()
		if _, mark := s.take(); mark != 1 {
			t.Errorf("%v after the last read the low-water mark is %d, want 1", arrivalPause, mark)
		}
		<-time.After(2 * arrivalEpoch)
		a.read(32 << 10) // no longer fast
		<-time.After(arrivalPause)
		synctest.Wait()
		a.read(100)
		if acks, mark := s.take(); acks < 2 || mark != 1 {
			t.Errorf("after bulk: %d acknowledgements, low-water mark %d; want the small read acknowledged and 1", acks, mark)
		}
	})
}
