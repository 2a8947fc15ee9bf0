package agent

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/wire"
)

// token is a PKCS#11 provider whose keys are in a ring, with the helper that has
// loaded it and logged in to it. It lives as long as one of its keys does.
//
// Goroutines: one that has the helper answer, which ends with it.
type token struct {
	// Immutable.
	provider string
	h        *helper
	kind     helperKind
	jobs     chan tokenJob

	// Guarded by Keyring.mu.
	keys   int  // in the ring
	ending bool // takes no keys any more
}

// tokenJob is a request to a helper. The reply is waited for by the token, whoever
// asked: a helper that has been left in the middle of an answer is of no use for the
// next one.
type tokenJob struct {
	request []byte
	reply   chan tokenReply // has room for it
}

type tokenReply struct {
	num  byte
	body []byte
	err  error
}

// helperKind is what a PKCS#11 helper takes to sign.
type helperKind byte

const (
	kindUnknown helperKind = iota
	kindHash               // before OpenSSH 10.2: the hash, and gives a bare signature
	kindWhole              // since: all of it, with an algorithm's name
)

// serve has the helper answer until it ends.
func (t *token) serve(bounded func(context.Context) (context.Context, context.CancelFunc)) {
	defer func() {
		t.h.kill()
		<-t.h.ended
	}()
	for {
		select {
		case j := <-t.jobs:
			ctx, cancel := bounded(context.Background())
			reply, err := t.h.ask(ctx, j.request)
			cancel()
			clear(j.request) // a PIN may be in it
			if err != nil {
				j.reply <- tokenReply{err: err}
				return
			}
			j.reply <- tokenReply{num: reply[0], body: reply[1:]}
		case <-t.h.ended:
			return
		}
	}
}

// ask has the helper answer one request, which it overwrites. When ctx ends only the
// waiting does.
func (t *token) ask(ctx context.Context, request []byte) (num byte, body []byte, err error) {
	j := tokenJob{request, make(chan tokenReply, 1)}
	select {
	case t.jobs <- j:
	case <-t.h.ended:
		clear(request)
		return 0, nil, fmt.Errorf("%s has ended", t.h.name)
	case <-ctx.Done():
		clear(request)
		return 0, nil, context.Cause(ctx)
	}
	select {
	case r := <-j.reply:
		return r.num, r.body, r.err
	case <-ctx.Done():
		return 0, nil, context.Cause(ctx)
	}
}

// maxTokenRequest is the longest request that the helper bears, in bytes without its
// length; it ends at others (OpenSSH, ssh-pkcs11-helper.c, MAX_MSG_LENGTH).
const maxTokenRequest = 10240

// sign has the token sign, and checks that it did.
func (t *token) sign(ctx context.Context, public gossh.PublicKey, q signRequest) (*gossh.Signature, error) {
	key := bare(public)
	algorithm := algorithmOf(key.Type(), q.flags)
	request := wire.AppendString([]byte{numSignRequest}, key.Marshal())
	if t.kind == kindWhole {
		name := algorithm
		if name == key.Type() {
			name = "" // the key's own
		}
		request = wire.AppendString(wire.AppendString(request, q.data), name)
	} else {
		hash, err := hashFor(key, algorithm, q.data)
		if err != nil {
			return nil, err
		}
		request = wire.AppendString(request, hash)
	}
	request = wire.AppendUint32(request, 0)
	if len(request) > maxTokenRequest {
		return nil, fmt.Errorf("%d bytes are too much for %s to sign", len(q.data), t.h.name)
	}
	num, body, err := t.ask(ctx, request)
	if err != nil {
		return nil, err
	}
	p := wire.NewParser(body)
	blob := p.Bytes()
	if num != numSignature || p.Done() != nil {
		return nil, errors.New("the token does not sign")
	}
	var sig *gossh.Signature
	if t.kind == kindWhole {
		sig, err = parseSignature(blob)
	} else {
		sig, err = signatureOf(key, algorithm, blob)
	}
	if err == nil && sig.Format != algorithm {
		err = fmt.Errorf("it is %.64q, and %s is due", sig.Format, algorithm)
	}
	if err == nil {
		err = key.Verify(q.data, sig)
	}
	if err != nil {
		return nil, fmt.Errorf("the token's signature: %w", err)
	}
	return sig, nil
}

// hashFor is what an older helper signs: for RSA the hash with its name (RFC 8017,
// section 9.2), for ECDSA the hash.
func hashFor(key gossh.PublicKey, algorithm string, data []byte) ([]byte, error) {
	hash := crypto.SHA256
	var name asn1.ObjectIdentifier
	switch algorithm {
	case gossh.KeyAlgoRSA:
		hash, name = crypto.SHA1, asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}
	case gossh.KeyAlgoRSASHA256:
		name = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
	case gossh.KeyAlgoRSASHA512:
		hash, name = crypto.SHA512, asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 3}
	case gossh.KeyAlgoECDSA256:
	case gossh.KeyAlgoECDSA384:
		hash = crypto.SHA384
	case gossh.KeyAlgoECDSA521:
		hash = crypto.SHA512
	default:
		return nil, fmt.Errorf("this ssh-pkcs11-helper signs with no keys of type %s", key.Type())
	}
	h := hash.New()
	h.Write(data)
	sum := h.Sum(nil)
	if name == nil {
		return sum, nil
	}
	return asn1.Marshal(struct {
		Algorithm pkix.AlgorithmIdentifier
		Digest    []byte
	}{pkix.AlgorithmIdentifier{Algorithm: name, Parameters: asn1.NullRawValue}, sum})
}

// signatureOf puts an older helper's signature into SSH's form (RFC 4253, section
// 6.6; RFC 5656, section 3.1.2).
func signatureOf(key gossh.PublicKey, algorithm string, b []byte) (*gossh.Signature, error) {
	sig := &gossh.Signature{Format: algorithm}
	k, _ := key.(gossh.CryptoPublicKey)
	switch public := k.CryptoPublicKey().(type) {
	case *rsa.PublicKey:
		if len(b) > public.Size() {
			return nil, errors.New("it is too long")
		}
		sig.Blob = append(bytes.Repeat([]byte{0}, public.Size()-len(b)), b...)
	case *ecdsa.PublicKey:
		var n struct{ R, S *big.Int }
		if rest, err := asn1.Unmarshal(b, &n); err != nil || len(rest) > 0 || n.R.Sign() <= 0 || n.S.Sign() <= 0 {
			return nil, errors.New("it is malformed")
		}
		sig.Blob = wire.AppendMpint(wire.AppendMpint(nil, n.R.Bytes()), n.S.Bytes())
	}
	return sig, nil
}
