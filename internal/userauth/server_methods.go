package userauth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/algo"
	"github.com/adit-ssh/adit/internal/wire"
)

func keyID(k gossh.PublicKey) string { return string(k.Marshal()) }

// publickey judges a probe or a signed request (RFC 4252, section 7; OpenSSH
// PROTOCOL, section 3.1). A key that nobody would accept costs no signature
// check.
func (s *server) publickey(ctx context.Context, m *wire.UserauthRequest) (outcome, error) {
	hostbound := m.Method == wire.MethodHostbound
	body, err := wire.ParsePublickeyBody(m.Body, hostbound)
	if err != nil {
		return outcome{}, s.breach("%s request: %v", m.Method, err)
	}
	s.attempt.Probe = !body.HasSignature
	key, why := s.parseKey(body)
	if key == nil {
		return refuse("%s", why), nil
	}
	s.attempt.Key = keyLabel(key)
	switch {
	case hostbound && !bytes.Equal(body.HostKey, s.pc.HostKey()):
		return refuse("bound to a host key that is not ours"), nil
	case slices.Contains(s.used, keyID(key)):
		return refuse("the key was used for another step"), nil
	case s.cfg.PublicKey(ctx, s.user, key, false) == Refuse:
		return refuse("the key is not accepted"), nil
	}
	if !body.HasSignature {
		s.report("key accepted", nil, "")
		ok := wire.UserauthPKOK{Algorithm: body.Algorithm, Key: body.Key}
		return outcome{answered: true}, s.pc.WritePacket(ok.Append(nil), ctx.Done())
	}
	data := signedData(s.pc.SessionID(), m.User, m.Method, body)
	if _, err := algo.VerifyHost(body.Algorithm, body.Key, body.Signature, data); err != nil {
		return refuse("signature: %v", err), nil
	}
	o := outcome{verdict: s.cfg.PublicKey(ctx, s.user, key, true), key: key, bound: hostbound}
	if o.verdict == Refuse {
		o.why = "the key is not accepted any more"
	}
	return o, nil
}

// parseKey parses the key of a request, or says why it can't be used. Key and
// algorithm must fit, and the blob must be the key's one encoding, so that
// nobody who compares keys is fooled.
func (s *server) parseKey(body *wire.PublickeyBody) (gossh.PublicKey, string) {
	if !slices.Contains(s.cfg.Algorithms, body.Algorithm) {
		return nil, fmt.Sprintf("algorithm %.64q is not accepted", body.Algorithm)
	}
	key, err := gossh.ParsePublicKey(body.Key)
	if err != nil {
		return nil, "the key can't be parsed"
	}
	if !slices.Contains(algo.HostKeyAlgorithms(key), body.Algorithm) {
		return nil, fmt.Sprintf("%s key is too small, or does not fit algorithm %s", key.Type(), body.Algorithm)
	}
	if !bytes.Equal(key.Marshal(), body.Key) {
		return nil, "the key is not in its one encoding"
	}
	return key, ""
}

// password judges a password (RFC 4252, section 8). Changing it is not offered.
func (s *server) password(ctx context.Context, m *wire.UserauthRequest) (outcome, error) {
	defer clear(m.Body)
	body, err := wire.ParsePasswordBody(m.Body)
	switch {
	case err != nil:
		return outcome{}, s.breach("password request: %v", err)
	case body.Change:
		return refuse("passwords can't be changed here"), nil
	case len(body.Password) == 0:
		return refuse("the password is empty"), nil
	}
	return outcome{verdict: s.cfg.Password(ctx, s.user, body.Password)}, nil
}

// keyboardInteractive runs rounds of questions (RFC 4256).
func (s *server) keyboardInteractive(ctx context.Context, m *wire.UserauthRequest) (outcome, error) {
	if _, err := wire.ParseKbdintBody(m.Body); err != nil {
		return outcome{}, s.breach("keyboard-interactive request: %v", err)
	}
	r := &questions{s: s, ctx: ctx}
	defer r.clear()
	v, err := s.cfg.Answers(ctx, s.user, r.ask)
	switch {
	case r.ended != nil:
		return outcome{}, r.ended
	case s.pending != nil:
		// RFC 4252, section 5: another request abandons this one, which gets no
		// answer. It counts as a failure all the same.
		s.failed++
		s.report("failure", nil, errAbandoned.Error())
		if s.failed >= s.cfg.MaxTries {
			return outcome{}, s.pc.Abort(wire.DisconnectNoMoreAuthMethodsAvailable, "too many authentication failures")
		}
		return outcome{answered: true}, nil
	case r.wrong != nil:
		return refuse("%v", r.wrong), nil
	}
	return outcome{verdict: v}, err
}

var errAbandoned = errors.New("the client went on to another request")

// questions is one keyboard-interactive request.
type questions struct {
	s       *server
	ctx     context.Context // of one call of Answers
	rounds  int
	answers [][]byte
	ended   error // the connection's end
	wrong   error // the client's answers can't be used
}

// ask puts questions and reads the answers.
func (r *questions) ask(name, instruction string, prompts []wire.Prompt) ([][]byte, error) {
	r.clear()
	switch {
	case r.ended != nil:
		return nil, r.ended
	case r.s.pending != nil:
		return nil, errAbandoned
	case r.wrong != nil:
		return nil, r.wrong
	case len(prompts) > wire.MaxPrompts:
		r.wrong = fmt.Errorf("%d questions in one round; at most %d can be asked", len(prompts), wire.MaxPrompts)
		return nil, r.wrong
	}
	if r.rounds++; r.rounds > maxRounds {
		r.wrong = fmt.Errorf("more than %d rounds of questions", maxRounds)
		return nil, r.wrong
	}
	q := wire.UserauthInfoRequest{Name: name, Instruction: instruction, Prompts: prompts}
	if r.ended = r.s.pc.WritePacket(q.Append(nil), r.ctx.Done()); r.ended != nil {
		return nil, r.ended
	}
	p, err := r.s.read(wire.NumUserauthInfoResponse, wire.NumUserauthRequest)
	if err != nil {
		r.ended = err
		return nil, err
	}
	if p[0] == wire.NumUserauthRequest {
		r.s.pending = bytes.Clone(p)
		return nil, errAbandoned
	}
	return r.take(p, len(prompts))
}

// take copies the answers out of INFO_RESPONSE and clears it. RFC 4256, section
// 3.4: their number must be that of the questions, else the request fails.
func (r *questions) take(p []byte, want int) ([][]byte, error) {
	defer clear(p)
	in := wire.NewParser(p[1:])
	n := in.Uint32()
	if n > wire.MaxPrompts {
		r.ended = r.s.breach("%d answers to %d questions", n, want)
		return nil, r.ended
	}
	for range n {
		r.answers = append(r.answers, bytes.Clone(in.Bytes()))
	}
	if err := in.Done(); err != nil {
		r.ended = r.s.breach("USERAUTH_INFO_RESPONSE: %v", err)
		return nil, r.ended
	}
	if int(n) != want {
		r.wrong = fmt.Errorf("%d answers to %d questions", n, want)
		return nil, r.wrong
	}
	return r.answers, nil
}

func (r *questions) clear() {
	for _, a := range r.answers {
		clear(a)
	}
	r.answers = nil
}
