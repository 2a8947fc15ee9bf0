package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/adit-ssh/adit/internal/wire"
)

// listLimit is how long an agent behind a Proxy may take to list its keys: those
// that keep a vault ask their person first.
const listLimit = 30 * time.Second

var (
	errNoUpstream = errors.New("no agent behind this one answers")
	errShared     = errors.New("several sessions share this connection: it may list keys and sign")
	errUnbound    = errors.New("the agent behind this one closes connections that are bound: it is asked for lists and signatures only")
)

// Proxy is an agent that has no keys, but asks others for theirs. Those see only
// what they can bear: bindings whose proof was checked, never two that exclude each
// other, one request on a connection, and nothing that they may not know. Clients
// that use one connection for all, as some do, are served all the same: a binding
// that comes after a login's begins a new way.
//
// Agents are asked for a list all at once, for at most 30 seconds; one that can't be
// reached is left out. To connect and to bind may take 5 seconds each, and to wait for the
// turn at one that serves one connection at a time, 30. Keys are added to the first. Lists and signatures are asked for
// once more when an agent is lost meanwhile, nothing else is. A key that may be used in
// some ways only is added to an agent that checks bindings, and else refused
// (UnenforcedError).
type Proxy struct {
	Upstreams []*Dialer
	// Policy decides about each request; an error has it answered with FAILURE. With
	// nil everything passes.
	Policy func(Use) error
	// Rules hide keys. Nil: none is hidden.
	Rules *Rules
	// ConfirmForwarded has Confirm asked whether a key may be used when the request
	// comes from another host: over a connection that was bound for forwarding, or that
	// somebody tried to bind in vain. The agents behind may ask, too.
	ConfirmForwarded bool
	// Confirm asks a person. ctx ends when the one who wants the signature has gone.
	// Nil: the answer is no. It may be called by several goroutines at once.
	Confirm func(ctx context.Context, u Confirmation) bool
}

// holding is who has listed a key, and how they call it, the first of them first.
type holding struct {
	agents   []*Dialer
	comments []string
}

// shield is a connection to a Proxy.
type shield struct {
	p      *Proxy
	record func(Request) error // may be nil

	mu sync.Mutex
	// Guarded by mu.
	way       []Binding
	shared    bool               // a binding came after that for a login
	attempted bool               // a binding was asked for, and may have failed
	failed    bool               // one has: where requests come from is not known any more
	holders   map[string]holding // by key, as of the last list along this way
}

func (p *Proxy) connect(record func(Request) error) answerer { return &shield{p: p, record: record} }

// Answer answers one request, a message without its length, with one.
func (s *shield) Answer(ctx context.Context, request []byte) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return answered(s.record, request, func(r *Request) ([]byte, error) {
		if len(request) == 0 {
			return nil, errors.New("it is empty")
		}
		return s.answer(ctx, request, r)
	})
}

// answer fills in what r tells of the request.
func (s *shield) answer(ctx context.Context, request []byte, r *Request) ([]byte, error) {
	u := useOf(request)
	r.Key, r.Extension = u.Key, u.Extension
	s.circumstances(r, nil)
	if s.p.Policy != nil {
		if err := s.p.Policy(u); err != nil {
			return nil, err
		}
	}
	if s.shared && request[0] != numExtension && ReadOnly(u) != nil {
		return nil, errShared
	}
	switch request[0] {
	case numRequestKeys:
		ids, err := s.shown(ctx, r)
		if err != nil {
			return nil, err
		}
		r.Listed, r.Rule = len(ids), "" // many may have decided
		reply := appendKeys(nil, ids)
		if len(reply) > MaxFrame {
			return nil, errFull
		}
		return reply, nil
	case numSignRequest:
		return s.sign(ctx, request, r)
	case numAdd, numAddConstrained:
		return s.add(ctx, request, r)
	case numAddToken, numAddTokenLimited, numRemoveToken:
		switch {
		case len(s.p.Upstreams) == 0:
			return nil, errNoUpstream
		case s.attempted: // ssh-agent before 9.3p2 would load the library
			return nil, errRemote
		case request[0] == numRemoveToken && s.p.Rules != nil:
			if err := s.nothingHidden(ctx, r); err != nil {
				return nil, err
			}
		case request[0] == numAddTokenLimited:
			p := wire.NewParser(request[1:])
			p.Bytes() // the provider
			p.Bytes() // the PIN
			if err := s.mayRestrict(ctx, p, true, nil); err != nil {
				return nil, err
			}
		}
		return s.ask(ctx, s.p.Upstreams[0], request, false)
	case numRemove:
		h, err := s.holder(ctx, u.Key)
		if err == nil {
			err = s.sees(r)(u.Key, h.comments)
		}
		if err != nil {
			return nil, err
		}
		return nil, s.remove(ctx, u.Key, h)
	case numRemoveAll, numRemoveAllV1:
		if s.p.Rules != nil {
			return nil, s.removeShown(ctx, r)
		}
		return s.askAll(ctx, request)
	case numLock:
		reply, err := s.askAll(ctx, request)
		if err == nil {
			err = s.locked(ctx)
		}
		return reply, err
	case numUnlock:
		return s.askAll(ctx, request)
	case numExtension:
		switch u.Extension {
		case extSessionBind:
			p := wire.NewParser(request[1:])
			p.Bytes()
			s.attempted = true
			err := s.bind(p.Rest())
			s.failed = s.failed || err != nil
			s.circumstances(r, nil)
			if err != nil {
				return nil, errExtension{err}
			}
			return nil, nil
		case extQuery:
			return wire.AppendString(wire.AppendString([]byte{numExtensionReply}, extQuery), extSessionBind), nil
		}
	}
	return nil, errors.New("it is not known here")
}

// bind records a session. Where ssh-agent refuses since a login's was recorded
// before, the way begins anew behind the last host that forwards: that allows
// nothing which a new connection would not. Behind one that failed none is recorded
// (errGap).
func (s *shield) bind(body []byte) error {
	b, _, err := parseBinding(body)
	if err != nil {
		return err
	}
	var way []Binding
	for _, o := range s.way {
		switch same, err := sameSession(o, b); {
		case err != nil:
			return err
		case same && (o.Forwarding || !b.Forwarding): // else who logs in there forwards then
			return nil
		}
		if o.Forwarding {
			way = append(way, o)
		}
	}
	switch {
	case s.failed:
		return errGap
	case len(way) >= maxBindings:
		return fmt.Errorf("the connection was bound %d times before", maxBindings)
	}
	s.shared = s.shared || len(way) < len(s.way)
	s.way, s.holders = append(way, b), nil // others may show themselves
	return nil
}

// list merges what the agents list, which are asked all at once. One that fails is
// left out.
func (s *shield) list(ctx context.Context) (all []Identity, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, listLimit, fmt.Errorf("no answer for %v", listLimit))
	defer cancel()
	lists, errs := make([][]Identity, len(s.p.Upstreams)), make([]error, len(s.p.Upstreams))
	var asking sync.WaitGroup
	for i, d := range s.p.Upstreams {
		asking.Go(func() {
			reply, err := s.ask(ctx, d, []byte{numRequestKeys}, true)
			if err == nil && reply[0] != numKeys {
				err = errNoUpstream
			}
			if err == nil {
				lists[i], err = parseKeys(reply[1:])
			}
			errs[i] = err
		})
	}
	asking.Wait()
	err = errNoUpstream
	holders := map[string]holding{}
	for i, d := range s.p.Upstreams {
		if errs[i] != nil {
			continue
		}
		err = nil
		for _, id := range lists[i] {
			h, known := holders[string(id.Blob)]
			switch {
			case !known && len(all) == MaxIdentities:
				continue
			case !known:
				all = append(all, id)
			}
			if !slices.Contains(h.comments, id.Comment) {
				h.comments = append(h.comments, id.Comment)
			}
			if !slices.Contains(h.agents, d) {
				h.agents = append(h.agents, d)
			}
			holders[string(id.Blob)] = h
		}
	}
	if err == nil {
		s.holders = holders
	}
	return all, err
}

// holder returns who has a key.
func (s *shield) holder(ctx context.Context, key []byte) (h holding, err error) {
	h, known := s.holders[string(key)]
	if !known {
		if _, err := s.list(ctx); err != nil {
			return h, err
		}
		if h, known = s.holders[string(key)]; !known {
			return h, errUnknown
		}
	}
	return h, nil
}

// remove has all who have a key forget it.
func (s *shield) remove(ctx context.Context, key []byte, h holding) (err error) {
	for _, d := range h.agents {
		reply, aerr := s.ask(ctx, d, wire.AppendString([]byte{numRemove}, key), false)
		if aerr == nil && reply[0] != numSuccess {
			aerr = ErrRefused
		}
		if err == nil {
			err = aerr
		}
	}
	return err
}

// askAll asks all agents. All that are there have to say yes, and one has to be
// there.
func (s *shield) askAll(ctx context.Context, request []byte) ([]byte, error) {
	var refused error
	there := 0
	for _, d := range s.p.Upstreams {
		reply, err := s.ask(ctx, d, request, false)
		if isAbsent(err) {
			continue
		}
		there++
		if err == nil && reply[0] != numSuccess {
			err = ErrRefused
		}
		if err != nil {
			refused = err
		}
	}
	if there == 0 {
		return nil, errNoUpstream
	}
	return nil, refused
}

// ask asks an agent, over a connection for this request only: there are agents that
// serve one at a time. again has the question put once more when the connection is
// lost meanwhile.
func (s *shield) ask(ctx context.Context, d *Dialer, request []byte, again bool) (reply []byte, err error) {
	for {
		reply, err = s.askOnce(ctx, d, request)
		if _, lost := errors.AsType[*LostError](err); !lost || !again || ctx.Err() != nil {
			return reply, err
		}
		again = false
	}
}

func (s *shield) askOnce(ctx context.Context, d *Dialer, request []byte) ([]byte, error) {
	way := s.way
	if s.failed && len(way) == 0 {
		way = nowhere // the agent has to know that the request is not from here
	}
	conn, bound, done, err := d.openInTurn(ctx, way)
	if err != nil {
		return nil, err
	}
	defer done()
	defer conn.Close()
	if len(way) > 0 && !bound && ReadOnly(useOf(request)) != nil {
		return nil, errUnbound
	}
	num, body, err := NewClient(conn).ask(ctx, request)
	if err != nil {
		return nil, err
	}
	if num == numFailure {
		return nil, ErrRefused
	}
	return append([]byte{num}, body...), nil
}
