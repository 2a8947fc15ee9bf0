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

	ring *Keyring

	mu sync.Mutex
	// Guarded by mu.
	way       []bound
	attempted bool // a binding was asked for, and may have failed
}

func (r *Keyring) connect(log func(string, error)) answerer {
	c := r.NewConnection()
	c.Log = log
	return c
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
	reply, operation, err := c.answer(ctx, request)
	if c.Log != nil {
		c.Log(operation, err)
	}
	return replyTo(reply, err)
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

func (c *Connection) answer(ctx context.Context, request []byte) (reply []byte, what string, err error) {
	if len(request) == 0 {
		return nil, "message", errors.New("it is empty")
	}
	num, body := request[0], request[1:]
	what = operation(num)
	switch num {
	case numRequestKeys:
		reply = appendKeys(nil, c.ring.list(c.sees))
		if len(reply) > MaxFrame {
			reply, err = nil, errFull
		}
	case numSignRequest:
		reply, err = c.sign(ctx, body)
	case numAdd, numAddConstrained:
		err = c.add(body)
	case numRemove:
		p := wire.NewParser(body)
		blob := p.Bytes()
		if err = p.Err(); err == nil {
			err = c.ring.remove(blob, c.sees)
		}
	case numRemoveAll, numRemoveAllV1:
		err = c.ring.clear()
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
			err = c.ring.lock(passphrase)
		default:
			err = c.ring.unlock(passphrase)
		}
	case numExtension:
		reply, what, err = c.extension(body)
	case numAddToken, numAddTokenLimited, numRemoveToken:
		err = errors.New("tokens are not supported")
	default:
		err = errors.New("it is not known here")
	}
	return reply, what, err
}

// sees says whether a key may be known to whoever is at the other end.
func (c *Connection) sees(k *heldKey) error {
	return visible(k.limits.destinations, c.way, c.attempted, time.Now())
}

func (c *Connection) sign(ctx context.Context, body []byte) ([]byte, error) {
	q, err := parseSignRequest(body)
	if err != nil {
		return nil, err
	}
	may := func(k *heldKey) error {
		return usable(k.limits.destinations, k.public, q.data, c.way, c.attempted, time.Now())
	}
	ask := Confirmation{User: loginUser(q.data)}
	for _, b := range c.way {
		ask.Way = append(ask.Way, b.HostKey)
	}
	sig, err := c.ring.sign(ctx, q, may, ask)
	if err != nil {
		return nil, err
	}
	return appendSignature(nil, sig), nil
}

// loginUser is who logs in with what is to be signed, "" if that is no login.
func loginUser(data []byte) string {
	p := wire.NewParser(data)
	p.Bytes()
	num, user, service := p.Byte(), p.String(), p.String()
	if p.Err() != nil || num != wire.NumUserauthRequest || service != wire.ServiceConnection {
		return ""
	}
	return user
}

func (c *Connection) add(body []byte) error {
	p := wire.NewParser(body)
	raw, public, err := parsePrivate(&p, body)
	if err != nil {
		return err
	}
	comment, err := cString(&p)
	if err != nil {
		return fmt.Errorf("comment: %w", err)
	}
	limits, err := parseConstraints(&p)
	if err != nil {
		return err
	}
	return c.ring.add(raw, public, comment, limits, c.sees)
}

func (c *Connection) extension(body []byte) (reply []byte, what string, err error) {
	p := wire.NewParser(body)
	name := p.String()
	what = fmt.Sprintf("extension %.64q", name)
	if err := p.Err(); err != nil {
		return nil, "extension", err
	}
	switch name {
	case extSessionBind:
		// Also while the ring is locked: else a channel would count as one from here
		// when it is unlocked (CVE-2026-73281).
		c.attempted = true
		if err := c.bind(p.Rest()); err != nil {
			return nil, what, errExtension{err}
		}
		return nil, what, nil
	case extQuery:
		c.ring.mu.Lock()
		locked := c.ring.locked != nil
		c.ring.mu.Unlock()
		if locked {
			return nil, what, errLocked
		}
		reply = wire.AppendString([]byte{numExtensionReply}, extQuery)
		return wire.AppendString(reply, extSessionBind), what, nil
	}
	return nil, what, errors.New("it is not known here")
}

// bind records a session (OpenSSH, ssh-agent.c, process_ext_session_bind).
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
	if len(c.way) >= maxBindings {
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
