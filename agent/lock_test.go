package agent

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/adit-ssh/adit/internal/wire"
)

// Who hangs up does not get another attempt sooner.
func TestUnlockHungUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := inBubble(&Keyring{})
		defer r.Close()
		unlock := func(ctx context.Context, word string) byte {
			return r.NewConnection().Answer(ctx, wire.AppendString([]byte{numUnlock}, word))[0]
		}
		r.NewConnection().Answer(t.Context(), wire.AppendString([]byte{numLock}, "word"))
		begin := time.Now()
		gone, hangUp := context.WithCancel(t.Context())
		hangUp()
		if got := unlock(gone, "wrong"); got != numFailure || time.Since(begin) != 0 {
			t.Errorf("an attempt by who hangs up: message %d after %v", got, time.Since(begin))
		}
		if got := unlock(gone, "word"); got != numFailure || time.Since(begin) != 0 {
			t.Errorf("another: message %d after %v", got, time.Since(begin))
		}
		if got := unlock(t.Context(), "word"); got != numSuccess || time.Since(begin) != wrongDelay {
			t.Errorf("the right one after a wrong one: message %d after %v, want success after %v", got, time.Since(begin), wrongDelay)
		}
		if got := unlock(gone, "word"); got != numFailure {
			t.Errorf("unlocked, it is unlocked again: message %d", got)
		}
	})
}

// However many wait to try a passphrase, the agent can end, and tells at once that it
// is locked.
func TestUnlockQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := inBubble(&Keyring{})
		defer r.Close()
		r.NewConnection().Answer(t.Context(), wire.AppendString([]byte{numLock}, "word"))
		ctx, end := context.WithCancel(t.Context())
		var trying sync.WaitGroup
		for range 50 {
			trying.Go(func() { r.NewConnection().Answer(ctx, wire.AppendString([]byte{numUnlock}, "wrong")) })
		}
		synctest.Wait()
		begin := time.Now()
		if got := r.NewConnection().Answer(t.Context(), wire.AppendString([]byte{numLock}, "word")); got[0] != numFailure || time.Since(begin) != 0 {
			t.Errorf("lock it again: %x after %v", got, time.Since(begin))
		}
		end()
		trying.Wait()
		if took := time.Since(begin); took != 0 {
			t.Errorf("those who wait end after %v, want at once", took)
		}
	})
}
