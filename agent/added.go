package agent

import (
	"errors"
	"fmt"
	"slices"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/wire"
)

// AddedKey is a private key for an agent, and what the agent may do with it.
type AddedKey struct {
	// PrivateKey is an *rsa.PrivateKey, an *ecdsa.PrivateKey, or an
	// ed25519.PrivateKey or a pointer to one.
	PrivateKey any
	// Certificate has the key held as this certificate's; nil for the bare key.
	Certificate *gossh.Certificate
	Comment     string
	// Lifetime is after how many seconds the agent forgets the key; 0 is never.
	Lifetime uint32
	// Confirm has the agent ask a person before each signature.
	Confirm bool
	// Destinations are where the key may be used; none means everywhere.
	Destinations []Destination
}

// addRoom is what requests to add a key take at most, in bytes, unless their certificate
// is a very long one: memory that grows leaves what was in it behind.
const addRoom = 16 << 10

// append appends the request to add the key.
func (k *AddedKey) append(b []byte) ([]byte, error) {
	b = slices.Grow(b, addRoom)
	limits := k.appendConstraints(nil)
	num := byte(numAdd)
	if len(limits) > 0 {
		num = numAddConstrained
	}
	b, err := appendPrivate(append(b, num), k.PrivateKey, k.Certificate)
	if err != nil {
		return nil, err
	}
	return append(wire.AppendString(b, k.Comment), limits...), nil
}

func (k *AddedKey) appendConstraints(b []byte) []byte {
	if k.Lifetime > 0 {
		b = wire.AppendUint32(append(b, constrainLifetime), k.Lifetime)
	}
	if k.Confirm {
		b = append(b, constrainConfirm)
	}
	if len(k.Destinations) > 0 {
		b = wire.AppendString(append(b, constrainExtension), extRestrict)
		b = wire.AppendString(b, appendDestinations(nil, k.Destinations))
	}
	return b
}

// parseAdded reads the key and the comment of a request to add it. raw is the part of p
// that is the key, and device is not nil when it is one in a security key, also if there
// is an error.
func parseAdded(p *wire.Parser, b []byte) (raw []byte, public gossh.PublicKey, device *securityKey, comment string, err error) {
	if startsSecurityKey(*p) {
		device = &securityKey{}
		raw, public, *device, err = parseSecurityKey(p, b)
	} else {
		raw, public, err = parsePrivate(p, b)
	}
	if err != nil {
		return nil, nil, device, "", err
	}
	if comment, err = cString(p); err != nil {
		err = fmt.Errorf("comment: %w", err)
	}
	return raw, public, device, comment, err
}

// constraints are those of a key that was added.
type constraints struct {
	limited      bool // has a lifetime
	lifetime     uint32
	confirm      bool
	destinations []Destination // nil: everywhere

	provider  string               // of a security key; "" when none is named
	certs     []*gossh.Certificate // that a token's keys are to be held as, too
	certsOnly bool                 // not as bare keys
}

// parseConstraints reads what follows a key's comment, or a token's PIN. What is not
// known refuses the whole key: who asked for a limit must not get a key without it.
func parseConstraints(p *wire.Parser, token bool) (c constraints, err error) {
	certs := false // were given
	for p.Len() > 0 && p.Err() == nil {
		switch num := p.Byte(); num {
		case constrainLifetime:
			if c.limited {
				return c, errors.New("two lifetimes")
			}
			c.limited, c.lifetime = true, p.Uint32()
		case constrainConfirm:
			if c.confirm {
				return c, errors.New("confirmation is asked for twice")
			}
			c.confirm = true
		case constrainExtension:
			name, err := cString(p)
			switch {
			case err != nil:
			case name == extRestrict && c.destinations == nil:
				c.destinations, err = parseDestinations(p.Bytes())
			case name == extSKProvider && !token && c.provider == "":
				c.provider, err = cString(p)
			case name == extAssociatedCerts && token && !certs:
				certs, c.certsOnly = true, p.Bool()
				c.certs, err = parseCertificates(p.Bytes())
			case name == extRestrict || name == extSKProvider && !token || name == extAssociatedCerts && token:
				err = fmt.Errorf("constraint %s is given twice", name)
			default:
				err = fmt.Errorf("constraint %.64q is not known here", name)
			}
			if err != nil {
				return c, err
			}
		default:
			return c, fmt.Errorf("constraint %d is not known here", num)
		}
	}
	return c, p.Err()
}

// parseCertificates reads those of the constraint associated-certs-v00@openssh.com.
// Bare keys among them mean nothing, as in OpenSSH.
func parseCertificates(b []byte) (certs []*gossh.Certificate, err error) {
	p := wire.NewParser(b)
	for n := 0; p.Len() > 0 && p.Err() == nil; n++ {
		if n == maxAssociatedCerts {
			return nil, fmt.Errorf("more than %d certificates", maxAssociatedCerts)
		}
		blob := p.Bytes()
		if p.Err() != nil {
			break
		}
		key, err := parsePublic(clone(blob))
		if err != nil {
			return nil, err
		}
		if cert, ok := key.(*gossh.Certificate); ok {
			certs = append(certs, cert)
		}
	}
	return certs, p.Err()
}
