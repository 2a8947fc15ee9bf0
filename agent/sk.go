package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/wire"
)

// securityKey is what a key with its private half in a security key has beside that
// of others (OpenSSH, PROTOCOL.u2f). None of it is secret; the key's handle, which
// is in its raw form, is of no use without the device.
type securityKey struct {
	application string // for whom the key is: ssh:, or a web site's
	flags       byte   // skUserPresence…
	provider    string // the library that knows the device; "" when none was named
}

// What a key wants of its person (OpenSSH, sk-api.h).
const skUserPresence = 1

// startsSecurityKey says whether a security key's private form comes next.
func startsSecurityKey(p wire.Parser) bool {
	switch p.String() {
	case gossh.KeyAlgoSKED25519, gossh.KeyAlgoSKECDSA256, gossh.CertAlgoSKED25519v01, gossh.CertAlgoSKECDSA256v01:
		return true
	}
	return false
}

// parseSecurityKey reads a key as parsePrivate does (OpenSSH, sshkey.c,
// sshkey_private_deserialize).
func parseSecurityKey(p *wire.Parser, b []byte) (raw []byte, public gossh.PublicKey, k securityKey, err error) {
	before := p.Len()
	typ := p.String()
	if typ == gossh.CertAlgoSKED25519v01 || typ == gossh.CertAlgoSKECDSA256v01 {
		key, err := parsePublic(p.Bytes())
		if err != nil {
			return nil, nil, k, err
		}
		cert, ok := key.(*gossh.Certificate)
		if !ok || cert.Type() != typ {
			return nil, nil, k, errCertificate
		}
		public, typ = cert, cert.Key.Type()
	}
	blob := wire.AppendString(nil, typ)
	switch {
	case typ == gossh.KeyAlgoSKED25519:
		blob = wire.AppendString(blob, p.Bytes())
	case public == nil:
		blob = wire.AppendString(wire.AppendString(blob, p.Bytes()), p.Bytes()) // curve and point
	default: // the certificate has both
		known := wire.NewParser(bare(public).Marshal())
		known.Bytes()
		blob = wire.AppendString(wire.AppendString(blob, known.Bytes()), known.Bytes())
	}
	if k.application, err = cString(p); err != nil {
		return nil, nil, k, err
	}
	blob = wire.AppendString(blob, k.application)
	k.flags = p.Byte()
	p.Bytes() // the handle
	p.Bytes() // reserved
	switch {
	case p.Err() != nil:
		err = p.Err()
	case public == nil:
		public, err = parsePublic(blob)
	case !bytes.Equal(blob, bare(public).Marshal()):
		err = errKey
	}
	if err != nil {
		return nil, nil, k, err
	}
	from := len(b) - before
	return b[from : len(b)-p.Len()], public, k, nil
}

// admits says whether a security key may be added: with a provider that may be
// loaded, in a place where there is a helper to load it.
func (t *Tokens) admits(k *securityKey, remote bool) (err error) {
	if t == nil {
		return errNoTokens
	}
	if _, err := findHelper(t.SKHelper, "ssh-sk-helper"); err != nil {
		return err
	}
	if k.provider != "" && !strings.EqualFold(k.provider, "internal") {
		k.provider, err = t.provider(k.provider, remote)
	}
	return err
}

// errWebsite is a key for the web that is to sign something else than ssh's.
var errWebsite = errors.New("the security key is a web site's, and what it is to sign is no login and no SSHSIG")

// signs says whether a security key may sign data: one that is not for ssh could
// log in to the web site that it is for (OpenSSH, ssh-agent.c,
// check_websafe_message_contents).
func (t *Tokens) signs(k *securityKey, public gossh.PublicKey, data []byte) error {
	if t.AnySignature || strings.HasPrefix(k.application, "ssh:") || t.WebSafe != "" && matchesOne(t.WebSafe, k.application) {
		return nil
	}
	if _, err := parseLogin(data, public); err == nil {
		return nil
	}
	if _, ok := readSSHSIG(data); ok {
		return nil
	}
	return errWebsite
}

// What is said to ssh-sk-helper (OpenSSH, ssh-sk.h and ssh-sk-client.c).
const (
	skHelperVersion = 5
	skHelperError   = 0
	skHelperSign    = 1
	skHelperLog     = 1 // to standard error
	skHelperLevel   = 2 // errors
)

// Errors that the helper tells (OpenSSH, ssherr.h), without their sign.
const (
	skErrFormat   = 4
	skErrPIN      = 43
	skErrNotFound = 60
)

var errPIN = errors.New("the security key wants its PIN")

// signSecurityKey has a security key sign. One is asked at a time: two helpers would
// be in each other's way at the device.
func (t *Tokens) signSecurityKey(ctx context.Context, raw []byte, k securityKey, c Confirmation, data []byte) (*gossh.Signature, error) {
	if k.provider == "" {
		return nil, errors.New("the security key was added without its provider")
	}
	t.init()
	back, err := take(ctx, t.sk)
	if err != nil {
		return nil, err
	}
	defer back()
	touch := k.flags&skUserPresence != 0
	done := func() {}
	if touch && t.Touch != nil {
		done = t.Touch(c)
	}
	sig, err := t.askSecurityKey(ctx, raw, k, data, "")
	done()
	if errors.Is(err, errPIN) && t.PIN != nil {
		pin, ok := t.PIN(ctx, c, touch)
		if !ok {
			return nil, err
		}
		sig, err = t.askSecurityKey(ctx, raw, k, data, pin)
	}
	if err != nil {
		return nil, err
	}
	// Without a touch x/crypto takes the signature for a wrong one.
	if touch {
		if err := bare(c.Key).Verify(data, sig); err != nil {
			return nil, fmt.Errorf("the security key's signature: %w", err)
		}
	}
	return sig, nil
}

// askSecurityKey runs a helper for one signature.
func (t *Tokens) askSecurityKey(ctx context.Context, raw []byte, k securityKey, data []byte, pin string) (*gossh.Signature, error) {
	program, err := findHelper(t.SKHelper, "ssh-sk-helper")
	if err != nil {
		return nil, err
	}
	h, err := startHelper(program)
	if err != nil {
		return nil, err
	}
	defer func() {
		h.kill()
		<-h.ended
	}()
	ctx, cancel := t.bounded(ctx)
	defer cancel()
	request := wire.AppendUint32([]byte{skHelperVersion}, skHelperSign)
	request = wire.AppendUint32(append(request, skHelperLog), skHelperLevel)
	request = wire.AppendString(wire.AppendString(request, raw), k.provider)
	request = wire.AppendString(wire.AppendString(request, data), "") // the algorithm is the key's
	request = wire.AppendString(wire.AppendUint32(request, 0), pin)
	defer clear(request)
	reply, err := h.ask(ctx, request)
	if err != nil {
		return nil, err
	}
	sig, err := parseSKReply(reply)
	if words := h.said.String(); err != nil && words != "" && !errors.Is(err, errPIN) {
		err = fmt.Errorf("%w: %s", err, words)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", h.name, err)
	}
	return sig, nil
}

func parseSKReply(reply []byte) (*gossh.Signature, error) {
	p := wire.NewParser(reply)
	if version := p.Byte(); version != skHelperVersion {
		return nil, fmt.Errorf("it speaks version %d, and we %d", version, skHelperVersion)
	}
	num := p.Uint32()
	if num == skHelperError {
		switch code := p.Uint32(); {
		case p.Err() != nil:
			return nil, p.Err()
		case code == skErrPIN:
			return nil, errPIN
		case code == skErrNotFound:
			return nil, errors.New("the security key is not there")
		case code == skErrFormat:
			return nil, errors.New("the provider or the key can't be used")
		default:
			return nil, fmt.Errorf("it tells error %d", code)
		}
	}
	blob := p.Bytes()
	if err := p.Done(); err != nil || num != skHelperSign {
		return nil, fmt.Errorf("malformed answer %d", num)
	}
	return parseSignature(blob)
}
