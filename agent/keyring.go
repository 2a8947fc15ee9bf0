package agent

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	gossh "golang.org/x/crypto/ssh"
)

// Keyring holds private keys and signs with them, as ssh-agent does: RSA from 1024
// bits, ECDSA and Ed25519, bare or as certificates', and with Tokens those in security
// keys and PKCS#11 tokens. Its zero value is empty and ready. Others use it through a
// Connection each, or through Server.
//
// A key's material is kept in its wire form, out of reach of swapping and core
// dumps where the system allows that, and opened for each signature; what Go's
// crypto packages copy meanwhile is left to the garbage collector. While the ring
// is locked, keys are encrypted with the passphrase. They are overwritten when
// they are removed, when they expire, and by Close.
type Keyring struct {
	// Immutable.

	// Lifetime is for keys that name none; 0 is for ever (ssh-agent -t).
	Lifetime time.Duration
	// Confirm asks a person whether a key may be used that was added so (ssh-add
	// -c). ctx ends when the one who wants the signature has gone. Nil: never. It
	// may be called by several goroutines at once.
	Confirm func(ctx context.Context, u Confirmation) bool
	// ConfirmForwarded has Confirm asked for every key when the request comes from
	// another host: over a connection that was bound for forwarding, or that somebody
	// tried to bind in vain.
	ConfirmForwarded bool
	// Rules hide keys. Nil: none is hidden.
	Rules *Rules
	// Removed is told of each key that is removed though nobody has asked for it. It is
	// called from goroutines that Close waits for, maybe several at once. Nil: nobody
	// wants to know.
	Removed func(Removal)
	// Tokens is how keys in devices are used. Nil: they are refused.
	Tokens *Tokens

	clock   func() time.Duration // bootTime, but for tests
	helpers sync.WaitGroup       // goroutines of tokens

	once    sync.Once
	phrases chan struct{} // holds one token while no passphrase is worked on

	mu sync.Mutex
	// Guarded by mu.
	keys   []*heldKey // in the order in which they were added
	locked *lock      // nil while it is not
	expiry *time.Timer
	gone   []Removal       // that Removed is still to be told of
	tokens map[*token]bool // whose helpers run
	closed bool
}

// Confirmation is a use of a key that a person is asked about.
type Confirmation struct {
	Key     gossh.PublicKey
	Comment string // not sanitised
	User    string // that logs in; "" when it is no login
	// Host is the key, in wire form, of the host to log in at. Nil when it is no login,
	// or when that is not known.
	Host []byte
	// Hops are the keys of the hosts over which the request comes, the nearest first.
	Hops [][]byte
	// Astray says that binding the connection failed, so that where the request comes
	// from is not known.
	Astray    bool
	Namespace string // of a signature that is no login, but an SSHSIG

	forced bool // also for keys that are not to be confirmed
	given  bool // was, by the person
}

// heldKey is a key in a ring.
type heldKey struct {
	// Immutable.
	blob   string // wire form
	public gossh.PublicKey
	device *securityKey // that has the private half; nil: none has

	// Guarded by Keyring.mu.
	comment string
	secret  *secret // nil while sealed is not
	raw     []byte  // its content
	sealed  []byte  // encrypted, while the ring is locked
	token   *token  // that has the private half; nil: raw has
	limits  constraints
	expires time.Duration // on the ring's clock
	mortal  bool          // expires means something
}

func (k *heldKey) wipe() {
	if k.secret != nil {
		k.secret.wipe()
	}
	k.secret, k.raw, k.sealed = nil, nil, nil
	if k.token != nil {
		k.token.releaseLocked()
		k.token = nil
	}
}

func (k *heldKey) identity() Identity { return Identity{[]byte(k.blob), k.comment} }

var (
	errLocked   = errors.New("the agent is locked")
	errUnknown  = errors.New("there is no such key")
	errFull     = errors.New("there are too many keys")
	errClosed   = errors.New("the agent has ended")
	errDeclined = errors.New("the person did not confirm it")
)

func (r *Keyring) now() time.Duration {
	if r.clock != nil {
		return r.clock()
	}
	return bootTime()
}

// Close forgets all keys, for ever, and waits until the helpers have ended that tokens
// took: about a second at most.
func (r *Keyring) Close() {
	r.mu.Lock()
	r.expireLocked()
	r.closed = true
	r.removeAllLocked()
	for t := range r.tokens {
		t.h.end()
	}
	r.mu.Unlock()
	r.tell()
	r.helpers.Wait()
}

// RemoveAll forgets all keys (ssh-agent's SIGUSR1), and returns which they were.
func (r *Keyring) RemoveAll() []Identity {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.expireLocked()
	return r.removeAllLocked()
}

func (r *Keyring) removeAllLocked() (all []Identity) {
	for _, k := range r.keys {
		all = append(all, k.identity())
		k.wipe()
	}
	r.keys = nil
	r.wakeLocked()
	return all
}

// Len returns how many keys there are, hidden ones included.
func (r *Keyring) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.expireLocked()
	return len(r.keys)
}

// add takes a key that parsePrivate or parseSecurityKey has checked, device being nil
// for the former. One that is there already keeps its place and gets the new comment
// and limits, unless whoever adds it can't see it.
func (r *Keyring) add(raw []byte, public gossh.PublicKey, device *securityKey, comment string, limits constraints, sees func(*heldKey) error) error {
	blob := string(public.Marshal())
	s, content, err := newSecret(raw)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	k := &heldKey{blob: blob, public: public, device: device, comment: comment, secret: s, raw: content}
	i, err := r.placeLocked(k, sees)
	if err != nil {
		s.wipe()
		return err
	}
	if i < len(r.keys) {
		r.keys[i].wipe()
		r.keys[i] = k
	} else {
		r.keys = append(r.keys, k)
	}
	r.limitLocked(k, limits)
	return nil
}

// limitLocked has a key be used as it may, for as long as it may.
func (r *Keyring) limitLocked(k *heldKey, limits constraints) {
	k.limits = limits
	switch {
	case limits.limited:
		k.mortal, k.expires = true, r.now()+time.Duration(limits.lifetime)*time.Second
	case r.Lifetime > 0:
		k.mortal, k.expires = true, r.now()+r.Lifetime
	}
	r.expireLocked()
}

// placeLocked returns where a key belongs.
func (r *Keyring) placeLocked(k *heldKey, sees func(*heldKey) error) (int, error) {
	r.expireLocked()
	switch {
	case r.closed:
		return 0, errClosed
	case r.locked != nil:
		return 0, errLocked
	}
	i := slices.IndexFunc(r.keys, func(o *heldKey) bool { return o.blob == k.blob })
	switch {
	case i >= 0:
		return i, sees(r.keys[i])
	case len(r.keys) >= MaxIdentities:
		return 0, errFull
	}
	return len(r.keys), nil
}

// expiryPatience is how much longer than it should a key may stay in memory, though
// not be used, when the machine was asleep.
const expiryPatience = time.Minute

// expireLocked removes what has expired, and sees to it that the next is wiped in
// time, though nobody asks.
func (r *Keyring) expireLocked() {
	now := r.now()
	r.keys = slices.DeleteFunc(r.keys, func(k *heldKey) bool {
		if k.mortal && now >= k.expires {
			r.goneLocked(k, RemovedByLifetime)
			k.wipe()
			return true
		}
		return false
	})
	r.wakeLocked()
}

// findLocked returns the key of a blob.
func (r *Keyring) findLocked(blob []byte) (*heldKey, error) {
	r.expireLocked()
	if r.locked != nil {
		return nil, errLocked
	}
	i := slices.IndexFunc(r.keys, func(k *heldKey) bool { return k.blob == string(blob) })
	if i < 0 {
		return nil, errUnknown
	}
	return r.keys[i], nil
}

// list returns the keys that can be seen.
func (r *Keyring) list(sees func(*heldKey) error) []Identity {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.expireLocked()
	var ids []Identity
	if r.locked != nil {
		return nil
	}
	for _, k := range r.keys {
		if sees(k) == nil {
			ids = append(ids, k.identity())
		}
	}
	return ids
}

// remove forgets a key that can be seen.
func (r *Keyring) remove(blob []byte, sees func(*heldKey) error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	k, err := r.findLocked(blob)
	if err == nil {
		err = sees(k)
	}
	if err != nil {
		return err
	}
	k.wipe()
	r.keys = slices.DeleteFunc(r.keys, func(o *heldKey) bool { return o == k })
	return nil
}

// clear forgets all keys, unless the ring is locked, but for those that are hidden.
// With hidden nil none is.
func (r *Keyring) clear(hidden func(*heldKey) bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.locked != nil {
		return errLocked
	}
	if hidden == nil {
		r.removeAllLocked()
		return nil
	}
	r.dropLocked(func(k *heldKey) bool { return !hidden(k) })
	return nil
}

// sign signs with a key that may. So must its twin, which logs in with the signature, if
// that is here; nil is none. While a person is asked, the ring is free for others, and may
// change.
func (r *Keyring) sign(ctx context.Context, q signRequest, twin []byte, may func(*heldKey) error, c *Confirmation) (*gossh.Signature, error) {
	open := func(confirmed bool) (use keyUse, ask bool, err error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		k, err := r.findLocked(q.key)
		ask = c.forced
		if twin != nil && err == nil {
			if named, nerr := r.findLocked(twin); nerr == nil {
				ask = ask || named.limits.confirm
				err = may(named)
			}
		}
		if err == nil {
			ask = ask || k.limits.confirm
			err = may(k)
		}
		if err == nil && k.device != nil {
			err = r.Tokens.signs(k.device, k.public, q.data)
		}
		if err != nil {
			return use, false, err
		}
		c.Key, c.Comment = k.public, k.comment
		if ask && !confirmed {
			return use, true, nil
		}
		use, err = r.openLocked(k, q, *c)
		return use, false, err
	}
	use, ask, err := open(false)
	if ask {
		if r.Confirm == nil || !r.Confirm(ctx, *c) {
			return nil, errDeclined
		}
		c.given = true
		use, _, err = open(true)
	}
	if err != nil {
		return nil, err
	}
	defer use.wipe()
	return use.sign(ctx)
}

// signAs signs with the algorithm that flags name.
func signAs(signer gossh.AlgorithmSigner, data []byte, flags uint32) (*gossh.Signature, error) {
	return signer.SignWithAlgorithm(randomness, bytes.Clone(data), algorithmOf(signer.PublicKey().Type(), flags))
}

// algorithmOf is the algorithm that flags name for a type of key. Only RSA keys have a
// choice: without flags that is SHA-1, as the protocol has it.
func algorithmOf(typ string, flags uint32) string {
	switch {
	case typ != gossh.KeyAlgoRSA:
	case flags&FlagRSASHA256 != 0:
		return gossh.KeyAlgoRSASHA256
	case flags&FlagRSASHA512 != 0:
		return gossh.KeyAlgoRSASHA512
	}
	return typ
}
