package ssmgw

import (
	"context"
	"encoding/json"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Agent is how the simulated amazon-ssm-agent behaves. The zero value is a
// current one without sleeps.
type Agent struct {
	Version string        // "" is 3.3.987.0
	Payload int           // bytes in a message, at most; 0 is 1024, as AWS's
	Sleep   time.Duration // after each message of data; AWS's takes 1 ms
	Start   time.Duration // until its worker has started; AWS's takes about 1 s
	Text    string        // the CustomerMessage that ends the handshake
	// Silence is how long it says nothing after the target's port has refused:
	// AWS's worker dies of it. 0 is 60 s.
	Silence time.Duration
	// SessionType is what the handshake says; "" is Port. KMS asks for encryption.
	SessionType string
	KMS         bool
	// Mute never greets.
	Mute bool
	// Dial reaches the target; nil is TCP.
	Dial func(ctx context.Context, address string) (net.Conn, error)
}

// The agent's limits and times, as in AWS's.
const (
	agentBuffer     = 100_000 // messages, each way
	agentTick       = 100 * time.Millisecond
	agentHandshake  = 15 * time.Second
	agentDrain      = 2 * time.Second
	agentRTOFirst   = 200 * time.Millisecond
	agentRTOMost    = time.Second
	agentRefusal    = "document process failed unexpectedly: ipc messaging received timeout signal, failed: data channel was closed"
	agentHandshook  = "Handshake timed out. Please ensure that you have the latest version of the session manager plugin"
	forwarding      = "LocalPortForwarding"
	rawClient       = "1.1.70.0" // multiplexes from here on
	kindData        = 1
	kindRequest     = 5
	kindResponse    = 6
	kindComplete    = 7
	kindFlag        = 10
	flagDisconnect  = 1
	flagTerminate   = 2
	typeIn, typeOut = "input_stream_data", "output_stream_data"
)

// worker is an agent's process for one session.
type worker struct {
	Agent
	properties map[string]any
	toClient   func([]byte)
	finish     func(output string) // the session is over
	lifetime   context.Context
	stop       context.CancelFunc
	goroutines sync.WaitGroup
	told       atomic.Bool // by the client that the session is to end

	mu       sync.Mutex
	changed  sync.Cond
	expected int64           // guarded by mu, as all below
	ahead    map[int64]frame // came early
	next     int64           // of ours
	unacked  map[int64]*sent // of ours
	oldest   int64           // of ours that is not acked
	target   net.Conn        // nil until dialled
	version  string          // the client's
	state    int             // 0 greets, 1 has the answer, 2 is complete, 3 is over
	paused   bool
	wanted   bool // a message waits for a target
	srtt     time.Duration
	rttvar   time.Duration
	mux      *muxPipe // instead of target
}

type sent struct {
	frame []byte
	at    time.Time
}

func newWorker(a Agent, properties map[string]any, toClient func([]byte), finish func(string)) *worker {
	w := &worker{Agent: a, properties: properties, toClient: toClient, finish: finish, srtt: 100 * time.Millisecond,
		ahead: map[int64]frame{}, unacked: map[int64]*sent{}}
	if w.Version == "" {
		w.Version = "3.3.987.0"
	}
	if w.Payload == 0 {
		w.Payload = 1024
	}
	if w.Silence == 0 {
		w.Silence = time.Minute
	}
	if w.Agent.Dial == nil {
		w.Agent.Dial = func(ctx context.Context, address string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		}
	}
	w.changed.L = &w.mu
	w.lifetime, w.stop = context.WithCancel(context.Background())
	w.goroutines.Go(w.run)
	w.goroutines.Go(w.resend)
	return w
}

// run is the session from greeting to end.
func (w *worker) run() {
	output := w.serve()
	w.mu.Lock()
	w.state = 3
	if w.target != nil {
		w.target.Close()
	}
	w.mu.Unlock()
	w.stop()
	w.finish(output)
}

func (w *worker) serve() (output string) {
	if !w.pause(w.Start) {
		return ""
	}
	if w.Mute {
		w.pause(stall)
		return ""
	}
	typ := w.SessionType
	if typ == "" {
		typ = "Port"
	}
	actions := []any{map[string]any{"ActionType": "SessionType", "ActionParameters": map[string]any{"SessionType": typ, "Properties": w.properties}}}
	if w.KMS {
		actions = append(actions, map[string]any{"ActionType": "KMSEncryption", "ActionParameters": map[string]any{"KMSKeyId": "arn:aws:kms:eu-central-1:123456789012:key/k"}})
	}
	w.sendJSON(kindRequest, map[string]any{"AgentVersion": w.Version, "RequestedClientActions": actions})
	limit := time.AfterFunc(agentHandshake, w.look)
	begin := time.Now()
	w.mu.Lock()
	for w.state == 0 && w.lifetime.Err() == nil && time.Since(begin) < agentHandshake {
		w.changed.Wait()
	}
	state, version := w.state, w.version
	w.mu.Unlock()
	limit.Stop()
	switch {
	case w.lifetime.Err() != nil:
		return ""
	case state == 0:
		return agentHandshook
	case state == 3:
		return "the client refused an action of the handshake"
	}
	w.mu.Lock()
	w.state = 2
	w.mu.Unlock()
	w.sendJSON(kindComplete, map[string]any{"HandshakeTimeToComplete": time.Since(begin).Nanoseconds(), "CustomerMessage": w.Text})
	if w.properties["type"] == forwarding {
		if newer(version, "1.1.69.9999") && newer(w.Version, "3.0.196.0") {
			return w.serveMux()
		}
		return w.serveAgain()
	}
	return w.serveOnce()
}

// address is what the document says to dial.
func (w *worker) address() string {
	host, _ := w.properties["host"].(string)
	if host == "" {
		host = "127.0.0.1"
	}
	port, _ := w.properties["portNumber"].(string)
	return net.JoinHostPort(host, port)
}

// serveOnce is a session without type: one connection, and its end is the
// session's.
func (w *worker) serveOnce() string {
	c, err := w.Agent.Dial(w.lifetime, w.address())
	if err != nil {
		if !w.pause(w.Silence) {
			return ""
		}
		return agentRefusal
	}
	w.setTarget(c)
	w.copyOut(c)
	w.drain()
	return ""
}

// serveAgain is a raw session of type LocalPortForwarding: the target's end is
// not told, and the client's next byte dials again.
func (w *worker) serveAgain() string {
	for w.lifetime.Err() == nil {
		c, err := w.Agent.Dial(w.lifetime, w.address())
		if err != nil {
			return "Unable to connect to specified port: " + err.Error()
		}
		w.setTarget(c)
		w.copyOut(c)
		w.setTarget(nil)
		w.mu.Lock()
		for w.wanted = false; !w.wanted && w.lifetime.Err() == nil; {
			w.changed.Wait()
		}
		w.mu.Unlock()
	}
	return ""
}

// setTarget lets what waits be written.
func (w *worker) setTarget(c net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.target != nil {
		w.target.Close()
	}
	w.target = c
	if w.lifetime.Err() != nil && c != nil {
		c.Close()
	}
	w.changed.Broadcast()
}

// copyOut sends what the target sends.
func (w *worker) copyOut(c net.Conn) {
	buf := make([]byte, w.Payload)
	for {
		w.mu.Lock()
		for w.paused && w.lifetime.Err() == nil {
			w.changed.Wait()
		}
		w.mu.Unlock()
		n, err := c.Read(buf)
		if n > 0 {
			w.send(kindData, buf[:n])
		}
		if err != nil || w.Sleep > 0 && !w.pause(w.Sleep) {
			return
		}
	}
}

// drain waits for acknowledgements.
func (w *worker) drain() {
	limit := time.AfterFunc(agentDrain, w.look)
	defer limit.Stop()
	begin := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.unacked) > 0 && w.lifetime.Err() == nil && time.Since(begin) < agentDrain {
		w.changed.Wait()
	}
}

func (w *worker) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.changed.Broadcast()
}

func (w *worker) pause(d time.Duration) bool {
	if d == 0 {
		return w.lifetime.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-w.lifetime.Done():
		return false
	}
}

func (w *worker) sendJSON(kind uint32, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	w.send(kind, b)
}

// send sends a numbered message. It is kept for as long as there is room, and
// sent all the same when there is none.
func (w *worker) send(kind uint32, payload []byte) {
	w.mu.Lock()
	flags := uint64(0)
	if w.next == 0 {
		flags = 1
	}
	b := makeFrame(typeOut, w.next, flags, kind, payload)
	if len(w.unacked) < agentBuffer {
		w.unacked[w.next] = &sent{b, time.Now()}
	}
	w.next++
	w.mu.Unlock()
	w.toClient(b)
}

// resend looks at the oldest message that is not acked, ten times a second.
func (w *worker) resend() {
	for w.pause(agentTick) {
		w.mu.Lock()
		for w.oldest < w.next && w.unacked[w.oldest] == nil {
			w.oldest++
		}
		m := w.unacked[w.oldest]
		rto := min(agentRTOMost, w.srtt+max(10*time.Millisecond, 4*w.rttvar))
		if w.rttvar == 0 {
			rto = agentRTOFirst
		}
		due := m != nil && !w.paused && time.Since(m.at) > rto
		if due {
			m.at = time.Now()
		}
		w.mu.Unlock()
		if due {
			w.toClient(m.frame)
		}
	}
}

// close ends the worker without a word, and waits for it.
func (w *worker) close() {
	w.stop()
	w.mu.Lock()
	if w.target != nil {
		w.target.Close()
	}
	if w.mux != nil {
		w.mux.close()
	}
	w.changed.Broadcast()
	w.mu.Unlock()
	w.goroutines.Wait()
}
