package agent

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"time"

	"golang.org/x/crypto/scrypt"
)

// randomness is where signatures take theirs from.
var randomness = rand.Reader

var (
	errNoPassphrase = errors.New("the passphrase is empty")
	errLockedTwice  = errors.New("the agent is locked already")
	errNotLocked    = errors.New("the agent is not locked")
	errWrong        = errors.New("the passphrase is wrong")
)

// lock is a locked ring: what it takes to tell the right passphrase. The
// passphrase itself is not kept.
type lock struct {
	salt  [16]byte
	check []byte // nothing, sealed

	// Owned by who has Keyring.phrases.
	wrong int       // attempts
	next  time.Time // when there may be another
}

// The work of one attempt: 16 MiB, and about a twentieth of a second. So there is one
// at a time.
const (
	scryptN, scryptR, scryptP = 1 << 14, 8, 1
	lockKeyLen                = 32
)

// Wrong passphrases cost as much more time as there were before (OpenSSH,
// ssh-agent.c, process_lock_agent).
const (
	wrongDelay = 100 * time.Millisecond
	maxDelays  = 100
)

// cipher is that of a passphrase.
func (l *lock) cipher(passphrase []byte) (cipher.AEAD, error) {
	key, err := scrypt.Key(passphrase, l.salt[:], scryptN, scryptR, scryptP, lockKeyLen)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// passphrase waits for the turn to work on one, which the returned function gives back.
func (r *Keyring) passphrase(ctx context.Context, passphrase []byte) (back func(), err error) {
	if len(passphrase) == 0 {
		return nil, errNoPassphrase
	}
	r.once.Do(func() {
		r.phrases = make(chan struct{}, 1)
		r.phrases <- struct{}{}
	})
	select {
	case <-r.phrases: // also for who has said all and gone
		return func() { r.phrases <- struct{}{} }, nil
	default:
		return take(ctx, r.phrases)
	}
}

// lockState returns the lock, nil if there is none.
func (r *Keyring) lockState() *lock {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.locked
}

// lock encrypts the keys with a passphrase. They can't be used, nor others added,
// until unlock.
func (r *Keyring) lock(ctx context.Context, passphrase []byte) error {
	if r.lockState() != nil {
		return errLockedTwice
	}
	back, err := r.passphrase(ctx, passphrase)
	if err != nil {
		return err
	}
	defer back()
	if r.lockState() != nil {
		return errLockedTwice
	}
	l := &lock{}
	rand.Read(l.salt[:])
	aead, err := l.cipher(passphrase)
	if err != nil {
		return err
	}
	l.check = aead.Seal(nil, nil, nil, l.salt[:])
	r.mu.Lock()
	defer r.mu.Unlock()
	r.expireLocked()
	for _, k := range r.keys {
		if k.token != nil {
			continue // its PIN is with the helper
		}
		sealed := aead.Seal(nil, nil, k.raw, []byte(k.blob))
		k.wipe()
		k.sealed = sealed
	}
	r.locked = l
	return nil
}

// unlock undoes lock. A wrong passphrase takes time, in which nobody else can try.
func (r *Keyring) unlock(ctx context.Context, passphrase []byte) error {
	back, err := r.passphrase(ctx, passphrase)
	if err != nil {
		return err
	}
	defer back()
	l := r.lockState()
	if l == nil {
		return errNotLocked
	}
	// Who hung up before this did not wait: the next one does.
	if err := l.wait(ctx); err != nil {
		return err
	}
	aead, err := l.cipher(passphrase)
	if err != nil {
		return err
	}
	if _, err := aead.Open(nil, nil, l.check, l.salt[:]); err != nil {
		l.wrong = min(l.wrong+1, maxDelays)
		l.next = time.Now().Add(time.Duration(l.wrong) * wrongDelay)
		l.wait(ctx)
		return errWrong
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range r.keys {
		if k.sealed == nil {
			continue // a token's, or an attempt before this one came that far
		}
		raw, err := aead.Open(nil, nil, k.sealed, []byte(k.blob))
		if err != nil {
			return err
		}
		k.secret, k.raw, err = newSecret(raw)
		clear(raw)
		if err != nil {
			return err
		}
		k.sealed = nil
	}
	r.locked = nil
	return nil
}

// wait waits until there may be another attempt.
func (l *lock) wait(ctx context.Context) error {
	left := time.Until(l.next)
	if left <= 0 {
		return nil
	}
	select {
	case <-time.After(left):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
