package userauth

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/adit-ssh/adit/internal/wire"
	"github.com/adit-ssh/adit/trace"
)

// ClientConfig says how to log in. It is not modified.
type ClientConfig struct {
	User string
	// Methods in the order in which they are tried. Nil means publickey,
	// keyboard-interactive, password. Methods that need a callback which is nil
	// are left out.
	Methods []string

	// Keys returns the keys to try, in order. It is called once: before
	// anything is sent when Methods begins with publickey, so it should not
	// bother a person. On an error the other methods remain.
	Keys func(ctx context.Context) ([]Key, error)
	// Algorithms limits the signature algorithms (ssh_config:
	// PubkeyAcceptedAlgorithms). Nil means all that are supported and safe;
	// ssh-rsa, which is SHA-1, is used only where it is listed and the server
	// takes nothing better.
	Algorithms []string
	// Unbound signs without the host key also where the server offers
	// publickey-hostbound-v00@openssh.com.
	Unbound bool
	// Pipeline signs with the first key right away even though the server's
	// extensions have not come yet. See Client.
	Pipeline bool

	// Behind, which may be nil, is called each time that a signed request has
	// been queued which is expected to succeed. What it writes to the connection
	// leaves in the same flight. See Result.Behind; a server that refuses the
	// key finds what it wrote out of place (RFC 4252, section 6).
	Behind func()

	// Password asks for the password. It is called again, Tries times at most,
	// when the server refuses.
	Password func(ctx context.Context) (string, error)
	// NewPassword asks for the old and a new password when the server demands a
	// change; prompt is the server's. Nil ends the login there.
	NewPassword func(ctx context.Context, prompt string) (old, new string, err error)
	// Answer answers the questions of keyboard-interactive, one answer each, or
	// shows name and instruction where there are no questions.
	Answer func(ctx context.Context, name, instruction string, prompts []wire.Prompt) ([]string, error)
	// Tries is how often Password is called, and how many keyboard-interactive
	// requests are made. 0 means DefaultTries, a negative number none.
	Tries int

	// Banner receives the server's texts. May be nil.
	Banner func(text string)
	// Tracer may be nil.
	Tracer trace.Tracer
}

// Result says how the user was let in.
type Result struct {
	Method      string   // the last one
	Fingerprint string   // of its key, SHA256:…; empty with other methods
	Hostbound   bool     // its signature covers the server's host key
	Steps       []string // methods before it, of several that were needed
	Behind      bool     // the server has what Behind wrote, and will answer it
}

// client is one login:
//
//	asked: SERVICE_REQUEST was sent, together with the first request
//	  └─► accepted: SERVICE_ACCEPT came
//	        └─► known: a FAILURE told which methods the server takes
type client struct {
	pc  PacketConn
	cfg ClientConfig

	asked, accepted, known bool
	methods                []string // that the server takes now, once known

	err     AuthError
	broken  error             // the rule that the server broke; it ends everything
	steps   []string          // partial successes
	attempt trace.AuthAttempt // the request that waits for its answer
	none    bool              // "none" was tried
	behind  func()            // to be called behind the next request

	keys      []Key
	keysRead  bool
	key       string          // the wire form of the key in the last request
	usedKeys  map[string]bool // those of this round, by wire form
	rightKeys []string        // those that were a partial success
	passwords int             // how often Password was called
	kbdints   int             // keyboard-interactive requests
	dropped   []string        // methods that can't go on

	requests, banners, bannerBytes, unrelated int
}

// Client authenticates. When the server refuses, or ends the connection after it
// refused something, the error is an *AuthError. ctx bounds the call: when it
// ends, the connection is aborted and the error is its cause. After any error
// the connection is of no use.
//
// Round trips: SERVICE_REQUEST and the first request leave in one flight. That
// request is a signed publickey, which ends the login in one round trip, when
// there is one key that is expected to work (see Key) and the server's EXT_INFO
// has come with its NEWKEYS, which is how sshd sends it. Where it has not come
// yet, the key is offered without signature instead: one round trip more, but
// then a login can be bound to the host key wherever the server offers that,
// and an RSA signature is one that the server takes. Pipeline saves that round
// trip with a signature by the plain method. Without keys, "none" is sent, which
// makes the server list its methods.
func Client(ctx context.Context, pc PacketConn, cfg ClientConfig) (*Result, error) {
	c := &client{pc: pc, cfg: cfg, usedKeys: map[string]bool{}}
	c.err.User = cfg.User
	if c.cfg.Methods == nil {
		c.cfg.Methods = []string{wire.MethodPublickey, wire.MethodKeyboardInteractive, wire.MethodPassword}
	}
	if c.cfg.Tries == 0 {
		c.cfg.Tries = DefaultTries
	}
	stop := watch(ctx, pc, wire.DisconnectAuthCancelledByUser)
	res, err := c.run(ctx)
	if cause := stop(); cause != nil {
		return nil, cause
	}
	return res, err
}

func (c *client) run(ctx context.Context) (*Result, error) {
	for c.requests < maxRequests {
		try := c.next(ctx)
		if try == nil {
			c.err.Remaining = c.methods
			return nil, &c.err
		}
		res, err := try(ctx)
		switch {
		case c.broken != nil:
			return nil, c.broken
		case res != nil:
			res.Steps = c.steps
			return res, nil
		case err != nil:
			return nil, c.ended(err)
		}
	}
	return nil, fmt.Errorf("gave up after %d attempts to log in as %q", c.requests, c.cfg.User)
}

// next chooses what to try. It returns nil when there is nothing left.
func (c *client) next(ctx context.Context) func(context.Context) (*Result, error) {
	if !c.known {
		// Nobody has told yet which methods the server takes. A key is worth
		// trying: if it fails, the answer tells as much as that to "none".
		if len(c.cfg.Methods) > 0 && c.cfg.Methods[0] == wire.MethodPublickey {
			if k := c.nextKey(ctx); k != nil && k.Signer != nil {
				return c.publickey
			}
		}
		return c.noMethod
	}
	for _, m := range c.cfg.Methods {
		if !slices.Contains(c.methods, m) || slices.Contains(c.dropped, m) {
			continue
		}
		switch {
		case m == wire.MethodPublickey && c.nextKey(ctx) != nil:
			return c.publickey
		case m == wire.MethodPassword && c.cfg.Password != nil && c.passwords < c.cfg.Tries:
			return c.password
		case m == wire.MethodKeyboardInteractive && c.cfg.Answer != nil && c.kbdints < c.cfg.Tries:
			return c.keyboardInteractive
		}
	}
	// A server without authentication does not list "none" (RFC 4252, section
	// 5.2), so it deserves one question if keys came first.
	if !c.none && len(c.steps) == 0 {
		return c.noMethod
	}
	return nil
}

// noMethod asks with "none" (RFC 4252, section 5.2).
func (c *client) noMethod(ctx context.Context) (*Result, error) {
	c.none = true
	if err := c.request(ctx, wire.MethodNone, "", false, nil); err != nil {
		return nil, err
	}
	ok, err := c.verdict()
	if !ok || err != nil {
		return nil, err
	}
	return &Result{Method: wire.MethodNone}, nil
}

// request sends a request. It clears body and leaves a note of it for the
// tracer. The first one takes SERVICE_REQUEST along.
func (c *client) request(ctx context.Context, method, key string, probe bool, body []byte) error {
	c.requests++
	c.attempt = trace.AuthAttempt{User: c.cfg.User, Method: method, Key: key, Probe: probe}
	m := wire.UserauthRequest{User: c.cfg.User, Service: wire.ServiceConnection, Method: method, Body: body}
	b := m.Append(make([]byte, 0, 64+len(m.User)+len(m.Method)+len(body)))
	defer clear(b)
	defer clear(body)
	behind := c.behind
	c.behind = nil
	if c.asked && behind == nil {
		return c.pc.WritePacket(b, ctx.Done())
	}
	c.pc.Cork()
	var err error
	if !c.asked {
		err = c.pc.WritePacket((&wire.ServiceRequest{Service: wire.ServiceUserauth}).Append(nil), ctx.Done())
		c.asked = true
	}
	if err == nil {
		err = c.pc.WritePacket(b, ctx.Done())
	}
	if err == nil && behind != nil {
		behind()
	}
	if left := c.pc.Uncork(); err == nil {
		err = left
	}
	return err
}

// verdict reads the answer to a request that takes no questions.
func (c *client) verdict() (ok bool, err error) {
	p, err := c.read()
	if err != nil {
		return false, err
	}
	return c.judged(p)
}

// judged takes SUCCESS or FAILURE.
func (c *client) judged(p []byte) (ok bool, err error) {
	switch p[0] {
	case wire.NumUserauthSuccess:
		if err := wire.Parse(p, &wire.UserauthSuccess{}); err != nil {
			return false, c.breach("%v", err)
		}
		c.report("success")
		return true, nil
	case wire.NumUserauthFailure:
		return false, c.failure(p)
	}
	return false, c.breach("message %d in answer to a %s request", p[0], c.attempt.Method)
}

// failure takes FAILURE, which tells how to go on (RFC 4252, section 5.1).
func (c *client) failure(p []byte) error {
	var m wire.UserauthFailure
	if err := wire.Parse(p, &m); err != nil {
		return c.breach("%v", err)
	}
	c.known, c.methods = true, m.Methods
	if !m.Partial {
		c.report("failure")
		return nil
	}
	c.report("partial")
	c.steps = append(c.steps, baseMethod(c.attempt.Method))
	if n := len(c.err.Tried); n > 0 {
		c.err.Tried[n-1] += " (right, but not enough)"
	}
	c.nextRound()
	return nil
}

// nextRound makes the keys available again that were refused before a partial
// success: one may be right, only not before its turn. First come those behind a
// key that was right, which is of no more use itself.
func (c *client) nextRound() {
	if c.attempt.Key != "" {
		c.rightKeys = append(c.rightKeys, c.key)
		i := 1 + slices.IndexFunc(c.keys, func(k Key) bool { return k.id() == c.key })
		c.keys = slices.Concat(c.keys[i:], c.keys[:i])
	}
	clear(c.usedKeys)
	for _, id := range c.rightKeys {
		c.usedKeys[id] = true
	}
}

func (c *client) report(result string) {
	c.attempt.Result, c.attempt.CanContinue = result, c.methods
	trace.Emit(c.cfg.Tracer, c.attempt)
}

// tried notes an attempt for the error.
func (c *client) tried(what string) { c.err.Tried = append(c.err.Tried, what) }

// note notes why something could not be tried.
func (c *client) note(format string, args ...any) {
	c.err.Notes = append(c.err.Notes, fmt.Sprintf(format, args...))
}

// skipped deals with an error of a callback: with ErrSkip the method is left
// out from now on.
func (c *client) skipped(method string, err error) error {
	if errors.Is(err, ErrSkip) {
		c.dropped = append(c.dropped, method)
		c.note("%s: %v", method, err)
		return nil
	}
	return &localError{fmt.Errorf("%s: %w", method, err)}
}

// localError is a fault of ours, which is no AuthError.
type localError struct{ err error }

func (e *localError) Error() string { return e.err.Error() }
func (e *localError) Unwrap() error { return e.err }

// ended wraps the error by which the connection ended. After a refusal it is
// likely that the server had enough of us.
func (c *client) ended(err error) error {
	if local, ok := errors.AsType[*localError](err); ok {
		return local.err
	}
	if !c.known {
		return fmt.Errorf("authenticate: %w", err)
	}
	c.err.Remaining = c.methods
	if !errors.Is(err, ErrSkip) { // a note has it
		c.err.Err = err
	}
	return &c.err
}
