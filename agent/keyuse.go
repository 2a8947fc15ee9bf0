package agent

import (
	"bytes"
	"context"

	gossh "golang.org/x/crypto/ssh"
)

// keyUse is a key for the time of one signature.
type keyUse struct {
	sign func(ctx context.Context) (*gossh.Signature, error)
	wipe func() // forgets what it holds
}

// openLocked opens a key that may sign. c is what a person is told about it.
func (r *Keyring) openLocked(k *heldKey, q signRequest, c Confirmation) (keyUse, error) {
	if k.token != nil {
		t, public := k.token, k.public
		return keyUse{func(ctx context.Context) (*gossh.Signature, error) { return t.sign(ctx, public, q) }, func() {}}, nil
	}
	if k.device != nil {
		raw, device := bytes.Clone(k.raw), *k.device
		sign := func(ctx context.Context) (*gossh.Signature, error) {
			return r.Tokens.signSecurityKey(ctx, raw, device, c, q.data)
		}
		return keyUse{sign, func() { clear(raw) }}, nil
	}
	signer, wipe, err := openPrivate(k.raw)
	if err != nil {
		return keyUse{}, err
	}
	return keyUse{func(context.Context) (*gossh.Signature, error) { return signAs(signer, q.data, q.flags) }, wipe}, nil
}
