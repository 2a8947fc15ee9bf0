package ssm

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/adit-ssh/adit/internal/ssmsession"
)

// Documents of AWS's, by what they reach.
const (
	documentSSH     = "AWS-StartSSHSession"
	documentForward = "AWS-StartPortForwardingSession"
	documentRemote  = "AWS-StartPortForwardingSessionToRemoteHost"
)

// Options say what is to be reached.
type Options struct {
	// Target is the managed node; see Service.Find.
	Target string
	// Port is the TCP port, 1 to 65535; 0 is 22.
	Port int
	// Host is what the node is to connect to, looked up there; "" is the node
	// itself.
	Host string
	// Document is the session's document; "" is AWS's own for what is to be
	// reached. Parameters go before those that Port and Host make for AWS's documents;
	// others have no other ones.
	Document   string
	Parameters map[string][]string
	// Reason is kept with the session, for who reads the account's logs.
	Reason string
	// MaxChunk is the most payload that a message may have, in bytes: 1024 to
	// 65536; 0 is 16384.
	MaxChunk int
	// Notice receives what the session's document has to say to the person, and
	// that the session has been without a connection for 10 s; printable, from any
	// goroutine. Nil drops it.
	Notice func(text string)
}

// Dial loads a configuration and connects.
func Dial(ctx context.Context, c Config, o Options) (net.Conn, error) {
	s, err := Load(ctx, c)
	if err != nil {
		return nil, err
	}
	return s.Dial(ctx, o)
}

// Dial starts a session and connects to one port. ctx bounds that only, and a session that
// AWS starts within a second of its end is ended again. To close the connection ends the
// session. A port of the node itself has a proper end of stream in both directions' stead:
// when the target closes, Read returns io.EOF, and the session is over.
//
// An end is an error where what came last may be missing: behind a gap, within 2 s of our
// WebSocket's end, or while AWS's agent sends again what it had lost with its own. An agent
// that is away from its last bytes until it gives up, 2 s after the target has closed,
// can't be told from a target that had no more to say: who has to know sends its own end
// over the connection, as SSH, TLS and databases do. Hosts behind the node have that by
// themselves (smux), and so has a Tunnel: there an end that was not sent is an error.
func (s *Service) Dial(ctx context.Context, o Options) (net.Conn, error) {
	return s.dial(ctx, o, documentSSH)
}

func (s *Service) dial(ctx context.Context, o Options, forNode string) (net.Conn, error) {
	session, err := s.start(ctx, o, forNode)
	if err != nil {
		return nil, err
	}
	if !session.Multiplexed() {
		return &conn{session, s, o.Target}, nil
	}
	m, err := s.newMux(session, o.Target)
	if err == nil {
		var c net.Conn
		if c, err = m.open(); err == nil {
			return &soleStream{c, m}, nil
		}
		m.close()
	}
	return nil, s.fail("smux", o.Target, err)
}

// conn is a session whose errors a person understands.
type conn struct {
	*ssmsession.Session
	service *Service
	target  string
}

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Session.Read(p)
	return n, c.explain(err)
}

func (c *conn) Write(p []byte) (int, error) {
	n, err := c.Session.Write(p)
	return n, c.explain(err)
}

// explain leaves errors of net.Conn as they are.
func (c *conn) explain(err error) error {
	ended := c.Session.Err()
	if err == nil || ended == nil || !errors.Is(err, ended) {
		return err
	}
	return c.service.fail("session with", c.target, ended)
}

// start starts a session and does the handshake.
func (s *Service) start(ctx context.Context, o Options, forNode string) (*ssmsession.Session, error) {
	in, err := o.input(forNode)
	if err != nil {
		return nil, s.fail("session with", o.Target, err)
	}
	rec := newRecorder(ctx)
	found := rec.stage("find", o.Target)
	id, err := s.Find(ctx, o.Target)
	found(err)
	if err != nil {
		return nil, err
	}
	in.Target = id
	came := rec.stage("ssm:StartSession", id)
	started, err := s.startSession(ctx, in)
	came(err)
	if err != nil {
		return nil, s.startError(ctx, o.Target, id, err)
	}
	r := &resumer{id: started.SessionID, stream: started.StreamURL, token: started.TokenValue, client: newUUID()}
	r.service.Store(s)
	session, err := ssmsession.Start(ctx, ssmsession.Options{Connect: rec.connecting(r.connect), Terminate: r.terminate, MaxChunk: o.MaxChunk, Waiting: o.waiting()})
	rec.greeted(session, err)
	if err != nil {
		return nil, s.fail("session with", o.Target, err)
	}
	if text := printable(session.CustomerMessage()); text != "" && o.Notice != nil {
		o.Notice(text)
	}
	return session, nil
}

// input is the request that starts a session. forNode is the document for ports
// of the node itself.
func (o *Options) input(forNode string) (*startSession, error) {
	port := cmp.Or(o.Port, 22)
	if port < 1 || port > 65535 {
		return nil, fmt.Errorf("bad port %d", port)
	}
	in := &startSession{DocumentName: o.Document, Parameters: map[string][]string{}, Reason: o.Reason}
	if o.Document == "" {
		in.DocumentName = forNode
		if o.Host != "" {
			in.DocumentName = documentRemote
		}
	}
	switch in.DocumentName {
	case documentSSH, documentForward:
		if o.Host != "" {
			return nil, fmt.Errorf("the document %s reaches ports of the node alone, and not %s: it is %s that does", o.Document, o.Host, documentRemote)
		}
		in.Parameters["portNumber"] = []string{strconv.Itoa(port)}
	case documentRemote:
		in.Parameters["portNumber"] = []string{strconv.Itoa(port)}
		if o.Host != "" {
			in.Parameters["host"] = []string{o.Host}
		}
	}
	maps.Copy(in.Parameters, o.Parameters)
	return in, nil
}

// startError adds what is known of a node that is not connected.
func (s *Service) startError(ctx context.Context, target, id string, err error) error {
	e := &Error{Stage: "ssm:StartSession", Target: target, Err: err, profile: s.profile()}
	if refusedWith(err, "TargetNotConnected") {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		nodes, err := s.nodes(ctx, filter{"InstanceIds", []string{id}})
		if err == nil && len(nodes) == 1 {
			e.node = &nodes[0]
		}
	}
	return e
}

// resumer opens a session's data channels, one after the other.
type resumer struct {
	// Immutable.
	id, client string // the same for the session's whole life
	// Owned by connect.
	stream, token string
	// Atomic: has the last credentials.
	service atomic.Pointer[Service]
}

// connect implements ssmsession.Options.Connect. Credentials are read anew each
// time: the first ones have often expired by then.
func (r *resumer) connect(ctx context.Context, again bool, blocked func() bool) (ssmsession.Messages, error) {
	s := r.service.Load()
	if again {
		s = s.again(ctx)
		r.service.Store(s)
		var out dataChannel
		err := s.api.call(ctx, "ResumeSession", &resumeSession{r.id}, &out)
		if refusedWith(err, "DoesNotExistException") || err == nil && out.TokenValue == "" {
			return nil, ssmsession.ErrOver
		}
		if err != nil {
			return nil, s.fail("ssm:ResumeSession", "", err)
		}
		r.token, r.stream = out.TokenValue, cmp.Or(out.StreamURL, r.stream)
	}
	k, err := s.openSocket(ctx, r.stream, r.token, r.client, blocked)
	if err != nil {
		return nil, s.fail("data channel", "", err)
	}
	return k, nil
}

// terminate implements ssmsession.Options.Terminate.
func (r *resumer) terminate(ctx context.Context) error {
	return r.service.Load().terminate(ctx, r.id)
}

func newUUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
