package transport

import (
	"sync/atomic"
	"time"
)

// tcpTuner is what an arrival does to a socket.
type tcpTuner struct {
	ack      func()          // send a pending acknowledgement now (TCP_QUICKACK)
	lowWater func(bytes int) // become readable only with so many bytes (SO_RCVLOWAT); nil where that can't be
	wait     func(bytes int) // until so many bytes are there, or it is readable; nil with lowWater
}

// arrival tunes a socket to the way its bytes arrive.
//
// A small read is the end of something as a rule: it is acknowledged at once.
// sshd before 9.8 leaves Nagle's algorithm on for forwards, so its next small
// packet waits for our acknowledgement of the last one, which the kernel delays
// by 40 ms. Amid bulk that would cost a system call for each read, within which,
// on loopback, the peer's next transmission happens: one every arrivalPause is
// enough, as the kernel acknowledges full segments by itself.
//
// Amid fast bulk from a peer that writes packet by packet, as sshd does, the
// reader would be woken for each packet. So it sleeps until much is there, but
// no longer than arrivalPause after it last read something. It does not while
// there is a hurry.
type arrival struct {
	tcp   tcpTuner
	hurry *hurry
	timer *time.Timer
	due   atomic.Bool  // the timer runs on behalf of an acknowledgement
	mark  atomic.Int32 // what SO_RCVLOWAT is, if not 1
	used  atomic.Bool  // SO_RCVLOWAT was ever raised

	// Owned by the reading goroutine.
	epoch  time.Time
	bytes  int
	fast   bool  // the last epoch had bulk
	gather int32 // bytes worth to wake up for
}

const (
	// smallRead is below how many bytes a read is acknowledged at once.
	smallRead    = 4 << 10
	arrivalPause = time.Millisecond
	// arrivalEpoch is how long bytes are counted for the rate, and fastEpoch how
	// many bytes in it are fast bulk: 64 MiB/s.
	arrivalEpoch = time.Millisecond
	fastEpoch    = 64 << 10
	// lowWater is how many bytes are worth to wake up for amid fast bulk, at the
	// most: it is what comes in three quarters of an epoch. What the peer can't
	// have on its way at once would be waited for in vain until arrivalPause, and
	// the pause would then set the rate.
	lowWater = 512 << 10
	lowStep  = 64 << 10 // the mark is a multiple of it
)

func newArrival(tcp tcpTuner, h *hurry) *arrival {
	a := &arrival{tcp: tcp, hurry: h}
	a.timer = time.AfterFunc(time.Hour, a.pause)
	a.timer.Stop()
	return a
}

// pause ends what holds the peer or the reader up.
func (a *arrival) pause() {
	a.due.Store(false)
	// Not only if mark is set: read may be about to raise it, and has the timer
	// run again behind that.
	if a.used.Load() {
		a.mark.Store(0)
		a.tcp.lowWater(1)
	}
	a.tcp.ack()
}

// read notes that n bytes were read.
func (a *arrival) read(n int) {
	if n < smallRead && !a.fast {
		a.tcp.ack()
		return
	}
	now := time.Now()
	a.bytes += n
	if took := now.Sub(a.epoch); took >= arrivalEpoch {
		a.fast = a.tcp.lowWater != nil && a.bytes >= fastEpoch && took < 2*arrivalEpoch
		gather := int64(a.bytes) * 3 / 4 * int64(arrivalEpoch) / int64(took)
		a.gather = int32(min(lowWater, max(gather&^(lowStep-1), lowStep)))
		a.epoch, a.bytes = now, 0
	}
	if a.fast && !a.hurry.lately(now) {
		if a.mark.Swap(a.gather) != a.gather {
			a.used.Store(true)
			a.tcp.lowWater(int(a.gather))
		}
		a.timer.Reset(arrivalPause)
		return
	}
	if a.mark.Swap(0) != 0 {
		a.tcp.lowWater(1)
	}
	if !a.due.Swap(true) {
		a.timer.Reset(arrivalPause)
	}
}

// before is called before each read.
func (a *arrival) before() {
	if mark := a.mark.Load(); a.fast && mark > 0 {
		a.tcp.wait(int(mark))
	}
}

func (a *arrival) stop() {
	if a != nil {
		a.timer.Stop()
	}
}
