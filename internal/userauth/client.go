package userauth

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/algo"
	"github.com/adit-ssh/adit/internal/wire"
	"github.com/adit-ssh/adit/trace"
)

// Key is a key to log in with.
type Key struct {
	gossh.Signer
	// Comment says where the key comes from, for messages.
	Comment string
	// Probe asks the server first whether it would take the key: for signers
	// that bother a person.
	Probe bool
}

// ClientConfig says how to log in.
type ClientConfig struct {
	User string
	// Methods in the order in which they are tried. Nil means publickey,
	// keyboard-interactive, password.
	Methods []string
	// Keys are tried in order. Keys is called once, when the server wants a
	// public key; it may be nil.
	Keys func(ctx context.Context) ([]Key, error)
	// Password asks for the password; nil leaves the method out. It is called
	// again, up to PasswordTries times, when the server refuses.
	Password func(ctx context.Context) (string, error)
	// Answer answers questions of keyboard-interactive; nil leaves it out.
	Answer func(ctx context.Context, name, instruction string, prompts []wire.Prompt) ([]string, error)
	// PasswordTries is how often Password and Answer are used. 0 means 3.
	PasswordTries int
	// Banner receives the server's texts as they come: clean them before a
	// terminal sees them.
	Banner func(text string)
	// Tracer may be nil.
	Tracer trace.Tracer
}

// AuthError says that the server did not let us in.
type AuthError struct {
	User      string
	Tried     []string // methods and keys, in order
	Remaining []string // what the server would still take
	Notes     []string // why keys could not be used
}

func (e *AuthError) Error() string {
	s := fmt.Sprintf("permission denied for user %q: the server takes %s", e.User, listOr(e.Remaining, "nothing more"))
	if len(e.Tried) > 0 {
		s += "; tried " + strings.Join(e.Tried, ", ")
	} else {
		s += "; there was nothing to try"
	}
	if len(e.Notes) > 0 {
		s += " (" + strings.Join(e.Notes, "; ") + ")"
	}
	return s
}

func listOr(list []string, none string) string {
	if len(list) == 0 {
		return none
	}
	return strings.Join(list, ",")
}

// Result says how the user was let in.
type Result struct {
	Method      string
	Fingerprint string // of the key, SHA256:…; empty with other methods
}

type client struct {
	ctx       context.Context
	pc        PacketConn
	cfg       ClientConfig
	err       AuthError
	methods   []string // what the server takes now
	attempts  int
	banners   int
	bannerLen int
	keys      []Key
	keysRead  bool
	passwords int
	answers   int
	used      map[string]bool // keys that were refused, by marshalled key
}

// Client authenticates. A refusal is an *AuthError. The caller bounds it by
// closing the transport when its context ends.
func Client(ctx context.Context, pc PacketConn, cfg ClientConfig) (*Result, error) {
	c := &client{ctx: ctx, pc: pc, cfg: cfg, used: map[string]bool{}}
	c.err.User = cfg.User
	if c.cfg.Methods == nil {
		c.cfg.Methods = []string{wire.MethodPublickey, wire.MethodKeyboardInteractive, wire.MethodPassword}
	}
	if c.cfg.PasswordTries == 0 {
		c.cfg.PasswordTries = 3
	}
	return c.run()
}

// run asks for the service and with "none" for the methods, in one flight, and
// then works through the methods that the server takes.
//
// A signed request could leave in that flight, too, and save a round trip; but
// the server's EXT_INFO, which says whether it binds logins to its host key and
// which RSA signatures it takes, is read only now.
func (c *client) run() (*Result, error) {
	c.pc.Cork()
	err := c.pc.WritePacket((&wire.ServiceRequest{Service: wire.ServiceUserauth}).Append(nil), nil)
	if err == nil {
		err = c.request(wire.MethodNone, nil)
	}
	if err == nil {
		err = c.pc.Uncork()
	}
	if err == nil {
		err = c.serviceAccepted()
	}
	if err != nil {
		return nil, err
	}
	ok, err := c.result(wire.MethodNone, "", false)
	if ok || err != nil {
		return &Result{Method: wire.MethodNone}, err
	}
	for c.attempts < maxAttempts {
		method := c.next()
		if method == "" {
			c.err.Remaining = c.methods
			return nil, &c.err
		}
		var res *Result
		switch method {
		case wire.MethodPublickey:
			res, err = c.publickey()
		case wire.MethodPassword:
			res, err = c.password()
		case wire.MethodKeyboardInteractive:
			res, err = c.keyboardInteractive()
		}
		if res != nil || err != nil {
			return res, err
		}
	}
	return nil, fmt.Errorf("gave up after %d attempts to log in", c.attempts)
}

// next returns the method to try now, "" when there is none left.
func (c *client) next() string {
	for _, m := range c.cfg.Methods {
		if !slices.Contains(c.methods, m) {
			continue
		}
		switch {
		case m == wire.MethodPublickey && c.nextKey() != nil,
			m == wire.MethodPassword && c.cfg.Password != nil && c.passwords < c.cfg.PasswordTries,
			m == wire.MethodKeyboardInteractive && c.cfg.Answer != nil && c.answers < c.cfg.PasswordTries:
			return m
		}
	}
	return ""
}

// nextKey returns the first key that was not refused yet and that the server
// may take.
func (c *client) nextKey() *Key {
	if !c.keysRead && c.cfg.Keys != nil {
		c.keysRead = true
		keys, err := c.cfg.Keys(c.ctx)
		if err != nil {
			c.err.Notes = append(c.err.Notes, err.Error())
		}
		c.keys = keys
	}
	for i := range c.keys {
		k := &c.keys[i]
		id := string(k.PublicKey().Marshal())
		if c.used[id] {
			continue
		}
		if c.algorithm(k) == "" {
			c.used[id] = true
			c.err.Notes = append(c.err.Notes, fmt.Sprintf("the server takes no signature that %s can make", k.Comment))
			continue
		}
		return k
	}
	return nil
}

// algorithm chooses the signature algorithm for a key: the first that the server
// listed (RFC 8308, section 3.1), or, without a list, the best we have.
func (c *client) algorithm(k *Key) string {
	list, listed := c.pc.PeerExtension(wire.ExtServerSigAlgs)
	var names []string
	if listed {
		names = strings.Split(string(list), ",")
	}
	for _, a := range algo.HostKeyAlgorithms(k.PublicKey()) {
		format := algo.UnderlyingAlgorithm(a)
		if !listed || slices.Contains(names, a) || slices.Contains(names, format) {
			return a
		}
	}
	return ""
}

func (c *client) publickey() (*Result, error) {
	k := c.nextKey()
	c.used[string(k.PublicKey().Marshal())] = true
	fp := gossh.FingerprintSHA256(k.PublicKey())
	label := fmt.Sprintf("%s %s %s", k.Comment, k.PublicKey().Type(), fp)
	c.err.Tried = append(c.err.Tried, "publickey "+label)
	body := &wire.PublickeyBody{Algorithm: c.algorithm(k), Key: k.PublicKey().Marshal()}
	method := wire.MethodPublickey
	if v, ok := c.pc.PeerExtension(wire.ExtHostbound); ok && string(v) == "0" {
		method, body.Hostbound, body.HostKey = wire.MethodHostbound, true, c.pc.HostKey()
	}
	if k.Probe {
		if err := c.request(method, body.Append(nil)); err != nil {
			return nil, err
		}
		ok, err := c.probed(body)
		if !ok || err != nil {
			return nil, err
		}
	}
	body.HasSignature = true
	data := signedData(c.pc.SessionID(), c.cfg.User, wire.ServiceConnection, method, body)
	sig, err := algo.SignHost(rand.Reader, k.Signer, body.Algorithm, data)
	if err != nil {
		c.err.Notes = append(c.err.Notes, fmt.Sprintf("%s does not sign: %v", k.Comment, err))
		return nil, nil
	}
	body.Signature = sig
	if err := c.request(method, body.Append(nil)); err != nil {
		return nil, err
	}
	ok, err := c.result(method, label, false)
	if !ok || err != nil {
		return nil, err
	}
	return &Result{Method: method, Fingerprint: fp}, nil
}

// probed reads the answer to a request without signature.
func (c *client) probed(body *wire.PublickeyBody) (bool, error) {
	p, err := c.read()
	if err != nil {
		return false, err
	}
	if p[0] == wire.NumUserauthFailure {
		_, err := c.failed(p, wire.MethodPublickey, "", true)
		return false, err
	}
	var m wire.UserauthPKOK
	if err := wire.Parse(p, &m); err != nil {
		return false, c.broken("%v", err)
	}
	if string(m.Key) != string(body.Key) {
		return false, c.broken("USERAUTH_PK_OK is for a key that was not offered")
	}
	return true, nil
}

func (c *client) password() (*Result, error) {
	c.passwords++
	c.err.Tried = append(c.err.Tried, wire.MethodPassword)
	pw, err := c.cfg.Password(c.ctx)
	if err != nil {
		return nil, fmt.Errorf("password: %w", err)
	}
	if err := c.request(wire.MethodPassword, (&wire.PasswordBody{Password: []byte(pw)}).Append(nil)); err != nil {
		return nil, err
	}
	p, err := c.read()
	if err != nil {
		return nil, err
	}
	if p[0] == wire.NumUserauthPasswdChange {
		return nil, errors.New("the server wants the password to be changed, which has to be done with another client")
	}
	ok, err := c.answer(p, wire.MethodPassword, "", false)
	if !ok || err != nil {
		return nil, err
	}
	return &Result{Method: wire.MethodPassword}, nil
}

func (c *client) keyboardInteractive() (*Result, error) {
	c.answers++
	c.err.Tried = append(c.err.Tried, wire.MethodKeyboardInteractive)
	if err := c.request(wire.MethodKeyboardInteractive, (&wire.KbdintBody{}).Append(nil)); err != nil {
		return nil, err
	}
	for range maxRounds {
		p, err := c.read()
		if err != nil {
			return nil, err
		}
		if p[0] != wire.NumUserauthInfoRequest {
			ok, err := c.answer(p, wire.MethodKeyboardInteractive, "", false)
			if !ok || err != nil {
				return nil, err
			}
			return &Result{Method: wire.MethodKeyboardInteractive}, nil
		}
		var m wire.UserauthInfoRequest
		if err := wire.Parse(p, &m); err != nil {
			return nil, c.broken("%v", err)
		}
		var answers []string
		if len(m.Prompts) > 0 || m.Name != "" || m.Instruction != "" {
			if answers, err = c.cfg.Answer(c.ctx, m.Name, m.Instruction, m.Prompts); err != nil {
				return nil, fmt.Errorf("keyboard-interactive: %w", err)
			}
		}
		if len(answers) != len(m.Prompts) {
			return nil, fmt.Errorf("keyboard-interactive: %d answers for %d questions", len(answers), len(m.Prompts))
		}
		if err := c.pc.WritePacket((&wire.UserauthInfoResponse{Answers: answers}).Append(nil), nil); err != nil {
			return nil, err
		}
	}
	return nil, c.broken("keyboard-interactive has more than %d rounds", maxRounds)
}

func (c *client) request(method string, body []byte) error {
	c.attempts++
	m := wire.UserauthRequest{User: c.cfg.User, Service: wire.ServiceConnection, Method: method, Body: body}
	b := m.Append(nil)
	err := c.pc.WritePacket(b, nil)
	clear(b)
	clear(body)
	return err
}

func (c *client) serviceAccepted() error {
	p, err := c.read()
	if err != nil {
		return err
	}
	var m wire.ServiceAccept
	if err := wire.Parse(p, &m); err != nil {
		return c.broken("%v", err)
	}
	if m.Service != "" && m.Service != wire.ServiceUserauth {
		return c.broken("SERVICE_ACCEPT for %q", m.Service)
	}
	return nil
}

// read returns the next message that is not a banner.
func (c *client) read() ([]byte, error) {
	for {
		p, err := c.pc.ReadPacket()
		if err != nil {
			return nil, err
		}
		switch num := p[0]; {
		case num == wire.NumUserauthBanner:
			if err := c.banner(p); err != nil {
				return nil, err
			}
		case num == wire.NumServiceAccept, num >= wire.NumUserauthRequest && num < wire.NumGlobalRequest:
			return p, nil
		case num >= wire.NumGlobalRequest && num <= wire.NumChannelFailure:
			return nil, c.broken("%s before authentication has ended", wire.Name(wire.PhaseAny, num))
		default:
			if err := c.pc.Unimplemented(); err != nil {
				return nil, err
			}
		}
	}
}

func (c *client) banner(p []byte) error {
	var m wire.UserauthBanner
	if err := wire.Parse(p, &m); err != nil {
		return c.broken("%v", err)
	}
	c.banners++
	c.bannerLen += len(m.Message)
	if c.banners > maxBanners || c.bannerLen > maxBanner {
		return c.broken("more than %d banners or %d bytes of them", maxBanners, maxBanner)
	}
	if c.cfg.Banner != nil {
		c.cfg.Banner(m.Message)
	}
	return nil
}

// result reads the verdict on a request.
func (c *client) result(method, key string, probe bool) (bool, error) {
	p, err := c.read()
	if err != nil {
		return false, err
	}
	return c.answer(p, method, key, probe)
}

func (c *client) answer(p []byte, method, key string, probe bool) (bool, error) {
	switch p[0] {
	case wire.NumUserauthSuccess:
		c.trace(method, key, probe, "success")
		return true, nil
	case wire.NumUserauthFailure:
		return c.failed(p, method, key, probe)
	}
	return false, c.broken("%s in answer to a %s request", wire.Name(wire.PhaseAny, p[0]), method)
}

func (c *client) failed(p []byte, method, key string, probe bool) (bool, error) {
	var m wire.UserauthFailure
	if err := wire.Parse(p, &m); err != nil {
		return false, c.broken("%v", err)
	}
	c.methods = m.Methods
	what := "failure"
	if m.Partial {
		what = "partial"
		if n := len(c.err.Tried); n > 0 {
			c.err.Tried[n-1] += " (accepted as one of several)"
		}
	}
	c.trace(method, key, probe, what)
	return false, nil
}

func (c *client) trace(method, key string, probe bool, result string) {
	trace.Emit(c.cfg.Tracer, trace.AuthAttempt{User: c.cfg.User, Method: method, Key: key, Probe: probe, Result: result, CanContinue: c.methods})
}

func (c *client) broken(format string, args ...any) error {
	return c.pc.Abort(wire.DisconnectProtocolError, fmt.Sprintf(format, args...))
}
