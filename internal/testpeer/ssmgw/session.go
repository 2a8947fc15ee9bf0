package ssmgw

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"
)

// session is one session: its worker, both links, and the client while it is
// there.
type session struct {
	g        *Gateway
	id       string
	worker   *worker
	up, down *link
	came     chan struct{} // closed when a client has come, or none will
	once     sync.Once

	mu       sync.Mutex
	client   *Conn // guarded by mu, as all below
	token    string
	over     bool
	passed   int64
	carried  int64
	frames   int
	closes   int
	resumed  int
	farewell string
	clients  map[string]bool
}

// open is the first text message of a data channel.
type open struct {
	MessageSchemaVersion, TokenValue     string
	RequestID                            string `json:"RequestId"`
	ClientID                             string `json:"ClientId"`
	ClientVersion, ClientInstanceID, Any string
}

// attach puts a client in the place of the one before.
func (g *Gateway) attach(id string, first []byte, c *Conn) error {
	var o open
	if err := json.Unmarshal(first, &o); err != nil || o.MessageSchemaVersion != "1.0" || o.RequestID == "" {
		return fmt.Errorf("bad open message %q", first)
	}
	s := g.session(id)
	if s == nil {
		return errors.New("no such session")
	}
	s.mu.Lock()
	if o.TokenValue != s.token || s.token == "" || s.over {
		s.mu.Unlock()
		return errors.New("bad token")
	}
	s.token = "" // once only
	before := s.client
	s.client, s.passed = c, 0
	s.clients[o.ClientID] = true
	if len(s.clients) > 1 {
		g.note("another client id")
	}
	s.mu.Unlock()
	if before != nil {
		before.close(closeBye)
	}
	g.note("open")
	s.once.Do(func() { close(s.came) })
	c.goroutines.Go(func() { s.fromClient(c) })
	s.down.say(makeFrame("start_publication", 0, 3, 0, nil))
	if d := g.Faults.CloseEvery; d > 0 {
		timer := time.AfterFunc(d, func() { s.bye(c, closeBye) })
		c.onClose(func() { timer.Stop() })
	}
	return nil
}

// fromClient relays what the client sends.
func (s *session) fromClient(c *Conn) {
	f := &s.g.Faults
	total := int64(0)
	for {
		b, err := c.read()
		if err != nil {
			s.detach(c)
			return
		}
		if f.MaxPayload > 0 && len(b) > headSize+f.MaxPayload {
			s.bye(c, closeTooBig)
			return
		}
		total += int64(len(b))
		if f.HalfOpenAfter > 0 && total >= f.HalfOpenAfter || s.g.frozen.Load() {
			<-c.gone
			s.detach(c)
			return
		}
		s.up.send(b)
		s.count(c, int64(len(b)), true)
	}
}

// count acts on what has passed.
func (s *session) count(c *Conn, n int64, up bool) {
	f := &s.g.Faults
	s.mu.Lock()
	s.passed += n
	bye := f.CloseAfter > 0 && s.passed >= f.CloseAfter
	if up {
		s.frames++
	}
	pause := up && f.PauseEvery > 0 && s.frames%f.PauseEvery == 0
	start := up && f.PauseEvery > 0 && s.frames%f.PauseEvery == min(20, f.PauseEvery-1)
	s.mu.Unlock()
	if pause {
		s.down.say(makeFrame("pause_publication", 0, 3, 0, nil))
		s.up.say(makeFrame("pause_publication", 0, 3, 0, nil))
		time.AfterFunc(50*time.Millisecond, func() { s.up.say(makeFrame("start_publication", 0, 3, 0, nil)) })
	}
	if start {
		s.down.say(makeFrame("start_publication", 0, 3, 0, nil))
	}
	if bye {
		s.bye(c, closeBye)
	}
}

// bye closes the client's WebSocket, if it may be done again.
func (s *session) bye(c *Conn, why closing) {
	f := &s.g.Faults
	s.mu.Lock()
	if s.client != c { // it has ended
		s.mu.Unlock()
		return
	}
	s.closes++
	if why == closeBye && f.Closes > 0 && s.closes > f.Closes {
		s.mu.Unlock()
		return
	}
	s.mu.Unlock()
	s.g.note("bye")
	s.detach(c)
	c.close(why)
}

func (s *session) detach(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client == c {
		s.client = nil
	}
}

// toClient is the end of the link down. The agent is held back until a client has
// come; what nobody is there for from then on is lost.
func (s *session) toClient(b []byte) {
	<-s.came
	s.mu.Lock()
	c := s.client
	s.mu.Unlock()
	if c == nil {
		return
	}
	if c.write(b) == nil {
		s.mu.Lock()
		s.carried += int64(len(b))
		s.mu.Unlock()
		s.count(c, int64(len(b)), false)
	}
}

// finish is the worker's end: channel_closed goes behind what was sent.
func (s *session) finish(output string) {
	s.mu.Lock()
	output = cmp.Or(output, s.farewell)
	s.mu.Unlock()
	b, err := json.Marshal(map[string]any{"MessageType": "channel_closed", "MessageId": "00000000-0000-4000-8000-000000000000",
		"DestinationId": "", "SessionId": s.id, "SchemaVersion": 1, "CreatedDate": time.Now().Format(time.RFC3339), "Output": output})
	if err != nil {
		panic("BUG: " + err.Error())
	}
	s.mu.Lock()
	s.over = true
	s.mu.Unlock()
	s.g.note("closed")
	// The gateway itself drops nothing. A client that comes later gets no token.
	due := time.Now().Add(s.g.Faults.Delay + 20*time.Millisecond)
	s.down.mu.Lock()
	s.down.pushLocked(makeFrame("channel_closed", 0, 3, 0, b), due)
	s.down.mu.Unlock()
}
