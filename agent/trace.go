package agent

import (
	"encoding/hex"
	"fmt"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/wire"
	"github.com/adit-ssh/adit/trace"
)

// messageNames are RFC 9987's, without SSH_.
var messageNames = map[byte]string{
	numFailure: "AGENT_FAILURE", numSuccess: "AGENT_SUCCESS", numRemoveAllV1: "AGENTC_REMOVE_ALL_RSA_IDENTITIES",
	numRequestKeys: "AGENTC_REQUEST_IDENTITIES", numKeys: "AGENT_IDENTITIES_ANSWER",
	numSignRequest: "AGENTC_SIGN_REQUEST", numSignature: "AGENT_SIGN_RESPONSE",
	numAdd: "AGENTC_ADD_IDENTITY", numAddConstrained: "AGENTC_ADD_ID_CONSTRAINED",
	numRemove: "AGENTC_REMOVE_IDENTITY", numRemoveAll: "AGENTC_REMOVE_ALL_IDENTITIES",
	numAddToken: "AGENTC_ADD_SMARTCARD_KEY", numAddTokenLimited: "AGENTC_ADD_SMARTCARD_KEY_CONSTRAINED",
	numRemoveToken: "AGENTC_REMOVE_SMARTCARD_KEY", numLock: "AGENTC_LOCK", numUnlock: "AGENTC_UNLOCK",
	numExtension: "AGENTC_EXTENSION", numExtensionFailure: "AGENT_EXTENSION_FAILURE", numExtensionReply: "AGENT_EXTENSION_RESPONSE",
}

func messageName(num byte) string {
	if name, ok := messageNames[num]; ok {
		return name
	}
	return fmt.Sprintf("message %d", num)
}

// recording tells a Tracer of one connection. Its methods do nothing without one,
// and are called by one goroutine.
type recording struct {
	t     trace.Tracer
	began time.Time
	n     uint32 // requests
	key   string // that the request is about
}

func (s *Server) trace(peer Peer) *recording {
	r := &recording{t: trace.Branch(s.Tracer)}
	if r.t != nil {
		r.began = time.Now()
		from := "another program"
		if peer.PID > 0 {
			from = fmt.Sprintf("pid %d", peer.PID)
		}
		trace.Emit(r.t, trace.ConnStart{Role: "agent", Remote: from})
	}
	return r
}

func (r *recording) end() {
	if r.t != nil {
		trace.Emit(r.t, trace.ConnEnd{Took: time.Since(r.began)})
	}
}

// request tells of a message that has come.
func (r *recording) request(b []byte) {
	if r.t == nil {
		return
	}
	r.n++
	r.key = ""
	fields := describeRequest(b)
	for _, f := range fields {
		if f.Name == fieldKey {
			r.key, _ = f.Value.(string)
		}
	}
	r.message(false, b, fields)
}

// decided tells what becomes of it.
func (r *recording) decided(q Request) {
	if r.t == nil || q.Begun {
		return
	}
	d := trace.AgentDecision{Operation: q.What(), Key: r.key}
	if q.Err != nil {
		d.Refused = q.Err.Error()
	}
	trace.Emit(r.t, d)
}

// reply tells of the answer.
func (r *recording) reply(b []byte) {
	if r.t != nil {
		r.message(true, b, describeReply(b))
	}
}

func (r *recording) message(out bool, b []byte, fields []trace.Field) {
	m := trace.Message{Protocol: trace.ProtocolAgent, Out: out, Type: "empty", Seq: r.n, Size: len(b), Fields: fields}
	if len(b) > 0 {
		m.Type, m.Number = messageName(b[0]), b[0]
		switch b[0] {
		case numLock, numUnlock, numAddToken, numAddTokenLimited, numRemoveToken:
			m.Size = 1 // the length of a passphrase or PIN is nobody's business
		}
	}
	trace.Emit(r.t, m)
}

// fieldKey is the name of the field with the fingerprint of the key that a message
// is about.
const fieldKey = "key"

// notes are fields in the making.
type notes []trace.Field

func (n *notes) add(name string, value any) { *n = append(*n, trace.Field{Name: name, Value: value}) }

// public notes a public key: its type and fingerprint. One that can't be read is
// its length.
func (n *notes) public(blob []byte) {
	key, err := gossh.ParsePublicKey(blob)
	if err != nil {
		n.add("key_length", int64(len(blob)))
		return
	}
	n.key(key)
}

func (n *notes) key(key gossh.PublicKey) {
	n.add("key_type", key.Type())
	n.add(fieldKey, fingerprint(key))
}

// fingerprint is that of a certificate's key for a certificate, as OpenSSH has it.
func fingerprint(key gossh.PublicKey) string { return gossh.FingerprintSHA256(bare(key)) }

// describeRequest tells what may be told of a request: no private key, passphrase or
// PIN, and not what is to be signed, but for whom.
func describeRequest(b []byte) []trace.Field {
	var n notes
	if len(b) == 0 {
		return n
	}
	p := wire.NewParser(b[1:])
	switch b[0] {
	case numSignRequest:
		q, err := parseSignRequest(b[1:])
		if err != nil {
			n.add("malformed", true)
			break
		}
		n.public(q.key)
		n.add("flags", flagNames(q.flags))
		n.add("data_length", int64(len(q.data)))
		n.purpose(q.data)
	case numAdd, numAddConstrained:
		n.added(b[1:])
	case numRemove:
		n.public(p.Bytes())
	case numAddToken, numAddTokenLimited, numRemoveToken:
		n.add("provider", p.String()) // the PIN is behind it
	case numExtension:
		n.extension(&p)
	}
	return n
}

func flagNames(flags uint32) []string {
	names := []string{}
	if flags&FlagRSASHA256 != 0 {
		names = append(names, "rsa-sha2-256")
	}
	if flags&FlagRSASHA512 != 0 {
		names = append(names, "rsa-sha2-512")
	}
	if rest := flags &^ (FlagRSASHA256 | FlagRSASHA512); rest != 0 {
		names = append(names, fmt.Sprintf("%#x", rest))
	}
	return names
}

// purpose tells what a signature is for: a login, a file's signature, or nothing
// that is known.
func (n *notes) purpose(data []byte) {
	s := signingOf(data)
	n.add("purpose", s.Kind)
	switch s.Kind {
	case SignsSSHSIG:
		n.add("namespace", s.Namespace)
	case SignsLogin:
		n.add("user_name", s.User)
		n.add("method_name", s.Method)
		n.session(s.SessionID)
	}
}

// session notes the beginning of a session's id: enough to tell two apart.
func (n *notes) session(id []byte) { n.add("session", hex.EncodeToString(id[:min(len(id), 8)])) }

// added tells of a key that is added. The public key is worked out from the private
// one, of which nothing is kept.
func (n *notes) added(body []byte) {
	p := wire.NewParser(body)
	_, public, _, comment, err := parseAdded(&p, body)
	if public == nil {
		p = wire.NewParser(body)
		n.add("key_type", p.String())
		n.add("malformed", true)
		return
	}
	n.key(public)
	if err != nil {
		n.add("malformed", true)
		return
	}
	n.add("comment", comment)
	limits, err := parseConstraints(&p, false)
	if err != nil {
		n.add("constraints", "not understood: "+err.Error())
		return
	}
	if limits.limited {
		n.add("lifetime_s", int64(limits.lifetime))
	}
	if limits.confirm {
		n.add("confirm", true)
	}
	if len(limits.destinations) > 0 {
		n.add("destinations", int64(len(limits.destinations)))
	}
}

func (n *notes) extension(p *wire.Parser) {
	name := p.String()
	if p.Err() != nil {
		n.add("malformed", true)
		return
	}
	n.add("extension_type", name)
	if name != extSessionBind {
		n.add("data_length", int64(p.Len()))
		return
	}
	hostKey, id := p.Bytes(), p.Bytes()
	p.Bytes() // the signature
	forwarding := p.Bool()
	if p.Err() != nil {
		n.add("malformed", true)
		return
	}
	if key, err := gossh.ParsePublicKey(hostKey); err == nil {
		n.add("host_key", fingerprint(key))
	}
	n.session(id)
	n.add("is_forwarding", forwarding)
}

// describeReply tells what an answer says.
func describeReply(b []byte) []trace.Field {
	var n notes
	if len(b) == 0 {
		return n
	}
	switch b[0] {
	case numKeys:
		ids, err := parseKeys(b[1:])
		if err != nil {
			n.add("malformed", true)
			break
		}
		keys := []string{}
		for _, id := range ids {
			name := "a key that can't be read"
			if key, err := gossh.ParsePublicKey(id.Blob); err == nil {
				name = key.Type() + " " + fingerprint(key)
			}
			keys = append(keys, name+" "+id.Comment)
		}
		n.add("nkeys", int64(len(ids)))
		n.add("keys", keys)
	case numSignature:
		p := wire.NewParser(b[1:])
		if s, err := parseSignature(p.Bytes()); err == nil {
			n.add("signature_format", s.Format)
			n.add("signature_length", int64(len(s.Blob)))
		}
	case numExtensionReply:
		n.add("data_length", int64(len(b)-1))
	}
	return n
}
