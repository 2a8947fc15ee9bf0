package agent

import (
	"bytes"
	"fmt"

	"github.com/adit-ssh/adit/internal/wire"
)

// Request is what somebody has asked of a Server, and what became of it. Texts are
// not sanitised: Comment, Extension and those of Signing are the peer's words. Bytes
// are only good until the function returns that is told of it.
type Request struct {
	Peer       Peer
	Connection uint64 // counts the Server's, from 1
	Operation  string // list, sign, add, remove, remove all, lock, unlock, extension, connect…
	Extension  string // its name
	// Begun says that the request will change the agent and has not done so yet:
	// another Request tells the outcome.
	Begun bool

	Key     []byte // that is to sign, to be removed or was added, in wire form
	Comment string // the key's
	Listed  int    // how many keys a list has
	Hidden  int    // how many it has not, since rules hide them

	Hops    [][]byte // keys of the hosts over which the request came, the nearest first
	Host    []byte   // key of the host that it is about; nil when that is not known
	Signing *Signing // what is to be signed; nil when nothing is

	By        string // what removed the key when nobody asked for it: a Removal's, or a signal
	Rule      string // that decided; "" when none did
	Confirmed bool   // a person was asked and said yes
	Err       error  // why it was refused; nil when it was not
}

// What is Operation, with the extension's name.
func (r *Request) What() string {
	if r.Extension != "" {
		return fmt.Sprintf("extension %.64q", r.Extension)
	}
	return r.Operation
}

// changes says whether a message changes the agent for others too.
func changes(num byte) bool {
	switch num {
	case numAdd, numAddConstrained, numRemove, numRemoveAll, numRemoveAllV1, numAddToken, numAddTokenLimited, numRemoveToken, numLock, numUnlock:
		return true
	}
	return false
}

// answered has a request answered and recorded, before anybody learns the answer.
// What can't be recorded is refused, and when it would change the agent, not even
// tried.
func answered(record func(Request) error, request []byte, answer func(*Request) ([]byte, error)) []byte {
	r := Request{Operation: "message"}
	if len(request) > 0 {
		r.Operation = operation(request[0])
	}
	if record != nil && len(request) > 0 && changes(request[0]) {
		begun := r
		begun.Begun = true
		if err := record(begun); err != nil {
			return replyTo(nil, err)
		}
	}
	reply, err := answer(&r)
	if record != nil {
		r.Err = err
		if rerr := record(r); err == nil {
			err = rerr
		}
	}
	return replyTo(reply, err)
}

// What a Signing can be.
const (
	SignsLogin   = "login"
	SignsSSHSIG  = "sshsig"
	SignsUnknown = "unknown"
)

// Signing is what data that is to be signed is good for.
type Signing struct {
	Kind string // SignsLogin, SignsSSHSIG or SignsUnknown

	// Of a login (RFC 4252, section 7).
	User      string
	Method    string // publickey, or publickey-hostbound-v00@openssh.com
	Key       []byte // that is named: the one that signs, it should be
	SessionID []byte
	HostKey   []byte // of the only host that takes it; nil with publickey

	Namespace string // of an SSHSIG (OpenSSH, PROTOCOL.sshsig): file, git…
}

// magicSSHSIG begins what is signed for an SSHSIG. As the length of a session id it
// would be out of all bounds, so nothing is both.
const magicSSHSIG = "SSHSIG"

// signingOf tells what data is for. A login is only what a server would take for
// one, to the last byte.
func signingOf(data []byte) *Signing {
	if namespace, ok := readSSHSIG(data); ok && namespace != "" {
		return &Signing{Kind: SignsSSHSIG, Namespace: namespace}
	}
	l, _, key, err := readLogin(data)
	if err != nil {
		return &Signing{Kind: SignsUnknown}
	}
	return &Signing{Kind: SignsLogin, User: l.user, Method: l.method, Key: clone(key), SessionID: clone(l.sessionID), HostKey: clone(l.hostKey)}
}

// readSSHSIG reads a file's hash with a namespace (OpenSSH, PROTOCOL.sshsig, section 3).
// ok is false for anything else.
func readSSHSIG(data []byte) (namespace string, ok bool) {
	rest, ok := bytes.CutPrefix(data, []byte(magicSSHSIG))
	p := wire.NewParser(rest)
	namespace = p.String()
	p.Bytes() // reserved
	p.Bytes() // the hash's name
	p.Bytes() // the hash
	return namespace, ok && p.Done() == nil
}

// twin returns the key that a login names while another with the same private half
// signs, such as a certificate whose bare key does (OpenSSH's client before 10.3); nil
// for what is no such login.
func (s *Signing) twin(key []byte) []byte {
	if s == nil || s.Key == nil || bytes.Equal(s.Key, key) {
		return nil
	}
	named, nerr := parsePublic(s.Key)
	signs, serr := parsePublic(key)
	if nerr != nil || serr != nil || !bytes.Equal(bare(named).Marshal(), bare(signs).Marshal()) {
		return nil
	}
	return s.Key
}

// circumstances are what a request is judged by, besides the key.
type circumstances struct {
	hops    [][]byte // as in Request
	host    []byte
	unbound bool // a binding failed: where the request comes from is not known, but for hops
	signing *Signing
}

// circumstancesOf are those of a connection that was bound along a way. failed says
// that a binding was refused.
func circumstancesOf(way []Binding, failed bool, signing *Signing) circumstances {
	c := circumstances{unbound: failed, signing: signing}
	for _, b := range way {
		switch {
		case b.Forwarding:
			c.hops = append(c.hops, b.HostKey)
		case signing == nil:
			c.host = b.HostKey
		}
	}
	if signing == nil || signing.Kind != SignsLogin {
		return c
	}
	// A login is good for one session, and the bound one's host is proven. One that
	// names its host is refused by others.
	c.host = signing.HostKey
	for _, b := range way {
		if bytes.Equal(b.ID, signing.SessionID) {
			c.host = b.HostKey
		}
	}
	return c
}

// forwarded says whether the request comes from another host, or may.
func (c *circumstances) forwarded() bool { return len(c.hops) > 0 || c.unbound }

// tell puts the circumstances into a Request.
func (c *circumstances) tell(r *Request) { r.Hops, r.Host, r.Signing = c.hops, c.host, c.signing }

// confirmation is the question to a person. The key is not in it yet.
func (c *circumstances) confirmation() Confirmation {
	q := Confirmation{Hops: c.hops, Host: c.host, Astray: c.unbound}
	if c.signing != nil {
		q.User, q.Namespace = c.signing.User, c.signing.Namespace
	}
	return q
}
