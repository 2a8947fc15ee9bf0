package mux

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/adit-ssh/adit/internal/wire"
)

// deafConn is a PacketConn that takes everything.
type deafConn struct{ PacketConn }

func (deafConn) WritePacket([]byte, <-chan struct{}) error { return nil }
func (deafConn) QueuePacket([]byte) error                  { return nil }
func (deafConn) RTT() time.Duration                        { return 0 }
func (deafConn) Hurry()                                    {}
func (deafConn) MeasureRTT()                               {}

// idleMux is a mux whose channels of type short may be idle for a second, and all
// together for a minute.
func idleMux(t *testing.T) (*Mux, func(typ string) *Channel) {
	m := &Mux{pc: deafConn{}, cfg: Config{Window: DefaultWindow, MaxChannels: 10, IdleTimeout: func(typ string) time.Duration {
		return map[string]time.Duration{"short": time.Second, AllChannels: time.Minute}[typ]
	}}}
	m.lifetime = t.Context()
	return m, func(typ string) *Channel {
		c := m.newChannel(typ, Options{})
		c.opened = make(chan error, 1)
		if err := m.add(c); err != nil {
			t.Fatal(err)
		}
		if err := c.confirmed(&wire.ChannelOpenConfirmation{InitialWindow: 1 << 20, MaxPacket: 1 << 15}); err != nil {
			t.Fatal(err)
		}
		return c
	}
}

func isShut(c *Channel) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// A channel is closed when nothing came and nothing went for its time, and not
// before; what is read or written then says why.
func TestIdleChannelIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, open := idleMux(t)
		c, other := open("short"), open("long")
		busy := func(how func(), d time.Duration) {
			for range int(d / (900 * time.Millisecond)) {
				<-time.After(900 * time.Millisecond)
				how()
			}
		}
		busy(func() {
			if _, err := c.Write([]byte("x")); err != nil {
				t.Fatalf("while it writes: %v", err)
			}
		}, 9*time.Second)
		busy(func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			if keep, err := c.admitLocked(1, "DATA"); err != nil || !keep {
				t.Fatalf("while it receives: %v", err)
			}
		}, 9*time.Second)
		began, why := time.Now(), (*IdleError)(nil)
		if _, err := c.Read(make([]byte, 1)); !errors.As(err, &why) || why.After != time.Second {
			t.Fatalf("a read gets %v", err)
		}
		if took := time.Since(began); took < time.Second || took > time.Second+time.Second/idleLooks {
			t.Errorf("closed after %v", took)
		}
		if _, err := c.Write([]byte("x")); !errors.As(err, &why) {
			t.Errorf("a write gets %v", err)
		}
		if isShut(other) {
			t.Error("another type is closed, too")
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if !c.sentClose {
			t.Error("the peer is not told")
		}
	})
}

// All channels are closed when none of them exchanges data.
func TestAllIdleChannelsAreClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, open := idleMux(t)
		m.watchAllIdle()
		defer m.idle.timer.Stop()
		a, b := open("long"), open("long")
		for range 10 {
			<-time.After(50 * time.Second)
			if _, err := a.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		if isShut(b) {
			t.Error("closed beside a busy one")
		}
		<-time.After(time.Minute + time.Minute/idleLooks)
		if !isShut(a) || !isShut(b) {
			t.Errorf("after a minute without data: closed %v, %v", isShut(a), isShut(b))
		}
		c := open("long") // the next minute
		<-time.After(59 * time.Second)
		if isShut(c) {
			t.Error("a new channel is closed at once")
		}
	})
}

// The end of a channel ends its watch.
func TestIdleWatchEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, open := idleMux(t)
		c := open("short")
		c.Close()
		c.mu.Lock()
		c.gotClose = true
		c.closeIfDueLocked()
		c.mu.Unlock()
		if c.idle.timer.Stop() {
			t.Error("the timer of a channel that is gone still runs")
		}
	})
}
