package transport

import (
	"bytes"
	"crypto/subtle"
	"errors"
	"fmt"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/algo"
	"github.com/adit-ssh/adit/internal/wire"
)

// client runs the client's half up to the verified host key.
func (k *kexRun) client() (err error) {
	c := k.c
	var kex algo.Kex
	sent := time.Now()
	if k.guess != nil {
		kex, k.clientShare, sent = k.guess.kex, k.guess.share, k.guess.sent
	} else if kex, err = k.clientShares(); err != nil {
		return err
	}
	if err := k.receiveReply(); err != nil {
		return err
	}
	c.early = false
	c.sampleRTT(time.Since(sent))
	k.kex = kex
	if k.secret, err = kex.Finish(k.serverShare); err != nil {
		return k.failed(err)
	}
	k.hashAll()
	key, err := algo.VerifyHost(k.alg.HostKey, k.hostKey, k.signature, k.h)
	if err != nil {
		return &HostKeyError{fmt.Errorf("the server does not prove its %s key: %w", k.alg.HostKey, err)}
	}
	return k.checkHostKey(key)
}

// takeGuess keeps the guess if it is right: one that was announced if the first
// names of both sides are the same (RFC 4253, section 7), else the server skips
// it; another if it is for what was chosen, for no server skips that.
func (k *kexRun) takeGuess(local, server *wire.KexInit) error {
	c := k.c
	c.kexMu.Lock()
	defer c.kexMu.Unlock()
	g := c.guess
	c.guess = nil
	switch {
	case g == nil:
	case g.announced && (!sameFirst(local.Kex, server.Kex) || !sameFirst(local.HostKey, server.HostKey)):
	case g.name == k.alg.Kex:
		k.guess = g
	default:
		return fmt.Errorf("%w: it chooses %s, not %s", ErrExpect, k.alg.Kex, g.name)
	}
	return nil
}

// clientShares makes the client's share and sends it.
func (k *kexRun) clientShares() (kex algo.Kex, err error) {
	if k.method.Gex {
		if kex, err = k.clientGroup(); err != nil {
			return nil, err
		}
	} else {
		kex = k.method.New()
	}
	if k.clientShare, err = kex.Init(k.c.cfg.rand()); err != nil {
		return nil, fmt.Errorf("key exchange %s: %w", k.alg.Kex, err)
	}
	if k.method.Gex {
		k.send(&wire.KexGexInit{Share: k.clientShare})
	} else {
		k.send(&wire.KexShareInit{Share: k.clientShare})
	}
	return kex, nil
}

// receiveReply takes the server's answer.
func (k *kexRun) receiveReply() error {
	if k.method.Gex {
		var m wire.KexGexReply
		if err := k.receive(&m); err != nil {
			return err
		}
		k.hostKey, k.serverShare, k.signature = bytes.Clone(m.HostKey), bytes.Clone(m.Share), bytes.Clone(m.Signature)
		return nil
	}
	var m wire.KexShareReply
	if err := k.receive(&m); err != nil {
		return err
	}
	k.hostKey, k.serverShare, k.signature = bytes.Clone(m.HostKey), bytes.Clone(m.Share), bytes.Clone(m.Signature)
	return nil
}

// clientGroup asks the server for a group (RFC 4419, section 3).
func (k *kexRun) clientGroup() (algo.Kex, error) {
	req := wire.KexGexRequest{Min: gexMin, N: gexPreferred, Max: gexMax}
	k.send(&req)
	var m wire.KexGexGroup
	if err := k.receive(&m); err != nil {
		return nil, err
	}
	return k.group(req, bytes.Clone(m.P), bytes.Clone(m.G))
}

// checkHostKey asks the caller in the first exchange; later the key must be the
// same.
func (k *kexRun) checkHostKey(key gossh.PublicKey) error {
	c := k.c
	if !c.first {
		if subtle.ConstantTimeCompare(k.hostKey, c.hostKey) != 1 {
			return &HostKeyError{errors.New("the server shows another key than at the start of the connection")}
		}
		return nil
	}
	if err := c.cfg.CheckHostKey(k.alg.HostKey, key); err != nil {
		return &HostKeyError{err}
	}
	return nil
}
