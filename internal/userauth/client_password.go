package userauth

import (
	"context"
	"errors"
	"fmt"

	"github.com/adit-ssh/adit/internal/wire"
)

// password asks for a password and tries it (RFC 4252, section 8).
func (c *client) password(ctx context.Context) (*Result, error) {
	c.passwords++
	pw, err := c.cfg.Password(ctx)
	if err != nil {
		return nil, c.skipped(wire.MethodPassword, err)
	}
	c.tried(wire.MethodPassword)
	body := &wire.PasswordBody{Password: []byte(pw)}
	for range maxChanges {
		if err := c.requestPassword(ctx, body); err != nil {
			return nil, err
		}
		p, err := c.read()
		if err != nil {
			return nil, err
		}
		if p[0] != wire.NumUserauthPasswdChange {
			ok, err := c.judged(p)
			if !ok || err != nil {
				return nil, err
			}
			return &Result{Method: wire.MethodPassword}, nil
		}
		if body, err = c.changePassword(ctx, p); body == nil || err != nil {
			return nil, err
		}
	}
	return nil, c.breach("another password is demanded for the %dth time", maxChanges)
}

// requestPassword sends a password and clears it.
func (c *client) requestPassword(ctx context.Context, body *wire.PasswordBody) error {
	defer clear(body.Password)
	defer clear(body.New)
	// Room for all, so that no copy is left behind by growing.
	b := body.Append(make([]byte, 0, 16+len(body.Password)+len(body.New)))
	return c.request(ctx, wire.MethodPassword, "", false, b)
}

// changePassword answers PASSWD_CHANGEREQ. It returns nil when the person does
// not.
func (c *client) changePassword(ctx context.Context, p []byte) (*wire.PasswordBody, error) {
	var m wire.UserauthPasswdChange
	if err := wire.Parse(p, &m); err != nil {
		return nil, c.breach("%v", err)
	}
	c.report("failure")
	if c.cfg.NewPassword == nil {
		return nil, &localError{errors.New("password: the server wants it to be changed, and there is nobody to ask")}
	}
	old, changed, err := c.cfg.NewPassword(ctx, m.Prompt)
	if err != nil {
		return nil, &localError{fmt.Errorf("new password: %w", err)}
	}
	return &wire.PasswordBody{Change: true, Password: []byte(old), New: []byte(changed)}, nil
}
