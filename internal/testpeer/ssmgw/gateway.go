package ssmgw

import (
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Gateway is the service. Fields are set before it is used.
type Gateway struct {
	Agent  Agent
	Faults Faults
	// Documents are custom session documents: their properties by name, with
	// parameters as {{ name }}.
	Documents map[string]map[string]string
	// Nodes are what DescribeInstanceInformation lists. A session may be started
	// to any target if there are none, and to those that are Online otherwise.
	Nodes []Node
	// Certificate makes it speak TLS.
	Certificate *tls.Certificate
	// Deny are API actions, such as ssm:StartSession, that nobody may do.
	Deny []string
	// Refuse has the errors of API actions, such as ssm:StartSession, that fail: a code,
	// a blank and a message.
	Refuse map[string]string
	// Trouble is asked about each call of an API action, such as ssm:StartSession, and how
	// many there were with it: what it returns is as in Refuse, "" lets the call be. Nil is
	// no trouble.
	Trouble func(verb string, times int) string
	// Latency is how long the API's calls are on their way. Those whose caller has gone
	// by then do not arrive.
	Latency time.Duration
	// Slow is how long the answers to API actions, such as ssm:StartSession, are on their
	// way. What was asked for is done before.
	Slow map[string]time.Duration
	// Farewell is what channel_closed says of sessions that TerminateSession ends.
	Farewell string
	// Authorize is told of keys that SendSSHPublicKey brings, as an instance with EC2
	// Instance Connect's package is; nil drops them.
	Authorize func(user, key string)
	// Run runs a script as SendCommand has it and says how it ended; see Machine. Nil
	// is a node that does not run commands.
	Run func(script string) (stderr string, status int)

	running sync.WaitGroup // of Run

	mu       sync.Mutex
	sessions map[string]*session // guarded by mu, as all below
	count    int
	events   []string
	pushed   []PushedKey
	commands []*command
	started  []Start
	calls    map[string]int // by action
	failures int            // of ResumeSession
	conns    []*Conn
	noted    chan struct{} // closed at the next event; nil if nobody waits

	frozen atomic.Bool
}

// Node is a managed node.
type Node struct {
	ID, Name, Computer, IP, Platform, Version string
	Status                                    string // Online, ConnectionLost
	Tags                                      map[string]string
}

// PushedKey is a call of SendSSHPublicKey.
type PushedKey struct{ Instance, User, Key string }

// Start is a call of StartSession that was good.
type Start struct {
	Target, Document, Region, Reason string
	Parameters                       map[string][]string
}

// note keeps what happened, for Events.
func (g *Gateway) note(format string, args ...any) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.events = append(g.events, fmt.Sprintf(format, args...))
	if g.noted != nil {
		close(g.noted)
		g.noted = nil
	}
}

// Await waits until an event has been so often.
func (g *Gateway) Await(t testing.TB, event string, times int) {
	t.Helper()
	limit := time.After(20 * time.Second)
	for {
		g.mu.Lock()
		n := 0
		for _, e := range g.events {
			if e == event {
				n++
			}
		}
		if g.noted == nil {
			g.noted = make(chan struct{})
		}
		noted := g.noted
		g.mu.Unlock()
		if n >= times {
			return
		}
		select {
		case <-noted:
		case <-limit:
			t.Fatalf("%q was %d times, want %d: %q", event, n, times, g.Events())
		}
	}
}

// Events are what was asked of the gateway, in order: names of API calls and
// "open", "signed", "bye", "closed".
func (g *Gateway) Events() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]string(nil), g.events...)
}

// trouble counts a call and asks Trouble about it.
func (g *Gateway) trouble(verb string) string {
	g.mu.Lock()
	if g.calls == nil {
		g.calls = map[string]int{}
	}
	g.calls[verb]++
	n := g.calls[verb]
	g.mu.Unlock()
	if g.Trouble == nil {
		return ""
	}
	return g.Trouble(verb, n)
}

// Started are the calls of StartSession that were good, in order.
func (g *Gateway) Started() []Start {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.started)
}

// Pushed are the keys that SendSSHPublicKey brought.
func (g *Gateway) Pushed() []PushedKey {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]PushedKey(nil), g.pushed...)
}

// FailResumes lets the next n calls of ResumeSession fail.
func (g *Gateway) FailResumes(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.failures = n
}

// StartSession begins a session and returns its id and token.
func (g *Gateway) StartSession(document string, parameters map[string][]string) (id, token string, err error) {
	properties, err := g.properties(document, parameters)
	if err != nil {
		return "", "", err
	}
	g.mu.Lock()
	g.count++
	s := &session{g: g, id: fmt.Sprintf("tester-%016d", g.count), clients: map[string]bool{}, came: make(chan struct{})}
	if g.sessions == nil {
		g.sessions = map[string]*session{}
	}
	g.sessions[s.id] = s
	seed := uint64(g.count)
	g.mu.Unlock()
	s.token = "token-0-of-" + s.id
	s.down = newLink(&g.Faults, 2*seed, s.toClient)
	agent := &away{faults: &g.Faults}
	s.up = newLink(&g.Faults, 2*seed+1, func(b []byte) {
		if !agent.lost(0) {
			s.worker.receive(b)
		}
	})
	s.worker = newWorker(g.Agent, properties, func(b []byte) {
		if !agent.lost(len(b)) {
			s.down.send(b)
		}
	}, s.finish)
	return s.id, s.token, nil
}

func (g *Gateway) properties(document string, parameters map[string][]string) (map[string]any, error) {
	p := map[string]any{}
	first := func(name, otherwise string) string {
		if v := parameters[name]; len(v) > 0 {
			return v[0]
		}
		return otherwise
	}
	switch document {
	case "AWS-StartSSHSession":
		p["portNumber"] = first("portNumber", "22")
	case "AWS-StartPortForwardingSession":
		p["portNumber"], p["localPortNumber"], p["type"] = first("portNumber", "80"), first("localPortNumber", "0"), forwarding
	case "AWS-StartPortForwardingSessionToRemoteHost":
		p["portNumber"], p["localPortNumber"], p["type"] = first("portNumber", "80"), first("localPortNumber", "0"), forwarding
		p["host"] = first("host", "")
	default:
		own, ok := g.Documents[document]
		if !ok {
			return nil, errors.New("Document with name " + document + " does not exist.")
		}
		for k, v := range own {
			for name, values := range parameters {
				if v == "{{ "+name+" }}" {
					v = values[0]
				}
			}
			p[k] = v
		}
	}
	return p, nil
}

// ResumeSession returns a new token, "" if the session is over.
func (g *Gateway) ResumeSession(id string) (token string, err error) {
	g.mu.Lock()
	fail := g.failures > 0
	g.failures = max(0, g.failures-1)
	g.mu.Unlock()
	if fail {
		return "", errors.New("the service is not well")
	}
	s := g.session(id)
	if s == nil {
		return "", nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return "", nil
	}
	s.resumed++
	s.token = fmt.Sprintf("token-%d-of-%s", s.resumed, s.id)
	return s.token, nil
}

// TerminateSession ends a session.
func (g *Gateway) TerminateSession(id string) {
	if s := g.session(id); s != nil {
		s.mu.Lock()
		s.farewell = g.Farewell
		s.mu.Unlock()
		s.worker.stop()
		s.worker.close()
	}
}

func (g *Gateway) session(id string) *session {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.sessions[id]
}

// Freeze has data channels take nothing from clients any more, nor answer. The API
// works.
func (g *Gateway) Freeze() { g.frozen.Store(true) }

// TerminateAll ends all sessions.
func (g *Gateway) TerminateAll() {
	for _, s := range g.all() {
		g.TerminateSession(s.id)
	}
}

// Carried is how many bytes each session has carried to its client, heads
// included, in the order of their starts.
func (g *Gateway) Carried() (carried []int64) {
	for _, s := range g.all() {
		s.mu.Lock()
		carried = append(carried, s.carried)
		s.mu.Unlock()
	}
	return carried
}

// all are the sessions, in the order of their starts.
func (g *Gateway) all() []*session {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.SortedFunc(maps.Values(g.sessions), func(a, b *session) int { return strings.Compare(a.id, b.id) })
}

// Live is how many sessions have a worker that is not to end.
func (g *Gateway) Live() int {
	n := 0
	for _, s := range g.all() {
		s.mu.Lock()
		if !s.over && !s.worker.told.Load() {
			n++
		}
		s.mu.Unlock()
	}
	return n
}

// Close ends all sessions and waits for their goroutines.
func (g *Gateway) Close() {
	g.mu.Lock()
	sessions := g.sessions
	g.sessions = nil
	conns := g.conns
	g.conns = nil
	g.mu.Unlock()
	g.running.Wait()
	for _, s := range sessions {
		s.up.close()
		s.down.close()
		s.once.Do(func() { close(s.came) })
		s.mu.Lock()
		client := s.client
		s.mu.Unlock()
		if client != nil {
			client.close(closeBye)
		}
		s.worker.close()
		<-s.up.done
		<-s.down.done
	}
	for _, c := range conns {
		c.close(closeBye)
		c.goroutines.Wait()
	}
}
