package agent

import (
	"fmt"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/wire"
)

// Numbers of messages (RFC 9987, section 6.1). Those of SSH 1 are refused, but
// for numRemoveAllV1, which OpenSSH still obeys.
const (
	numFailure          = 5
	numSuccess          = 6
	numRemoveAllV1      = 9
	numRequestKeys      = 11
	numKeys             = 12
	numSignRequest      = 13
	numSignature        = 14
	numAdd              = 17
	numRemove           = 18
	numRemoveAll        = 19
	numAddToken         = 20
	numRemoveToken      = 21
	numLock             = 22
	numUnlock           = 23
	numAddConstrained   = 25
	numAddTokenLimited  = 26
	numExtension        = 27
	numExtensionFailure = 28
	numExtensionReply   = 29
	numFailureOld       = 30 // of SSH 1's time; ssh-pkcs11-helper still says it
)

// Names of extensions and constraint extensions.
const (
	extSessionBind     = "session-bind@openssh.com"
	extQuery           = "query"
	extRestrict        = "restrict-destination-v00@openssh.com"
	extSKProvider      = "sk-provider@openssh.com"
	extAssociatedCerts = "associated-certs-v00@openssh.com"
)

// Constraints of keys (RFC 9987, section 5.2.7).
const (
	constrainLifetime  = 1
	constrainConfirm   = 2
	constrainExtension = 255
)

// Flags of a sign request: which signature an RSA key makes. Other keys have no
// choice. Both at once is SHA-256, as in OpenSSH.
const (
	FlagRSASHA256 uint32 = 2
	FlagRSASHA512 uint32 = 4
)

// MaxIdentities is how many keys an agent may list (OpenSSH, authfd.c).
const MaxIdentities = 2048

// Identity is a key that an agent has.
type Identity struct {
	Blob    []byte // the public key or certificate, in wire form
	Comment string // not sanitised
}

// operation names a message in events and errors.
func operation(num byte) string {
	switch num {
	case numRequestKeys:
		return "list"
	case numSignRequest:
		return "sign"
	case numAdd, numAddConstrained:
		return "add"
	case numRemove:
		return "remove"
	case numRemoveAll, numRemoveAllV1:
		return "remove all"
	case numAddToken, numAddTokenLimited:
		return "add token"
	case numRemoveToken:
		return "remove token"
	case numLock:
		return "lock"
	case numUnlock:
		return "unlock"
	case numExtension:
		return "extension"
	}
	return fmt.Sprintf("message %d", num)
}

func appendKeys(b []byte, ids []Identity) []byte {
	b = wire.AppendUint32(append(b, numKeys), uint32(len(ids)))
	for _, id := range ids {
		b = wire.AppendString(wire.AppendString(b, id.Blob), id.Comment)
	}
	return b
}

// parseKeys reads the body of numKeys. The blobs share its memory.
func parseKeys(b []byte) ([]Identity, error) {
	p := wire.NewParser(b)
	n := p.Uint32()
	if n > MaxIdentities {
		return nil, fmt.Errorf("it lists %d keys; %d is the limit", n, MaxIdentities)
	}
	var ids []Identity
	for range n {
		id := Identity{Blob: p.Bytes(), Comment: p.String()}
		if p.Err() != nil {
			break
		}
		ids = append(ids, id)
	}
	return ids, p.Done()
}

// signRequest is the body of numSignRequest.
type signRequest struct {
	key, data []byte
	flags     uint32
}

func (r *signRequest) append(b []byte) []byte {
	b = wire.AppendString(append(b, numSignRequest), r.key)
	return wire.AppendUint32(wire.AppendString(b, r.data), r.flags)
}

// parseSignRequest takes what follows the flags for nothing, as OpenSSH does.
func parseSignRequest(b []byte) (r signRequest, err error) {
	p := wire.NewParser(b)
	r = signRequest{p.Bytes(), p.Bytes(), p.Uint32()}
	return r, p.Err()
}

func appendSignature(b []byte, s *gossh.Signature) []byte {
	blob := wire.AppendString(wire.AppendString(nil, s.Format), s.Blob)
	return wire.AppendString(append(b, numSignature), append(blob, s.Rest...))
}

// parseSignature reads a signature in wire form. Those of security keys have
// more behind the blob.
func parseSignature(b []byte) (*gossh.Signature, error) {
	p := wire.NewParser(b)
	s := &gossh.Signature{Format: p.String(), Blob: append([]byte(nil), p.Bytes()...)}
	if rest := p.Rest(); len(rest) > 0 {
		s.Rest = append([]byte(nil), rest...)
	}
	return s, p.Err()
}

// splitReply returns a reply's number and body. Windows' agent frames its status
// twice: a message that is a uint32 length, 1, and the number.
func splitReply(reply []byte) (num byte, body []byte) {
	if len(reply) == 5 && string(reply[:4]) == "\x00\x00\x00\x01" {
		reply = reply[4:]
	}
	return reply[0], reply[1:]
}
