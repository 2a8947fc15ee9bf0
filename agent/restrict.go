package agent

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/wire"
)

// UnenforcedError is a key that was not added since it is to be used in some ways only,
// and the agent that would hold it is not known to see to that. GnuPG's agent, for one,
// takes ssh-add -h and -t, says yes, and lets the key sign for anybody for ever.
type UnenforcedError struct {
	What string // the restrictions, such as "lifetime, destinations"
	Why  error  // how the agent answered when it was tried
}

func (e *UnenforcedError) Error() string {
	return fmt.Sprintf("the agent behind this one is not known to enforce what the key is added with (%s), as it does not check session-bind: %v", e.What, e.Why)
}

// Unwrap returns the reason.
func (e *UnenforcedError) Unwrap() error { return e.Why }

// errElsewhere is a key that would seem to be restricted, and is not.
var errElsewhere = errors.New("another agent behind this one has the key already, and does not know what it is added with")

// mayRestrict says whether a key may be added with what p has left, its constraints, to
// the first agent: there are none that restrict its use, or the agent is known to
// enforce them. key is nil when it is not known.
func (s *shield) mayRestrict(ctx context.Context, p wire.Parser, token bool, key []byte) error {
	limits, err := parseConstraints(&p, token)
	if err != nil {
		return fmt.Errorf("its constraints can't be judged: %w", err)
	}
	what := limits.restrictions()
	if what == "" {
		return nil
	}
	if err := s.enforces(ctx, what); err != nil || key == nil {
		return err
	}
	h, err := s.holder(ctx, key)
	for _, d := range h.agents {
		if d != s.p.Upstreams[0] {
			return errElsewhere
		}
	}
	if errors.Is(err, errUnknown) {
		err = nil
	}
	return err
}

// restrictions names those constraints that restrict a key's use.
func (c *constraints) restrictions() string {
	var all []string
	if c.limited {
		all = append(all, "lifetime")
	}
	if c.confirm {
		all = append(all, "confirmation")
	}
	if c.destinations != nil {
		all = append(all, "destinations")
	}
	return strings.Join(all, ", ")
}

// enforces returns an *UnenforcedError unless the first agent checks bindings. Those that
// do, OpenSSH's and its kin, refuse constraints that they do not know; of the others some
// ignore them.
func (s *shield) enforces(ctx context.Context, what string) error {
	conn, _, done, err := s.p.Upstreams[0].openInTurn(ctx, nil)
	if err != nil {
		return err
	}
	defer done()
	defer conn.Close()
	err = checksBindings(ctx, NewClient(conn))
	if err != nil && !errors.Is(err, errMute) {
		return &UnenforcedError{what, err}
	}
	return err
}

var errGullible = errors.New("it takes a proof that is none")

// checksBindings has an agent bind the connection, which is of no other use then, to a
// session of ours, and to one that lacks the host's signature.
func checksBindings(ctx context.Context, c *Client) error {
	ctx, cancel := context.WithTimeoutCause(ctx, bindLimit, errMute)
	defer cancel()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	host, err := gossh.NewSignerFromKey(private)
	if err != nil {
		return err
	}
	id := make([]byte, 32)
	rand.Read(id)
	sig, err := host.Sign(rand.Reader, id)
	if err != nil {
		return err
	}
	b := Binding{Session: Session{ID: id, HostKey: host.PublicKey().Marshal(), Signature: gossh.Marshal(sig)}, Forwarding: true}
	if err := c.Bind(ctx, b); err != nil {
		return err
	}
	b.ID = append([]byte{^id[0]}, id[1:]...)
	if err := c.Bind(ctx, b); err == nil {
		return errGullible
	}
	return nil
}

// ErrShowsKeys is why a Proxy does not say that it is locked: an agent behind it says yes
// to a passphrase and goes on as before, as GnuPG's does.
var ErrShowsKeys = errors.New("an agent behind this one says that it is locked, and shows keys all the same")

// locked says whether the agents show no keys any more to those who are here.
func (s *shield) locked(ctx context.Context) error {
	ids, _ := (&shield{p: s.p}).list(ctx) // who does not answer shows none
	if len(ids) > 0 {
		return ErrShowsKeys
	}
	return nil
}
