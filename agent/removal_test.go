package agent

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/adit-ssh/adit/internal/wire"
)

// told keeps what a ring tells of removals.
type told struct {
	mu  sync.Mutex
	all []string
}

func (o *told) removed(r Removal) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all = append(o.all, r.Comment+" by "+r.By)
}

// want fails the test unless these were told since the last time.
func (o *told) want(t *testing.T, when string, want ...string) {
	t.Helper()
	synctest.Wait()
	o.mu.Lock()
	defer o.mu.Unlock()
	slices.Sort(o.all)
	if !slices.Equal(o.all, want) {
		t.Errorf("%s: told %q, want %q", when, o.all, want)
	}
	o.all = nil
}

// A key whose time has come is told of once, whether a timer sees it first or who asks,
// also while the ring is locked; what is removed on request is not told of.
func TestRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var o told
		r := inBubble(&Keyring{Removed: o.removed})
		c := r.NewConnection()
		add := func(i int, comment string, seconds uint32) {
			t.Helper()
			wantReply(t, comment, c.Answer(t.Context(), addRequest(t, AddedKey{PrivateKey: testKeys.hostRaw[i], Comment: comment, Lifetime: seconds})), numSuccess)
		}
		add(0, "ten", 10)
		add(1, "twenty", 20)
		add(2, "for ever", 0)
		<-time.After(9 * time.Second)
		o.want(t, "before the time")
		<-time.After(time.Second)
		o.want(t, "when the first's has come", "ten by lifetime")
		wantReply(t, "lock", c.Answer(t.Context(), wire.AppendString([]byte{numLock}, "word")), numSuccess)
		<-time.After(10 * time.Second)
		o.want(t, "locked", "twenty by lifetime")
		wantReply(t, "unlock", c.Answer(t.Context(), wire.AppendString([]byte{numUnlock}, "word")), numSuccess)

		add(0, "slept through", 10)
		clock := r.clock
		r.clock = func() time.Duration { return clock() + time.Hour }
		if r.Len() != 1 {
			t.Errorf("%d keys are left, want 1", r.Len())
		}
		o.want(t, "after an hour asleep", "slept through by lifetime")
		add(0, "again", 10)
		add(0, "again", 0)
		<-time.After(time.Minute)
		o.want(t, "replaced by one for ever")
		wantReply(t, "remove", c.Answer(t.Context(), removing(testKeys.hosts[0].PublicKey())), numSuccess)
		add(1, "over", 1)
		slow := r.clock
		r.clock = func() time.Duration { return slow() + time.Hour }
		if ids := r.RemoveAll(); len(ids) != 1 || ids[0].Comment != "for ever" {
			t.Errorf("RemoveAll removed %v, want what was left", ids)
		}
		o.want(t, "removed on request", "over by lifetime")
		add(2, "late", 1)
		late := r.clock
		r.clock = func() time.Duration { return late() + time.Hour }
		r.Close()
		o.want(t, "at the end", "late by lifetime")
	})
}
