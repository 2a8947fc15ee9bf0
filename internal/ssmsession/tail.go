package ssmsession

import "time"

// What the agent sent while there was no WebSocket may be lost, and it sends that again
// one message in 100 ms, as long as each is not acknowledged, at most a second after the
// last time. But once the target has closed it does so for 2 s only, and then the
// session ends as if all had come.
const (
	// tailDoubt is how long, after a new WebSocket or what may have been sent again, an
	// end is not believed to be the target's.
	tailDoubt = 2 * time.Second
	// tailNew is how soon behind another a message comes that was not sent again.
	tailNew = 20 * time.Millisecond
)

// tail says whether an end may be believed to be the target's.
type tail struct {
	doubt     time.Time // until then it may not
	last      time.Time // when something came in its turn, on this WebSocket
	overtaken bool      // by something new, on this WebSocket
}

// renewed notes a new WebSocket.
func (t *tail) renewed(now time.Time) { *t = tail{doubt: now.Add(tailDoubt)} }

// came notes a message in its turn. Until the first that is new, or a time in which none
// is sent again, there may be more behind it that was lost.
func (t *tail) came(now time.Time) {
	if !now.Before(t.doubt) || now.Sub(t.last) < tailNew {
		t.doubt = time.Time{}
	} else {
		t.doubt = now.Add(tailDoubt)
	}
	t.last = now
}
