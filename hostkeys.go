package adit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/algo"
	"github.com/adit-ssh/adit/internal/transport"
	"github.com/adit-ssh/adit/internal/wire"
)

// tolerate has a host key with ErrUnverified pass, and notes that it did.
func tolerate(cfg *transport.Config) (unverified *bool) {
	unverified = new(bool)
	check := cfg.CheckHostKey
	cfg.CheckHostKey = func(algorithm string, key gossh.PublicKey) error {
		err := check(algorithm, key)
		if errors.Is(err, ErrUnverified) {
			*unverified = true
			return nil
		}
		return err
	}
	return unverified
}

// Unverified reports whether CheckHostKey returned ErrUnverified: the server may
// be another one. Do not forward anything to it, or an agent.
func (c *Client) Unverified() bool { return c.unverified }

// ServerKeys is what a server says its host keys are, after the login
// (hostkeys-00@openssh.com; OpenSSH, PROTOCOL, 2.5).
type ServerKeys struct {
	// Keys are the server's, without certificates, those of types that we don't
	// know and those that Config.HostKeyAlgorithms does not take. None is there
	// twice. The server has not proved yet that they are its own.
	Keys []gossh.PublicKey

	c *Client
}

// announced takes the first hostkeys-00 and hands it to Config.ServerKeys, on a
// goroutine of its own: other requests, such as keepalives, must not wait for a
// person. It runs on the mux's goroutine for global requests.
func (c *Client) announced(data []byte) bool {
	var m wire.HostKeys
	if c.announcedOnce || wire.ParseBody(data, &m) != nil {
		return false
	}
	c.announcedOnce = true
	keys := &ServerKeys{c: c}
	for _, blob := range m.Keys {
		k, err := gossh.ParsePublicKey(blob)
		if err != nil {
			continue // a type that we don't know
		}
		if _, cert := k.(*gossh.Certificate); cert || !c.takesHostKey(k) {
			continue
		}
		if slices.ContainsFunc(keys.Keys, func(o gossh.PublicKey) bool { return string(o.Marshal()) == string(k.Marshal()) }) {
			return true // OpenSSH ignores a list with a key twice, too
		}
		keys.Keys = append(keys.Keys, k)
	}
	if len(keys.Keys) == 0 {
		return true
	}
	done := make(chan struct{})
	c.following.Store(&done)
	c.wg.Go(func() {
		defer close(done)
		ctx, cancel := context.WithCancelCause(context.Background())
		defer cancel(nil)
		c.wg.Go(func() { // ends with the connection or with the callback
			select {
			case <-c.m.Done():
				cancel(ErrClosed)
			case <-ctx.Done():
			}
		})
		c.cfg.ServerKeys(ctx, keys)
	})
	return true
}

// serverKeysGrace is how long Close waits for Config.ServerKeys. A command may be
// over before the server has proved its keys: ssh asks for the proof before it asks
// for the command, so that sshd proves first; ours asks for both at once. A busy
// server may take more than a second for it.
const serverKeysGrace = 5 * time.Second

func (c *Client) awaitServerKeys() {
	if c.cfg.ServerKeys == nil {
		return
	}
	grace := time.NewTimer(serverKeysGrace)
	defer grace.Stop()
	select {
	case <-c.m.Heard(): // the keys may have come, and not have been looked at yet
	case <-c.m.Done():
		return
	case <-grace.C:
		return
	}
	done := c.following.Load()
	if done == nil {
		return
	}
	select {
	case <-*done:
	case <-c.m.Done():
	case <-grace.C:
	}
}

// takesHostKey reports whether the configuration takes host keys of k's type.
func (c *Client) takesHostKey(k gossh.PublicKey) bool {
	list := c.cfg.HostKeyAlgorithms
	if list == nil {
		list = algo.DefaultHostKeys()
	}
	for _, a := range list {
		if a == k.Type() || k.Type() == gossh.KeyAlgoRSA && (a == gossh.KeyAlgoRSASHA256 || a == gossh.KeyAlgoRSASHA512) {
			return true
		}
	}
	return false
}

// Prove has the server prove that it has the private halves of keys
// (hostkeys-prove-00@openssh.com) and returns those that are proved. RSA keys
// that are proved with SHA-1 are left out. A wrong signature is an error.
func (s *ServerKeys) Prove(ctx context.Context, keys []gossh.PublicKey) (proved []gossh.PublicKey, err error) {
	var ask wire.HostKeys
	for _, k := range keys {
		ask.Keys = append(ask.Keys, k.Marshal())
	}
	ok, data, err := s.c.m.Request(ctx, wire.GlobalHostKeysProve, true, ask.Append(nil))
	if err != nil {
		return nil, fmt.Errorf("proof of host keys: %w", err)
	}
	if !ok {
		return nil, errors.New("the server does not prove that the host keys are its own")
	}
	var signatures wire.HostKeys
	if err := wire.ParseBody(data, &signatures); err != nil {
		return nil, fmt.Errorf("proof of host keys: %w", err)
	}
	if len(signatures.Keys) != len(keys) {
		return nil, fmt.Errorf("proof of host keys: %d signatures for %d keys", len(signatures.Keys), len(keys))
	}
	for i, k := range keys {
		good, err := s.proof(k, signatures.Keys[i])
		if err != nil {
			return nil, fmt.Errorf("proof of the host key %s: %w", gossh.FingerprintSHA256(k), err)
		}
		if good {
			proved = append(proved, k)
		}
	}
	return proved, nil
}

// proof checks a signature. It returns false for an RSA signature by an
// algorithm that is not to be trusted.
func (s *ServerKeys) proof(key gossh.PublicKey, blob []byte) (bool, error) {
	var sig gossh.Signature
	if err := gossh.Unmarshal(blob, &sig); err != nil {
		return false, fmt.Errorf("malformed signature: %w", err)
	}
	if key.Type() == gossh.KeyAlgoRSA {
		switch used := s.c.t.Algorithms().HostKey; used {
		case gossh.KeyAlgoRSASHA256, gossh.KeyAlgoRSASHA512:
			if sig.Format != used {
				return false, fmt.Errorf("signed with %.64q, want %s", sig.Format, used)
			}
		default:
			if sig.Format != gossh.KeyAlgoRSASHA256 && sig.Format != gossh.KeyAlgoRSASHA512 {
				return false, nil
			}
		}
	}
	signed := wire.AppendString(nil, wire.GlobalHostKeysProve)
	signed = wire.AppendString(signed, s.c.t.SessionID())
	signed = wire.AppendString(signed, key.Marshal())
	return true, key.Verify(signed, &sig)
}
