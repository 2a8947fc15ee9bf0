package agent

import "time"

// Removal is a key that a Keyring has removed by itself.
type Removal struct {
	Identity
	By string // RemovedByLifetime or RemovedByHelper
}

// What else than requests removes keys from a Keyring.
const (
	RemovedByLifetime = "lifetime"
	RemovedByHelper   = "end of its PKCS#11 helper"
)

// Request returns what there is to record of it.
func (r Removal) Request() Request {
	return Request{Peer: Peer{UID: -1}, Operation: operation(numRemove), Key: r.Blob, Comment: r.Comment, By: r.By}
}

// goneLocked notes a removal of which Removed is to be told.
func (r *Keyring) goneLocked(k *heldKey, by string) {
	if r.Removed != nil {
		r.gone = append(r.gone, Removal{k.identity(), by})
	}
}

// wakeLocked sees to it that the next key that expires is wiped in time, though nobody
// asks, and that Removed is told of what has gone: not here, where the ring is locked.
func (r *Keyring) wakeLocked() {
	if r.expiry != nil {
		r.expiry.Stop()
	}
	now, next := r.now(), time.Duration(-1)
	for _, k := range r.keys {
		if k.mortal && (next < 0 || k.expires-now < next) {
			next = k.expires - now
		}
	}
	if len(r.gone) > 0 {
		next = 0
	}
	if next < 0 || r.closed {
		return
	}
	// Go's timers stand still while the machine sleeps, the ring's clock does not.
	r.expiry = time.AfterFunc(min(next, expiryPatience), func() {
		r.mu.Lock()
		r.expireLocked()
		r.mu.Unlock()
		r.tell()
	})
}

// tell tells Removed of what has gone.
func (r *Keyring) tell() {
	r.mu.Lock()
	gone := r.gone
	r.gone = nil
	if len(gone) > 0 {
		r.helpers.Add(1)
		defer r.helpers.Done()
	}
	r.mu.Unlock()
	for _, one := range gone {
		r.Removed(one)
	}
}
