package userauth

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/algo"
	"github.com/adit-ssh/adit/internal/wire"
	"github.com/adit-ssh/adit/trace"
)

// Verdict is a decision about a login.
type Verdict uint8

// Verdicts.
const (
	Refuse  Verdict = iota
	Accept          // the user is in
	Partial         // right, but another method is needed as well
)

// ServerConfig says whom to let in. A method whose callback is nil is not
// offered. Callbacks run one at a time, while nothing is read; ctx is Server's.
type ServerConfig struct {
	// PublicKey decides on a key. It is called for every request with proved
	// false, and again with proved true once the client has proved that it holds
	// the key: that call counts. Certificates are passed as they came, parsed
	// and not checked at all (see package authkeys).
	PublicKey func(ctx context.Context, user string, key gossh.PublicKey, proved bool) Verdict
	// Password decides on a password, which is never empty. It is cleared
	// afterwards.
	Password func(ctx context.Context, user string, password []byte) Verdict
	// Answers runs keyboard-interactive: ask puts questions to the client and
	// returns one answer each, cleared at the next call and at the end. When ask
	// fails, the login does, whatever Answers says. An error of Answers ends the
	// connection.
	Answers func(ctx context.Context, user string, ask func(name, instruction string, prompts []wire.Prompt) ([][]byte, error)) (Verdict, error)
	// Next says which methods may come now, done being those that were right,
	// in order. Nil means every one that is configured and not done. With a
	// method that was done already, another key is asked for.
	Next func(user string, done []string) []string

	// Algorithms limits the public key algorithms, those of certificates by
	// their own names. Nil means all that are supported and safe.
	Algorithms []string
	// MaxTries is how many failures end the connection. 0 means
	// DefaultMaxTries.
	MaxTries int
	// FailureDelay is the least time between a request and its FAILURE. 0 means
	// none. "none" is answered at once.
	FailureDelay time.Duration
	// Banner is sent before the first answer, when not empty.
	Banner string
	// Tracer may be nil.
	Tracer trace.Tracer
}

// Login is who was let in, and how.
type Login struct {
	User      string
	Method    string          // the last one, as requested
	Key       gossh.PublicKey // with a public key method
	Hostbound bool            // its signature covers our host key
	Steps     []string        // methods before it, of several that were needed
}

// server is one authentication.
type server struct {
	pc  PacketConn
	cfg ServerConfig

	user    string
	known   bool     // user is set
	done    []string // methods that were right, of several that are needed
	used    []string // their keys, in wire form
	pending []byte   // a request that came in place of answers

	attempt trace.AuthAttempt // the request that is being answered
	failed  int               // failures that count
	seen    int               // requests
	unknown int               // messages without meaning
}

// Server authenticates the client. It returns when the client is let in: what it
// sent behind its last request is left for the next layer, which RFC 4252,
// section 5.3, wants to ignore further requests. ctx bounds the call: when it
// ends, the connection is aborted and the error is its cause.
func Server(ctx context.Context, pc PacketConn, cfg ServerConfig) (*Login, error) {
	if cfg.MaxTries == 0 {
		cfg.MaxTries = DefaultMaxTries
	}
	if cfg.Algorithms == nil {
		cfg.Algorithms = algo.DefaultHostKeys()
	}
	stop := watch(ctx, pc, wire.DisconnectByApplication)
	s := &server{pc: pc, cfg: cfg}
	login, err := s.run(ctx)
	if cause := stop(); cause != nil {
		return nil, cause
	}
	return login, err
}

// outcome is the decision on one request.
type outcome struct {
	verdict  Verdict
	answered bool // it got its answer already, which was not FAILURE
	key      gossh.PublicKey
	bound    bool   // the signature covers the host key
	why      string // of a refusal, for the tracer
}

func refuse(format string, args ...any) outcome { return outcome{why: fmt.Sprintf(format, args...)} }

func (s *server) run(ctx context.Context) (*Login, error) {
	if err := s.service(ctx); err != nil {
		return nil, err
	}
	for {
		m, err := s.next()
		if err != nil {
			return nil, err
		}
		came := time.Now()
		o, err := s.judge(ctx, m)
		switch {
		case err != nil:
			return nil, err
		case o.answered:
			continue
		case o.verdict == Refuse:
			err = s.refused(ctx, m.Method, came, o.why)
		case o.verdict == Partial:
			err = s.partial(ctx, m.Method, o)
		default:
			s.report("success", nil, "")
			login := &Login{User: s.user, Method: m.Method, Key: o.key, Hostbound: o.bound, Steps: s.done}
			return login, s.pc.WritePacket((&wire.UserauthSuccess{}).Append(nil), ctx.Done())
		}
		if err != nil {
			return nil, err
		}
	}
}

// service waits for the request of ssh-userauth.
func (s *server) service(ctx context.Context) error {
	p, err := s.read(wire.NumServiceRequest)
	if err != nil {
		return err
	}
	var m wire.ServiceRequest
	if err := wire.Parse(p, &m); err != nil {
		return s.breach("%v", err)
	}
	if m.Service != wire.ServiceUserauth {
		return s.pc.Abort(wire.DisconnectServiceNotAvailable, fmt.Sprintf("service %.64q is not available", m.Service))
	}
	if err := s.pc.WritePacket((&wire.ServiceAccept{Service: m.Service}).Append(nil), ctx.Done()); err != nil {
		return err
	}
	if s.cfg.Banner == "" {
		return nil
	}
	return s.pc.WritePacket((&wire.UserauthBanner{Message: s.cfg.Banner}).Append(nil), ctx.Done())
}

// read returns the next message, which must be of one of the numbers.
// RFC 4252, section 6: numbers from 80 on are errors now. CHANNEL_OPEN is not
// fatal, as with sshd: our client sends it behind a signature that it expects to
// be accepted, and the signature was not.
func (s *server) read(want ...byte) ([]byte, error) {
	for {
		p, err := s.pc.ReadPacket()
		if err != nil {
			return nil, err
		}
		switch num := p[0]; {
		case slices.Contains(want, num):
			return p, nil
		case num == wire.NumChannelOpen && want[0] == wire.NumUserauthRequest:
		case num == wire.NumServiceRequest, num == wire.NumServiceAccept, num >= 50 && num < 60,
			num == wire.NumUserauthInfoRequest, num == wire.NumUserauthInfoResponse, num >= 80 && num < 128:
			return nil, s.breach("%s during authentication, out of turn", wire.Name(wire.PhaseKbdint, num))
		}
		if s.unknown++; s.unknown > maxUnrelated {
			return nil, s.breach("more than %d unknown messages during authentication", maxUnrelated)
		}
		if err := s.pc.Unimplemented(); err != nil {
			return nil, err
		}
	}
}

// next returns the next request. Its body stays valid until the next read.
func (s *server) next() (*wire.UserauthRequest, error) {
	p := s.pending
	s.pending = nil
	if p == nil {
		var err error
		if p, err = s.read(wire.NumUserauthRequest); err != nil {
			return nil, err
		}
	}
	m := new(wire.UserauthRequest)
	if err := wire.Parse(p, m); err != nil {
		return nil, s.breach("%v", err)
	}
	switch s.seen++; {
	case s.seen > maxRequests:
		return nil, s.breach("more than %d authentication requests", maxRequests)
	case m.Service != wire.ServiceConnection:
		return nil, s.pc.Abort(wire.DisconnectServiceNotAvailable, fmt.Sprintf("service %.64q is not available", m.Service))
	case s.known && m.User != s.user:
		// RFC 4252, section 5, would have us start over; OpenSSH ends it too.
		return nil, s.breach("the user name changed during authentication")
	case !validUser(m.User):
		return nil, s.pc.Abort(wire.DisconnectIllegalUserName, "illegal user name")
	}
	s.user, s.known = m.User, true
	return m, nil
}

// validUser reports whether a name can be anybody's, and is safe to log.
func validUser(name string) bool {
	return len(name) <= maxUser && utf8.ValidString(name) && !strings.ContainsFunc(name, unicode.IsControl)
}

// judge decides on one request.
func (s *server) judge(ctx context.Context, m *wire.UserauthRequest) (outcome, error) {
	s.attempt = trace.AuthAttempt{User: s.user, Method: oneLine(m.Method)}
	base := baseMethod(m.Method)
	switch {
	case m.Method == wire.MethodNone:
		return outcome{}, nil
	case !slices.Contains(s.allowed(), base):
		return refuse("method is not offered"), nil
	case base == wire.MethodPublickey:
		return s.publickey(ctx, m)
	case base == wire.MethodPassword:
		return s.password(ctx, m)
	}
	return s.keyboardInteractive(ctx, m)
}

// allowed returns the methods that may come now.
func (s *server) allowed() []string {
	var configured []string
	for _, m := range []struct {
		name string
		have bool
	}{
		{wire.MethodPublickey, s.cfg.PublicKey != nil},
		{wire.MethodPassword, s.cfg.Password != nil},
		{wire.MethodKeyboardInteractive, s.cfg.Answers != nil},
	} {
		if m.have {
			configured = append(configured, m.name)
		}
	}
	if s.cfg.Next == nil {
		return slices.DeleteFunc(configured, func(m string) bool { return slices.Contains(s.done, m) })
	}
	return slices.DeleteFunc(slices.Clone(s.cfg.Next(s.user, slices.Clone(s.done))), func(m string) bool { return !slices.Contains(configured, m) })
}

// partial counts a step towards a login of several.
func (s *server) partial(ctx context.Context, method string, o outcome) error {
	s.done = append(s.done, baseMethod(method))
	if o.key != nil {
		s.used = append(s.used, keyID(o.key))
	}
	can := s.allowed()
	s.report("partial", can, "")
	return s.pc.WritePacket((&wire.UserauthFailure{Methods: can, Partial: true}).Append(nil), ctx.Done())
}

// refused answers with FAILURE, or ends the connection after too many. The first
// "none" does not count: it is how a client asks for the methods.
func (s *server) refused(ctx context.Context, method string, came time.Time, why string) error {
	if method != wire.MethodNone || s.seen > 1 {
		s.failed++
	}
	can := s.allowed()
	s.report("failure", can, why)
	if method != wire.MethodNone {
		if err := pause(ctx, s.cfg.FailureDelay-time.Since(came)); err != nil {
			return err
		}
	}
	if s.failed >= s.cfg.MaxTries {
		return s.pc.Abort(wire.DisconnectNoMoreAuthMethodsAvailable, "too many authentication failures")
	}
	return s.pc.WritePacket((&wire.UserauthFailure{Methods: can}).Append(nil), ctx.Done())
}

func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s *server) report(result string, can []string, why string) {
	s.attempt.Result, s.attempt.CanContinue, s.attempt.Err = result, can, why
	trace.Emit(s.cfg.Tracer, s.attempt)
}

// breach ends the connection because the client broke a rule.
func (s *server) breach(format string, args ...any) error {
	return s.pc.Abort(wire.DisconnectProtocolError, fmt.Sprintf(format, args...))
}

// ServerExtensions returns what a server announces in EXT_INFO.
func ServerExtensions() []wire.Extension {
	return []wire.Extension{
		{Name: wire.ExtServerSigAlgs, Value: []byte(strings.Join(algo.SignatureAlgorithms(), ","))},
		{Name: wire.ExtHostbound, Value: []byte("0")},
		{Name: wire.ExtPing, Value: []byte("0")},
	}
}
