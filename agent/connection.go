package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/adit-ssh/adit/internal/wire"
)

// maxBindings is how many sessions one connection can be bound to (OpenSSH,
// ssh-agent.c, AGENT_MAX_SESSION_IDS).
const maxBindings = 16

// Connection is one connection to a Keyring: the sessions that it was bound to
// decide which keys can be seen and used over it. Requests are answered one after
// the other.
type Connection struct {
	// Log is told what was asked and why it was refused, if it was. Nil: nobody
	// wants to know. Set before the first request.
	Log func(operation string, err error)

	ring   *Keyring
	record func(Request) error // may be nil

	mu sync.Mutex
	// Guarded by mu.
	way       []bound
	attempted bool // a binding was asked for, and may have failed
	failed    bool // one has: where requests come from is not known any more
}

func (r *Keyring) connect(record func(Request) error) answerer {
	return &Connection{ring: r, record: record}
}

// NewConnection returns a connection that is bound to nothing.
func (r *Keyring) NewConnection() *Connection { return &Connection{ring: r} }

// errExtension is an extension that is known, and that failed: it has an answer of
// its own since OpenSSH 10.3.
type errExtension struct{ error }

func (e errExtension) Unwrap() error { return e.error }

// Answer answers one request, a message without its length, and returns a message
// without its length. What makes no sense is refused. ctx bounds the asking for
// confirmation. The request is not kept.
func (c *Connection) Answer(ctx context.Context, request []byte) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return answered(c.record, request, func(r *Request) ([]byte, error) {
		reply, err := c.answer(ctx, request, r)
		if c.Log != nil {
			c.Log(r.What(), err)
		}
		return reply, err
	})
}

// replyTo is the message for an answer: reply as it is, success when there is nothing
// to say, or the failure that err stands for.
func replyTo(reply []byte, err error) []byte {
	var failed errExtension
	switch {
	case errors.As(err, &failed):
		return []byte{numExtensionFailure}
	case err != nil:
		return []byte{numFailure}
	case reply == nil:
		return []byte{numSuccess}
	}
	return reply
}

// answer fills in what r tells of the request.
func (c *Connection) answer(ctx context.Context, request []byte, r *Request) (reply []byte, err error) {
	if len(request) == 0 {
		return nil, errors.New("it is empty")
	}
	num, body := request[0], request[1:]
	c.circumstances(r, nil)
	switch num {
	case numRequestKeys:
		ids := c.ring.list(c.sees(r))
		r.Listed, r.Rule = len(ids), "" // many may have decided
		reply = appendKeys(nil, ids)
		if len(reply) > MaxFrame {
			reply, err = nil, errFull
		}
	case numSignRequest:
		reply, err = c.sign(ctx, body, r)
	case numAdd, numAddConstrained:
		err = c.add(body, r)
	case numRemove:
		p := wire.NewParser(body)
		r.Key = p.Bytes()
		if err = p.Err(); err == nil {
			sees := c.sees(r)
			err = c.ring.remove(r.Key, func(k *heldKey) error {
				r.Comment = k.comment
				return sees(k)
			})
		}
	case numRemoveAll, numRemoveAllV1:
		err = c.ring.clear(c.hides(r))
	case numLock, numUnlock:
		p := wire.NewParser(body)
		passphrase := p.Bytes()
		// OpenSSH ends when there is none, which who is at a server could make it do.
		if err = p.Err(); err == nil && bytes.IndexByte(passphrase, 0) >= 0 {
			err = errZeroByte
		}
		switch {
		case err != nil:
		case num == numLock:
			err = c.ring.lock(ctx, passphrase)
		default:
			err = c.ring.unlock(ctx, passphrase)
		}
	case numExtension:
		reply, err = c.extension(body, r)
	case numAddToken, numAddTokenLimited:
		err = c.addToken(ctx, body)
	case numRemoveToken:
		err = c.removeToken(body, r)
	default:
		err = errors.New("it is not known here")
	}
	return reply, err
}

// circumstances are those of a request, which r tells of from then on. signing is
// nil unless something is to be signed.
func (c *Connection) circumstances(r *Request, signing *Signing) circumstances {
	way := make([]Binding, len(c.way))
	for i, b := range c.way {
		way[i] = b.Binding
	}
	now := circumstancesOf(way, c.failed, signing)
	now.tell(r)
	return now
}

// sees returns what says whether a key may be known to whoever is at the other end.
func (c *Connection) sees(r *Request) func(*heldKey) error {
	rules := c.ring.Rules.judge(c.circumstances(r, nil))
	return func(k *heldKey) (err error) {
		if err = visible(k.limits.destinations, c.way, c.attempted, time.Now()); err != nil {
			return err
		}
		if r.Rule, err = rules.key([]byte(k.blob), k.comment); err != nil {
			r.Hidden++
		}
		return err
	}
}

// hides returns what says whether rules hide a key, nil when there are none.
func (c *Connection) hides(r *Request) func(*heldKey) bool {
	rules := c.ring.Rules.judge(c.circumstances(r, nil))
	if rules == nil {
		return nil
	}
	return func(k *heldKey) bool {
		_, err := rules.key([]byte(k.blob), k.comment)
		return err != nil
	}
}

func (c *Connection) sign(ctx context.Context, body []byte, r *Request) ([]byte, error) {
	q, err := parseSignRequest(body)
	if err != nil {
		return nil, err
	}
	r.Key = q.key
	now := c.circumstances(r, signingOf(q.data))
	rules := c.ring.Rules.judge(now)
	may := func(k *heldKey) (err error) {
		r.Comment = k.comment
		if err = usable(k.limits.destinations, k.public, q.data, c.way, c.attempted, time.Now()); err != nil {
			return err
		}
		r.Rule, err = rules.key([]byte(k.blob), k.comment)
		return err
	}
	ask := now.confirmation()
	ask.forced = c.ring.ConfirmForwarded && now.forwarded()
	sig, err := c.ring.sign(ctx, q, now.signing.twin(q.key), may, &ask)
	r.Confirmed = ask.given
	if err != nil {
		return nil, err
	}
	return appendSignature(nil, sig), nil
}

func (c *Connection) add(body []byte, r *Request) error {
	p := wire.NewParser(body)
	raw, public, device, comment, err := parseAdded(&p, body)
	if err != nil {
		return err
	}
	r.Key, r.Comment = public.Marshal(), comment
	limits, err := parseConstraints(&p, false)
	switch {
	case err != nil:
		return err
	case device != nil:
		device.provider = limits.provider
		if err := c.ring.Tokens.admits(device, c.attempted); err != nil {
			return err
		}
	case limits.provider != "":
		return errors.New("a provider of security keys for a key that is in none")
	}
	sees := c.sees(r)
	if err := sees(&heldKey{blob: string(r.Key), comment: comment}); err != nil {
		return err // it could not be used
	}
	return c.ring.add(raw, public, device, comment, limits, sees)
}

func (c *Connection) extension(body []byte, r *Request) (reply []byte, err error) {
	p := wire.NewParser(body)
	name, err := cString(&p)
	if err != nil {
		return nil, err
	}
	r.Extension = name
	switch name {
	case extSessionBind:
		// Also while the ring is locked: else a channel would count as one from here
		// when it is unlocked (CVE-2026-73281).
		c.attempted = true
		err := c.bind(p.Rest())
		c.failed = c.failed || err != nil
		c.circumstances(r, nil)
		if err != nil {
			return nil, errExtension{err}
		}
		return nil, nil
	case extQuery:
		if c.ring.lockState() != nil {
			return nil, errLocked
		}
		reply = wire.AppendString([]byte{numExtensionReply}, extQuery)
		return wire.AppendString(reply, extSessionBind), nil
	}
	return nil, errors.New("it is not known here")
}

// bind records a session (OpenSSH, ssh-agent.c, process_ext_session_bind), but none
// behind one that was refused (errGap).
func (c *Connection) bind(body []byte) error {
	b, key, err := parseBinding(body)
	if err != nil {
		return err
	}
	for _, o := range c.way {
		if !o.Forwarding {
			return errors.New("the connection was bound for a login before")
		}
		switch same, err := sameSession(o.Binding, b); {
		case err != nil:
			return err
		case same:
			return nil
		}
	}
	switch {
	case c.failed:
		return errGap
	case len(c.way) >= maxBindings:
		return fmt.Errorf("the connection was bound %d times before", maxBindings)
	}
	c.way = append(slices.Clip(c.way), bound{b, key})
	return nil
}

// sameSession says whether two bindings are of one session. It is an error if only
// the host keys differ.
func sameSession(a, b Binding) (bool, error) {
	if !bytes.Equal(a.ID, b.ID) {
		return false, nil
	}
	if !bytes.Equal(a.HostKey, b.HostKey) {
		return false, errors.New("the session is bound with another host key already")
	}
	return true, nil
}
