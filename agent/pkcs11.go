package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/wire"
)

// maxAssociatedCerts is how many certificates a request to add a token may bring
// (OpenSSH, ssh-agent.c, AGENT_MAX_EXT_CERTS).
const maxAssociatedCerts = 1024

// addToken is SSH_AGENTC_ADD_SMARTCARD_KEY, also with constraints (RFC 9987, section
// 5.2.4; OpenSSH, ssh-agent.c, process_add_smartcard_key).
func (c *Connection) addToken(ctx context.Context, body []byte) error {
	p := wire.NewParser(body)
	name, err := cString(&p)
	if err != nil {
		return err
	}
	pin := p.Bytes()
	limits, err := parseConstraints(&p, true)
	if err != nil {
		return err
	}
	tokens := c.ring.Tokens
	if tokens == nil {
		return errNoTokens
	}
	path, err := tokens.provider(name, c.attempted)
	if err != nil {
		return err
	}
	return c.ring.addToken(ctx, tokens, path, bytes.TrimSuffix(pin, []byte{0}), limits)
}

// removeToken is SSH_AGENTC_REMOVE_SMARTCARD_KEY. That a library was not there
// before is no failure, as in OpenSSH.
func (c *Connection) removeToken(body []byte, r *Request) error {
	p := wire.NewParser(body)
	name, err := cString(&p)
	p.Bytes() // a PIN, which nobody needs
	if err != nil || p.Err() != nil {
		return errors.Join(err, p.Err())
	}
	tokens := c.ring.Tokens
	if tokens == nil {
		return errNoTokens
	}
	path, err := realPath(name)
	if err != nil {
		return err
	}
	return c.ring.removeToken(path, c.hides(r))
}

// addToken adds a token's keys. Those that are there already stay as they are. Each
// time has a helper of its own: OpenSSH's refuse a provider that they have, or end.
func (r *Keyring) addToken(ctx context.Context, tokens *Tokens, path string, pin []byte, limits constraints) error {
	tokens.init()
	back, err := take(ctx, tokens.adds)
	if err != nil {
		return err
	}
	defer back()
	t, err := r.startToken(ctx, tokens, path)
	if err != nil {
		return err
	}
	defer r.settle(t)
	request := wire.AppendString(wire.AppendString([]byte{numAddToken}, path), pin)
	if len(request) > maxTokenRequest {
		return errors.New("provider or PIN is too long")
	}
	num, body, err := t.ask(ctx, request)
	switch {
	case err != nil:
		return err
	case num == numFailure || num == numFailureOld:
		return refusedToken(body)
	case num != numKeys:
		return fmt.Errorf("%s answers with message %d", t.h.name, num)
	}
	ids, err := parseKeys(body)
	if err != nil {
		return fmt.Errorf("%s: malformed list: %w", t.h.name, err)
	}
	tokens.kind = t.kind
	added := false
	for _, id := range ids {
		public, err := parsePublic(id.Blob)
		if err != nil {
			continue // a kind that is not known here
		}
		comment := id.Comment
		if comment == "" {
			comment = path
		}
		for _, cert := range limits.certs {
			if bytes.Equal(cert.Key.Marshal(), public.Marshal()) {
				r.hold(t, cert, comment, limits)
				added = true
			}
		}
		if !limits.certsOnly && r.hold(t, public, comment, limits) {
			added = true
		}
	}
	if !added {
		return errors.New("the token has no keys that are not there already")
	}
	return nil
}

// refusedToken is why a helper has not added a token (OpenSSH, ssh-pkcs11.h).
func refusedToken(body []byte) error {
	p := wire.NewParser(body)
	switch p.Uint32() {
	case 0:
		return errors.New("the token has no keys")
	case 2:
		return errors.New("the PIN is wrong")
	case 3:
		return errors.New("no token is there")
	case 4:
		return errors.New("the token wants a PIN")
	case 5:
		return errors.New("the token is locked since there were too many wrong PINs")
	}
	return errors.New("the provider can't be loaded, or its token can't be used")
}

// startToken starts a token's helper.
func (r *Keyring) startToken(ctx context.Context, tokens *Tokens, path string) (*token, error) {
	r.mu.Lock()
	var err error
	switch {
	case r.closed:
		err = errClosed
	case r.locked != nil:
		err = errLocked
	default:
		r.helpers.Add(1)
	}
	r.mu.Unlock()
	if err != nil {
		return nil, err
	}
	t, err := tokens.start(ctx, path)
	if err != nil {
		r.helpers.Done()
		return nil, err
	}
	r.mu.Lock()
	if r.closed {
		t.h.end()
	}
	if r.tokens == nil {
		r.tokens = map[*token]bool{}
	}
	r.tokens[t] = true
	r.mu.Unlock()
	go func() {
		defer r.helpers.Done()
		t.serve(tokens.bounded)
		r.forget(t)
	}()
	return t, nil
}

// settle ends a token that has no keys.
func (r *Keyring) settle(t *token) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t.keys == 0 && !t.ending {
		t.ending = true
		t.h.end()
	}
}

// hold takes a key of a token. It returns false when it is there already.
func (r *Keyring) hold(t *token, public gossh.PublicKey, comment string, limits constraints) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := &heldKey{blob: string(public.Marshal()), public: public, comment: comment, token: t}
	i, err := r.placeLocked(k, func(*heldKey) error { return nil })
	if err != nil || i < len(r.keys) || t.ending {
		return false
	}
	t.keys++
	r.keys = append(r.keys, k)
	r.limitLocked(k, limits)
	return true
}

// forget removes the keys of a token whose helper has ended: nobody can sign with
// them any more.
func (r *Keyring) forget(t *token) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t.ending = true
	r.dropLocked(func(k *heldKey) bool {
		if k.token == t {
			r.goneLocked(k, RemovedByHelper)
		}
		return k.token == t
	})
	r.wakeLocked()
	delete(r.tokens, t)
}

// removeToken forgets a provider's keys, but for those that rules hide. With hidden nil
// they hide none.
func (r *Keyring) removeToken(path string, hidden func(*heldKey) bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.locked != nil {
		return errLocked
	}
	r.dropLocked(func(k *heldKey) bool {
		return k.token != nil && k.token.provider == path && (hidden == nil || !hidden(k))
	})
	return nil
}

func (r *Keyring) dropLocked(which func(*heldKey) bool) {
	r.keys = slices.DeleteFunc(r.keys, func(k *heldKey) bool {
		if !which(k) {
			return false
		}
		k.wipe()
		return true
	})
}

// releaseLocked is called when a key of the token goes.
func (t *token) releaseLocked() {
	t.keys--
	if t.keys == 0 && !t.ending {
		t.ending = true
		t.h.end()
	}
}

// start starts a helper for a provider. Which kind it is shows when it is asked to
// sign as the older ones are, with a key that it has not: those refuse, newer ones
// miss a field and end. That is tried until a helper has listed keys.
func (t *Tokens) start(ctx context.Context, path string) (*token, error) {
	program, err := findHelper(t.PKCS11Helper, "ssh-pkcs11-helper")
	if err != nil {
		return nil, err
	}
	h, err := startHelper(program)
	if err != nil {
		return nil, err
	}
	kind := t.kind
	if kind == kindUnknown {
		key := wire.AppendString(wire.AppendString(nil, gossh.KeyAlgoED25519), make([]byte, 32))
		probe := wire.AppendUint32(wire.AppendString(wire.AppendString([]byte{numSignRequest}, key), ""), 0)
		limited, cancel := t.bounded(ctx)
		reply, err := h.ask(limited, probe)
		late := limited.Err() != nil
		cancel()
		switch {
		case late:
			return nil, err
		case err != nil:
			kind = kindWhole
			if h, err = startHelper(program); err != nil {
				return nil, err
			}
		case reply[0] == numFailure || reply[0] == numFailureOld:
			kind = kindHash
		default:
			h.kill()
			<-h.ended
			return nil, fmt.Errorf("%s answers with message %d, and to refuse is due", h.name, reply[0])
		}
	}
	return &token{provider: path, h: h, kind: kind, jobs: make(chan tokenJob)}, nil
}
