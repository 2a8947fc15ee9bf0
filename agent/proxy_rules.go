package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/adit-ssh/adit/internal/wire"
)

// circumstances are those of a request, which r tells of from then on. signing is
// nil unless something is to be signed.
func (s *shield) circumstances(r *Request, signing *Signing) circumstances {
	now := circumstancesOf(s.way, s.failed, signing)
	now.tell(r)
	return now
}

// sees returns what says whether a key may be known to whoever is at the other end.
func (s *shield) sees(r *Request) func(blob []byte, comments []string) error {
	rules := s.p.Rules.judge(s.circumstances(r, nil))
	return func(blob []byte, comments []string) (err error) {
		r.Comment = comments[0]
		r.Rule, err = rules.key(blob, comments...)
		return err
	}
}

// shown is list without the keys that are hidden.
func (s *shield) shown(ctx context.Context, r *Request) ([]Identity, error) {
	sees := s.sees(r)
	ids, err := s.list(ctx)
	all := len(ids)
	ids = slices.DeleteFunc(ids, func(id Identity) bool { return sees(id.Blob, s.holders[string(id.Blob)].comments) != nil })
	r.Hidden, r.Comment = all-len(ids), ""
	return ids, err
}

func (s *shield) sign(ctx context.Context, request []byte, r *Request) ([]byte, error) {
	q, err := parseSignRequest(request[1:])
	if err != nil {
		return nil, err
	}
	now := s.circumstances(r, signingOf(q.data))
	h, err := s.holder(ctx, q.key)
	if err != nil {
		return nil, err
	}
	rules := s.p.Rules.judge(now)
	twin := now.signing.twin(q.key)
	if held, here := s.holders[string(twin)]; here {
		r.Comment = held.comments[0]
		if r.Rule, err = rules.key(twin, held.comments...); err != nil {
			return nil, err
		}
	}
	r.Comment = h.comments[0]
	if r.Rule, err = rules.key(q.key, h.comments...); err != nil {
		return nil, err
	}
	if s.p.ConfirmForwarded && now.forwarded() {
		ask := now.confirmation()
		ask.Comment = h.comments[0]
		if ask.Key, err = parsePublic(q.key); err != nil {
			return nil, err // a person could not be told which it is
		}
		if s.p.Confirm == nil || !s.p.Confirm(ctx, ask) {
			return nil, errDeclined
		}
		r.Confirmed = true
	}
	return s.ask(ctx, h.agents[0], request, true)
}

// add adds a key to the first agent, unless it would be hidden, or would replace one
// that is.
func (s *shield) add(ctx context.Context, request []byte, r *Request) ([]byte, error) {
	if len(s.p.Upstreams) == 0 {
		return nil, errNoUpstream
	}
	p := wire.NewParser(request[1:])
	_, public, device, comment, err := parseAdded(&p, request[1:])
	remote := device != nil && s.attempted
	switch {
	case err == nil:
		r.Key, r.Comment = public.Marshal(), comment
		if s.p.Rules != nil {
			err = s.maySet(ctx, r)
		}
		if err == nil && remote {
			err = namesNoLibrary(p)
		}
	case s.p.Rules == nil && !remote:
		err = nil // what we can't read the agent may
	default:
		err = fmt.Errorf("it can't be judged: %w", err)
	}
	if err == nil && request[0] == numAddConstrained {
		if r.Key != nil {
			err = s.mayRestrict(ctx, p, false, r.Key)
		} else {
			err = s.enforces(ctx, "what can't be read here")
		}
	}
	if err != nil {
		return nil, err
	}
	return s.ask(ctx, s.p.Upstreams[0], request, false)
}

// namesNoLibrary refuses constraints by which a library would be loaded for a security
// key.
func namesNoLibrary(p wire.Parser) error {
	limits, err := parseConstraints(&p, false)
	if err == nil && limits.provider != "" && !strings.EqualFold(limits.provider, "internal") {
		err = errRemote
	}
	return err
}

// maySet says whether rules let a key be added, or replaced.
func (s *shield) maySet(ctx context.Context, r *Request) error {
	comment, sees := r.Comment, s.sees(r)
	defer func() { r.Comment = comment }()
	if err := sees(r.Key, []string{comment}); err != nil {
		return err
	}
	if _, err := s.list(ctx); err != nil {
		return err
	}
	if h, known := s.holders[string(r.Key)]; known {
		return sees(r.Key, h.comments)
	}
	return nil
}

// removeShown removes all keys but those that are hidden, wherever they are.
func (s *shield) removeShown(ctx context.Context, r *Request) error {
	ids, err := s.shown(ctx, r)
	r.Rule = ""
	for _, id := range ids {
		if rerr := s.remove(ctx, id.Blob, s.holders[string(id.Blob)]); err == nil {
			err = rerr
		}
	}
	return err
}

// nothingHidden refuses what may be about keys that are hidden.
func (s *shield) nothingHidden(ctx context.Context, r *Request) error {
	_, err := s.shown(ctx, r)
	r.Rule = ""
	if err == nil && r.Hidden > 0 {
		err = errors.New("rules hide keys, and it can't be told whether the token has them")
	}
	return err
}
