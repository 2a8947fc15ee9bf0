package userauth

import (
	"context"
	"fmt"
	"slices"
	"strings"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/algo"
	"github.com/adit-ssh/adit/internal/wire"
	"github.com/adit-ssh/adit/trace"
)

// Verdict is a server's answer to a login that proved itself.
type Verdict uint8

// Verdicts.
const (
	Refuse  Verdict = iota
	Accept          // the user is in
	Partial         // right, but another method is needed as well
)

// ServerConfig says whom to let in. Callbacks that are nil leave their method
// out.
type ServerConfig struct {
	// PublicKey decides on a key. It is called for probes (proved is false) and
	// after the signature was verified (proved is true). Certificates are
	// passed as they are: checking them is the callback's part.
	PublicKey func(ctx context.Context, user string, key gossh.PublicKey, proved bool) Verdict
	// Password decides on a password.
	Password func(ctx context.Context, user, password string) Verdict
	// Answers runs keyboard-interactive: ask puts questions to the user.
	Answers func(ctx context.Context, user string, ask func(name, instruction string, prompts []wire.Prompt) ([]string, error)) (Verdict, error)
	// MaxTries is how many refused requests end the connection. 0 means
	// DefaultMaxTries.
	MaxTries int
	// Banner is sent before the first answer, when not empty.
	Banner string
	// Tracer may be nil.
	Tracer trace.Tracer
}

// Login is who was let in, and how.
type Login struct {
	User   string
	Method string
	Key    gossh.PublicKey // with a public key method
}

type server struct {
	ctx    context.Context
	pc     PacketConn
	cfg    ServerConfig
	user   string
	asked  bool // user is set
	tries  int
	probes int
	done   []string // methods that were right, of several
}

// Server authenticates the client. What the client sent behind its last request
// is left for the next layer.
func Server(ctx context.Context, pc PacketConn, cfg ServerConfig) (*Login, error) {
	if cfg.MaxTries == 0 {
		cfg.MaxTries = DefaultMaxTries
	}
	s := &server{ctx: ctx, pc: pc, cfg: cfg}
	if err := s.service(); err != nil {
		return nil, err
	}
	for {
		m, err := s.next()
		if err != nil {
			return nil, err
		}
		login, verdict, err := s.try(m)
		if err != nil {
			return nil, err
		}
		switch verdict {
		case Accept:
			s.trace(m.Method, login.Key, "success")
			return login, s.pc.WritePacket((&wire.UserauthSuccess{}).Append(nil), nil)
		case Partial:
			s.done = append(s.done, baseMethod(m.Method))
			err = s.fail(m.Method, login.Key, true)
		case answered:
		default:
			var key gossh.PublicKey
			if login != nil {
				key = login.Key
			}
			if m.Method != wire.MethodNone {
				s.tries++
			}
			if s.tries >= s.cfg.MaxTries {
				return nil, s.pc.Abort(wire.DisconnectNoMoreAuthMethodsAvailable, "too many authentication failures")
			}
			err = s.fail(m.Method, key, false)
		}
		if err != nil {
			return nil, err
		}
	}
}

// answered is a request that got its answer already.
const answered Verdict = 255

func baseMethod(m string) string {
	if m == wire.MethodHostbound {
		return wire.MethodPublickey
	}
	return m
}

// service waits for the request of ssh-userauth.
func (s *server) service() error {
	p, err := s.read()
	if err != nil {
		return err
	}
	var m wire.ServiceRequest
	if err := wire.Parse(p, &m); err != nil {
		return s.broken("%v", err)
	}
	if m.Service != wire.ServiceUserauth {
		return s.pc.Abort(wire.DisconnectServiceNotAvailable, fmt.Sprintf("service %.64q is not available", m.Service))
	}
	if err := s.pc.WritePacket((&wire.ServiceAccept{Service: m.Service}).Append(nil), nil); err != nil {
		return err
	}
	if s.cfg.Banner != "" {
		return s.pc.WritePacket((&wire.UserauthBanner{Message: s.cfg.Banner}).Append(nil), nil)
	}
	return nil
}

// read returns the next message of this phase.
func (s *server) read() ([]byte, error) {
	for range maxProbes {
		p, err := s.pc.ReadPacket()
		if err != nil {
			return nil, err
		}
		switch num := p[0]; {
		case num == wire.NumServiceRequest, num == wire.NumUserauthRequest, num == wire.NumUserauthInfoResponse:
			return p, nil
		case num >= wire.NumGlobalRequest && num <= wire.NumChannelFailure:
			return nil, s.broken("%s before authentication", wire.Name(wire.PhaseAny, num))
		}
		if err := s.pc.Unimplemented(); err != nil {
			return nil, err
		}
	}
	return nil, s.broken("too many unknown messages before authentication")
}

// next returns the next request. User and service may not change (OpenSSH
// refuses that as well).
func (s *server) next() (*wire.UserauthRequest, error) {
	p, err := s.read()
	if err != nil {
		return nil, err
	}
	m := new(wire.UserauthRequest)
	if err := wire.Parse(p, m); err != nil {
		return nil, s.broken("%v", err)
	}
	m.Body = slices.Clone(m.Body)
	if m.Service != wire.ServiceConnection {
		return nil, s.pc.Abort(wire.DisconnectServiceNotAvailable, fmt.Sprintf("service %.64q is not available", m.Service))
	}
	if s.asked && s.user != m.User {
		return nil, s.broken("the user name changed during authentication")
	}
	s.user, s.asked = m.User, true
	return m, nil
}

// try judges one request.
func (s *server) try(m *wire.UserauthRequest) (*Login, Verdict, error) {
	if slices.Contains(s.done, baseMethod(m.Method)) {
		return nil, Refuse, nil
	}
	login := &Login{User: s.user, Method: m.Method}
	switch {
	case baseMethod(m.Method) == wire.MethodPublickey && s.cfg.PublicKey != nil:
		return s.publickey(m, login)
	case m.Method == wire.MethodPassword && s.cfg.Password != nil:
		body, err := wire.ParsePasswordBody(m.Body)
		if err != nil {
			return nil, Refuse, s.broken("password request: %v", err)
		}
		defer clear(m.Body)
		if body.Change || len(body.Password) == 0 {
			return login, Refuse, nil
		}
		return login, s.cfg.Password(s.ctx, s.user, string(body.Password)), nil
	case m.Method == wire.MethodKeyboardInteractive && s.cfg.Answers != nil:
		if _, err := wire.ParseKbdintBody(m.Body); err != nil {
			return nil, Refuse, s.broken("keyboard-interactive request: %v", err)
		}
		v, err := s.cfg.Answers(s.ctx, s.user, s.ask)
		return login, v, err
	}
	return login, Refuse, nil
}

// publickey judges a probe or a signed request (RFC 4252, section 7).
func (s *server) publickey(m *wire.UserauthRequest, login *Login) (*Login, Verdict, error) {
	hostbound := m.Method == wire.MethodHostbound
	body, err := wire.ParsePublickeyBody(m.Body, hostbound)
	if err != nil {
		return nil, Refuse, s.broken("publickey request: %v", err)
	}
	if hostbound && string(body.HostKey) != string(s.pc.HostKey()) {
		return nil, Refuse, s.broken("the login is bound to another host key than ours")
	}
	key, err := gossh.ParsePublicKey(body.Key)
	if err != nil || !slices.Contains(algo.HostKeyAlgorithms(key), body.Algorithm) {
		return login, Refuse, nil
	}
	login.Key = key
	if s.cfg.PublicKey(s.ctx, s.user, key, false) == Refuse {
		return login, Refuse, nil
	}
	if !body.HasSignature {
		if s.probes++; s.probes > maxProbes {
			return nil, Refuse, s.broken("too many keys were asked about")
		}
		s.trace(m.Method, key, "key accepted")
		return login, answered, s.pc.WritePacket((&wire.UserauthPKOK{Algorithm: body.Algorithm, Key: body.Key}).Append(nil), nil)
	}
	data := signedData(s.pc.SessionID(), m.User, m.Service, m.Method, body)
	if _, err := algo.VerifyHost(body.Algorithm, body.Key, body.Signature, data); err != nil {
		return login, Refuse, nil
	}
	return login, s.cfg.PublicKey(s.ctx, s.user, key, true), nil
}

// ask puts questions and reads the answers.
func (s *server) ask(name, instruction string, prompts []wire.Prompt) ([]string, error) {
	q := wire.UserauthInfoRequest{Name: name, Instruction: instruction, Prompts: prompts}
	if err := s.pc.WritePacket(q.Append(nil), nil); err != nil {
		return nil, err
	}
	p, err := s.read()
	if err != nil {
		return nil, err
	}
	var m wire.UserauthInfoResponse
	if err := wire.Parse(p, &m); err != nil {
		return nil, s.broken("%v", err)
	}
	if len(m.Answers) != len(prompts) {
		return nil, s.broken("%d answers to %d questions", len(m.Answers), len(prompts))
	}
	return m.Answers, nil
}

// fail answers with what can go on.
func (s *server) fail(method string, key gossh.PublicKey, partial bool) error {
	var can []string
	for _, m := range []struct {
		name string
		have bool
	}{
		{wire.MethodPublickey, s.cfg.PublicKey != nil},
		{wire.MethodPassword, s.cfg.Password != nil},
		{wire.MethodKeyboardInteractive, s.cfg.Answers != nil},
	} {
		if m.have && !slices.Contains(s.done, m.name) {
			can = append(can, m.name)
		}
	}
	result := "failure"
	if partial {
		result = "partial"
	}
	s.trace(method, key, result)
	return s.pc.WritePacket((&wire.UserauthFailure{Methods: can, Partial: partial}).Append(nil), nil)
}

func (s *server) trace(method string, key gossh.PublicKey, result string) {
	if !trace.Wants(s.cfg.Tracer, trace.LevelConn) {
		return
	}
	e := trace.AuthAttempt{User: s.user, Method: method, Result: result}
	if key != nil {
		e.Key = key.Type() + " " + gossh.FingerprintSHA256(key)
	}
	trace.Emit(s.cfg.Tracer, e)
}

func (s *server) broken(format string, args ...any) error {
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
