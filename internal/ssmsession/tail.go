package ssmsession

import (
	"errors"
	"time"
)

// What the agent sent while it or we had no WebSocket may be lost, and it sends that
// again, one message in 100 ms, as long as each is not acknowledged, at most a second
// after the last time. But once the target has closed it does so for 2 s only, and then
// the session ends as if all had come.
//
// The protocol tells nothing of that: channel_closed has no number, no message is marked
// as the last, and what is sent again is the same as before. What tells is our own new
// WebSocket; messages that the agent made together, by its clock, and that come 100 ms
// apart; and such as are here already, though their acknowledgement should be there. What
// can't be seen is an agent that was away until the end, so that nothing of what it lost
// came again.
const (
	// tailDoubt is how long, after a new WebSocket or what may have been sent again, an
	// end is not believed to be the target's.
	tailDoubt = 2 * time.Second
	// tailNew is how soon behind another a message comes that was not sent again.
	tailNew = 20 * time.Millisecond
	// tailTick is the agent's: of two messages that were made within it, the second one
	// was sent again if it was tailLate later than it should have come.
	tailTick = 100 * time.Millisecond
	tailLate = 80 * time.Millisecond
)

var (
	errUnsure = errors.New("session was closed just after its connection had been renewed: what the target sent last may be missing")
	errResent = errors.New("session was closed while the agent sent again what it had lost: what the target sent last may be missing")
)

// tail says whether an end may be believed to be the target's.
type tail struct {
	doubt     time.Time // until then it may not
	why       error
	last      time.Time // when something came in its turn, on this WebSocket
	made      time.Time // by the agent's clock; zero if last says nothing about the network
	clock     bool      // the agent has one: not all messages were made at the same time
	overtaken bool      // by something new, on this WebSocket
}

// renewed notes a new WebSocket.
func (t *tail) renewed(now time.Time) {
	*t = tail{doubt: now.Add(tailDoubt), why: errUnsure, clock: t.clock}
}

// held notes that we have not looked for a while, so that what comes next is late by
// our fault.
func (t *tail) held() { t.made = time.Time{} }

// came notes a message in its turn. Until the first that is new, or a time in which none
// is sent again, there may be more behind it that was lost.
func (t *tail) came(now, made time.Time) {
	apart := made.Sub(t.made)
	known := !t.made.IsZero() && apart >= 0
	t.clock = t.clock || known && apart > 0
	switch {
	case now.Sub(t.last) < tailNew:
		t.doubt = time.Time{}
	case now.Before(t.doubt):
		t.doubt = now.Add(tailDoubt)
	case known && t.clock && apart < tailTick && now.Sub(t.last)-apart >= tailLate:
		t.doubt, t.why = now.Add(tailDoubt), errResent
	}
	t.last, t.made = now, made
}

// again notes a message that had come before. trip is how long an acknowledgement and
// what the agent sends after it take; 0 is not known. Who has not seen ours by then has
// lost it, and perhaps what it sent meanwhile.
func (t *tail) again(now time.Time, trip time.Duration) {
	switch {
	case now.Before(t.doubt):
		t.doubt = now.Add(tailDoubt)
	case trip > 0 && !t.last.IsZero() && now.Sub(t.last) >= trip+trip/2+tailTick:
		t.doubt, t.why = now.Add(tailDoubt), errResent
	}
}
