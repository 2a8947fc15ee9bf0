package agent

import (
	"errors"
	"fmt"

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

// append appends the request to add the key.
func (k *AddedKey) append(b []byte) ([]byte, error) {
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

// constraints are those of a key that was added.
type constraints struct {
	limited      bool // has a lifetime
	lifetime     uint32
	confirm      bool
	destinations []Destination // nil: everywhere
}

// parseConstraints reads what follows a key's comment. What is not known refuses
// the whole key: who asked for a limit must not get a key without it.
func parseConstraints(p *wire.Parser) (c constraints, err error) {
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
			switch name := p.String(); {
			case p.Err() != nil:
			case name != extRestrict:
				return c, fmt.Errorf("constraint %.64q is not known here", name)
			case c.destinations != nil:
				return c, errors.New("two lists of destinations")
			default:
				if c.destinations, err = parseDestinations(p.Bytes()); err != nil {
					return c, err
				}
			}
		default:
			return c, fmt.Errorf("constraint %d is not known here", num)
		}
	}
	return c, p.Err()
}
