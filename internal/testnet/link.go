package testnet

import (
	"io"
	"os"
	"sync"
	"syscall"
	"time"
)

// link is one direction of a pipe: a bounded queue of segments, each readable
// from a moment on.
type link struct {
	// Immutable.
	buffer    int
	latency   time.Duration
	bandwidth int
	maxRead   int

	mu   sync.Mutex
	cond *sync.Cond // signalled at every change below

	// Guarded by mu.
	segments   []segment
	held       int       // bytes in segments
	sent       int64     // bytes ever written
	free       time.Time // when the line has carried all that was written
	eof        bool      // the writing end is closed: EOF behind the segments
	eofReady   time.Time // when the peer can see that
	reset      bool      // both ends are dead
	readGone   bool      // the reading end is closed
	writeGone  bool      // the writing end is closed altogether, not half
	readLimit  time.Time
	writeLimit time.Time
	readTimer  *time.Timer
	writeTimer *time.Timer

	cutAt     int64 // reset when this many bytes were sent; -1 never
	corruptAt int64 // this byte, counted from 0, is changed; -1 never
	stallAt   int64 // bytes from this one on stay in flight; -1 never
	onCut     func()
}

// segment is bytes that arrive together. at is their place in the stream.
type segment struct {
	data  []byte
	at    int64
	ready time.Time
}

func newLink(o Options) *link {
	l := &link{
		buffer: o.Buffer, latency: o.Latency, bandwidth: o.Bandwidth, maxRead: o.MaxRead,
		cutAt: -1, corruptAt: -1, stallAt: -1,
	}
	if l.buffer <= 0 {
		l.buffer = DefaultBuffer
	}
	l.cond = sync.NewCond(&l.mu)
	return l
}

// read waits for bytes that have arrived.
func (l *link) read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		now := time.Now()
		switch {
		case l.readGone:
			return 0, errClosed
		case expired(l.readLimit, now):
			return 0, os.ErrDeadlineExceeded
		case l.reset:
			return 0, os.NewSyscallError("read", syscall.ECONNRESET)
		case len(p) == 0:
			return 0, nil
		}
		n, wait := l.takeLocked(p, now)
		if n > 0 {
			l.cond.Broadcast()
			return n, nil
		}
		if stalled := l.stallAt >= 0 && l.sent >= l.stallAt; l.eof && l.held == 0 && !stalled {
			if wait = l.eofReady.Sub(now); wait <= 0 {
				return 0, io.EOF
			}
		}
		l.waitLocked(wait)
	}
}

// takeLocked copies what has arrived by now. If that is nothing, wait is the
// time until something does, or 0 when that is not known.
func (l *link) takeLocked(p []byte, now time.Time) (n int, wait time.Duration) {
	if l.maxRead > 0 && len(p) > l.maxRead {
		p = p[:l.maxRead]
	}
	for len(l.segments) > 0 && n < len(p) {
		s := &l.segments[0]
		if until := s.ready.Sub(now); until > 0 {
			return n, until
		}
		avail := len(s.data)
		if l.stallAt >= 0 {
			avail = int(min(int64(avail), max(0, l.stallAt-s.at)))
		}
		k := copy(p[n:], s.data[:avail])
		if k == 0 {
			return n, 0
		}
		n += k
		l.held -= k
		s.at += int64(k)
		if s.data = s.data[k:]; len(s.data) == 0 {
			l.segments = l.segments[1:]
		}
	}
	return n, 0
}

// write queues all of p, waiting for room.
func (l *link) write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for {
		switch {
		case l.eof || l.writeGone:
			return n, errClosed
		case expired(l.writeLimit, time.Now()):
			return n, os.ErrDeadlineExceeded
		case l.reset:
			return n, os.NewSyscallError("write", syscall.ECONNRESET)
		case l.readGone:
			return n, os.NewSyscallError("write", syscall.EPIPE)
		case n == len(p):
			return n, nil
		}
		k := min(len(p)-n, l.buffer-l.held)
		if l.cutAt >= 0 {
			k = int(min(int64(k), l.cutAt-l.sent))
		}
		if k > 0 {
			l.queueLocked(p[n : n+k])
			n += k
		}
		if l.cutAt >= 0 && l.sent >= l.cutAt {
			l.cutAt = -1
			l.mu.Unlock()
			l.onCut()
			l.mu.Lock()
			continue
		}
		if k <= 0 {
			l.waitLocked(0)
		}
	}
}

func (l *link) queueLocked(p []byte) {
	data := append([]byte(nil), p...)
	if i := l.corruptAt - l.sent; l.corruptAt >= 0 && i >= 0 && i < int64(len(data)) {
		data[i] ^= 0x80
		l.corruptAt = -1
	}
	s := segment{data: data, at: l.sent}
	if l.latency > 0 || l.bandwidth > 0 {
		s.ready = time.Now()
		if l.bandwidth > 0 {
			if l.free.After(s.ready) {
				s.ready = l.free
			}
			s.ready = s.ready.Add(time.Duration(float64(len(p)) / float64(l.bandwidth) * float64(time.Second)))
			l.free = s.ready
		}
		s.ready = s.ready.Add(l.latency)
	}
	l.segments = append(l.segments, s)
	l.held += len(p)
	l.sent += int64(len(p))
	l.cond.Broadcast()
}

// endLocked queues EOF.
func (l *link) endLocked() {
	if l.eof {
		return
	}
	l.eof, l.eofReady = true, time.Now()
	if l.free.After(l.eofReady) {
		l.eofReady = l.free
	}
	l.eofReady = l.eofReady.Add(l.latency)
}

// waitLocked waits for a change, or for d if that is not 0.
func (l *link) waitLocked(d time.Duration) {
	if d > 0 {
		timer := time.AfterFunc(d, l.wake)
		defer timer.Stop()
	}
	l.cond.Wait()
}

// wake lets everybody look again. It takes mu so that nobody is between
// looking and waiting.
func (l *link) wake() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cond.Broadcast()
}

// change changes state under mu and wakes everybody.
func (l *link) change(do func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	do()
	l.cond.Broadcast()
}

// limitLocked sets a deadline and its timer.
func (l *link) limitLocked(limit *time.Time, timer **time.Timer, t time.Time) {
	if *timer != nil {
		(*timer).Stop()
		*timer = nil
	}
	*limit = t
	if d := time.Until(t); !t.IsZero() && d > 0 {
		*timer = time.AfterFunc(d, l.wake)
	}
}

func expired(limit, now time.Time) bool { return !limit.IsZero() && !now.Before(limit) }
