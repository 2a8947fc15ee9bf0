package forward

import (
	"net"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/adit-ssh/adit/internal/testnet"
)

// badListener fails as often as it is told to.
type badListener struct {
	errs   chan error
	closed chan struct{}
	when   []time.Duration
	since  time.Time
}

func (l *badListener) Accept() (net.Conn, error) {
	l.when = append(l.when, time.Since(l.since))
	select {
	case err := <-l.errs:
		return nil, err
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *badListener) Addr() net.Addr { return testnet.Addr("bad") }
func (l *badListener) Close() error   { close(l.closed); return nil }

// Errors of accept are waited out, ever longer, and told once.
func TestAcceptErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &badListener{errs: make(chan error, 20), closed: make(chan struct{}), since: time.Now()}
		for range 11 {
			l.errs <- &net.OpError{Op: "accept", Err: syscall.EMFILE}
		}
		var ev events
		f := Serve(Spec{Host: "a", HostPort: 80}, Config{Tracer: &ev}, l)
		<-time.After(time.Minute)
		synctest.Wait()
		var gaps []time.Duration
		for i := 1; i < len(l.when); i++ {
			gaps = append(gaps, (l.when[i] - l.when[i-1]).Round(time.Millisecond))
		}
		const ms = time.Millisecond
		want := []time.Duration{5 * ms, 10 * ms, 20 * ms, 40 * ms, 80 * ms, 160 * ms, 320 * ms, 640 * ms, 1000 * ms, 1000 * ms, 1000 * ms}
		if !slices.Equal(gaps, want) {
			t.Errorf("waited %v, want %v", gaps, want)
		}
		if n := len(ev.of("accept")); n != 1 {
			t.Errorf("told %d times, want once", n)
		}
		f.Close()
	})
}

// Close does not wait out a pause.
func TestCloseDuringPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &badListener{errs: make(chan error, 1), closed: make(chan struct{}), since: time.Now()}
		l.errs <- syscall.ENFILE
		f := Serve(Spec{Host: "a", HostPort: 80}, Config{}, l)
		synctest.Wait()
		before := time.Now()
		f.Close()
		if took := time.Since(before); took != 0 {
			t.Errorf("Close took %v", took)
		}
	})
}
