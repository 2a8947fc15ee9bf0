package agent

import (
	"errors"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/wire"
)

// Session names an SSH connection to an agent, with the server's proof that it
// is one to that server. All three are of the first key exchange, also after
// others: the first exchange's hash is the session's id.
type Session struct {
	HostKey   []byte // the server's key or certificate, in wire form
	ID        []byte // the exchange hash
	Signature []byte // of ID by HostKey, in wire form
}

// Binding is a Session and what an agent connection is for: a login there, or
// what programs there want (PROTOCOL.agent, section 1).
type Binding struct {
	Session
	Forwarding bool
}

func (b *Binding) append(p []byte) []byte {
	p = wire.AppendString(append(p, numExtension), extSessionBind)
	p = wire.AppendString(wire.AppendString(p, b.HostKey), b.ID)
	return wire.AppendBool(wire.AppendString(p, b.Signature), b.Forwarding)
}

// errGap is a binding behind one that was refused. ssh-agent records it: then the way
// looks as if the host between were not on it. That can be a host whose kind of key its
// client knows, and the agent does not; who is there would have all that is allowed
// from before it.
var errGap = errors.New("a session on the way to this one could not be bound")

// maxSessionID is the longest session id that an agent takes, in bytes (OpenSSH,
// ssh-agent.c, AGENT_MAX_SID_LEN).
const maxSessionID = 128

// parseBinding reads what follows the extension's name, and checks the proof.
// What follows the flag is ignored, as in OpenSSH. The fields are copies.
func parseBinding(b []byte) (Binding, gossh.PublicKey, error) {
	p := wire.NewParser(b)
	r := Binding{Session: Session{HostKey: clone(p.Bytes()), ID: clone(p.Bytes()), Signature: clone(p.Bytes())}, Forwarding: p.Bool()}
	if err := p.Err(); err != nil {
		return r, nil, err
	}
	if len(r.ID) > maxSessionID {
		return r, nil, errors.New("the session id is too long")
	}
	key, err := parsePublic(r.HostKey)
	if err != nil {
		return r, nil, err
	}
	return r, key, r.verify(key)
}

// Verify checks that HostKey has signed ID.
func (s *Session) Verify() error {
	key, err := parsePublic(s.HostKey)
	if err != nil {
		return err
	}
	return s.verify(key)
}

func (s *Session) verify(key gossh.PublicKey) error {
	sig, err := parseSignature(s.Signature)
	if err != nil {
		return err
	}
	if cert, ok := key.(*gossh.Certificate); ok {
		key = cert.Key // whatever it certifies, the key has signed
	}
	return key.Verify(s.ID, sig)
}

func clone(b []byte) []byte { return append([]byte(nil), b...) }
