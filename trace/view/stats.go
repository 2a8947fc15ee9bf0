// Package view shows recorded traces to people: as lines, as numbers, and as a
// ladder, which is a sequence diagram in a terminal or in a page of HTML.
//
// All it knows stands in the trace. Whatever a peer or a made-up file put there
// is made printable, so that it can't change a terminal, or run in a browser. The
// entries are Count, NewLadder and Explain.
package view

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/adit-ssh/adit/trace"
)

// Stats are the numbers of a trace.
type Stats struct {
	Conns []*Conn
}

// Conn are the numbers of one connection.
type Conn struct {
	Number   int
	Role     string // "client" or "server"
	Target   string
	Start    time.Duration // since the trace began, as all times here
	Stages   []Stage       // up to the first byte of data
	Messages [2]int        // out, in
	Payload  [2]int64      // bytes out, in
	Rekeys   int           // key exchanges after the first
	RTT      time.Duration // the shortest question and answer; 0 when there was none
	RTTOf    string        // which one that was
	Carriers [2]int        // messages of Session Manager that carry SSH's, out, in
	Again    [2]int        // messages of Session Manager that were sent once more, out, in
	Pauses   int           // how often Session Manager asked us to pause
	Requests int           // of an agent
	Refused  int           // of these
	Channels []*Channel

	end      time.Duration
	marks    map[string]time.Duration
	ask      map[string][]time.Duration // when questions were sent that wait for an answer, oldest first
	sent     map[uint32]time.Duration   // when a message of Session Manager was, until it is acknowledged
	channels map[int]*Channel
	peers    map[int64]*trace.Entry
	kex      int
}

// idle is the stage in which nobody wanted anything.
const idle = "nothing to do"

// Stage is a step from the start of a connection to its first data.
type Stage struct {
	Name string
	Took time.Duration
}

// Channel are the numbers of one channel.
type Channel struct {
	Number           int // ours
	Type, Target     string
	Opened, Closed   time.Duration // Closed is 0 while it was open at the end
	OpenTook         time.Duration // from CHANNEL_OPEN to its answer
	FirstByte        time.Duration // from the answer to the first data of the peer; 0 without
	Bytes            [2]int64      // out, in
	Messages         [2]int
	Stalls           [2]int // how often the window of the sender, us or the peer, was used up
	Stalled          [2]time.Duration
	Refused          string // why it was not opened
	window           [2]int64
	emptied          [2]time.Duration // when the window was used up
	empty            [2]bool
	confirmed, ended bool
}

// Count counts a trace's entries, in their order.
func Count(entries []trace.Entry) Stats {
	var s Stats
	conns := map[int]*Conn{}
	for i := range entries {
		e := &entries[i]
		if e.Conn == 0 && e.Dir == "" {
			continue
		}
		c := conns[e.Conn]
		if c == nil {
			c = &Conn{Number: e.Conn, Role: "client", Start: e.Time, marks: map[string]time.Duration{},
				ask: map[string][]time.Duration{}, sent: map[uint32]time.Duration{}, channels: map[int]*Channel{}, peers: map[int64]*trace.Entry{}}
			conns[e.Conn] = c
			s.Conns = append(s.Conns, c)
		}
		c.end = e.Time
		if e.Dir == "" {
			c.event(e)
			continue
		}
		c.message(e)
	}
	for _, c := range s.Conns {
		c.finish()
	}
	return s
}

func (c *Conn) mark(name string, at time.Duration) {
	if _, ok := c.marks[name]; !ok {
		c.marks[name] = at
	}
}

func (c *Conn) event(e *trace.Entry) {
	switch e.Event {
	case "connection:start":
		c.Role, c.Target = e.Text("role"), e.Text("target")
		if c.Role == "server" || c.Role == "agent" {
			c.Target = e.Text("remote")
		}
	case "dial:stage":
		c.mark(e.Text("stage"), e.Time)
	case "agent:decision":
		c.Requests++
		if e.Text("refused") == "true" {
			c.Refused++
		}
	case "connection:up":
		c.mark("connect", e.Time)
	case "transport:version":
		c.mark("version", e.Time)
	case "transport:kex_done":
		if c.kex++; c.kex > 1 {
			c.Rekeys++
		}
		c.mark("key exchange", e.Time)
	case "mux:channel_opened", "mux:channel_closed", "mux:channel_refused":
		c.channelEvent(e)
	}
}

// channelEvent is for traces of level channel, which have no messages.
func (c *Conn) channelEvent(e *trace.Entry) {
	if c.Messages[0]+c.Messages[1] > 0 {
		return
	}
	switch e.Event {
	case "mux:channel_opened":
		ch := c.channel(e.Channel)
		ch.Type, ch.Target, ch.Opened, ch.confirmed = e.Text("channel_type"), e.Text("target"), e.Time, true
	case "mux:channel_closed":
		ch := c.channel(e.Channel)
		ch.Bytes[0], _ = e.Int("bytes_out")
		ch.Bytes[1], _ = e.Int("bytes_in")
		c.close(e)
	}
}

func (c *Conn) message(e *trace.Entry) {
	dir := 0
	if e.Dir == "in" {
		dir = 1
	}
	if !e.IsSSH() {
		c.sessionMessage(e, dir)
		if c.Role == "client" || c.Role == "server" {
			c.Carriers[dir]++
			return
		}
	}
	c.Messages[dir]++
	c.Payload[dir] += int64(e.Size)
	if !e.IsSSH() {
		return
	}
	switch e.Message {
	case "USERAUTH_SUCCESS":
		c.mark("login", e.Time)
	case "CHANNEL_OPEN":
		if _, in := c.marks["login"]; in {
			c.mark(idle, e.Time)
		}
		c.open(e)
	case "CHANNEL_OPEN_CONFIRMATION", "CHANNEL_OPEN_FAILURE":
		c.answered(e)
	case "CHANNEL_DATA", "CHANNEL_EXTENDED_DATA":
		if ch := c.channels[e.Channel]; ch != nil {
			c.data(ch, e, dir)
		}
	case "CHANNEL_WINDOW_ADJUST":
		if ch := c.channels[e.Channel]; ch != nil {
			ch.adjust(e, 1-dir)
		}
	case "CHANNEL_CLOSE":
		c.close(e)
	}
	c.roundTrip(e)
}

// maxSent bounds how many messages may wait for their acknowledgement.
const maxSent = 1 << 14

// sessionMessage is one of AWS's Session Manager: data, or what acknowledges it.
func (c *Conn) sessionMessage(e *trace.Entry, dir int) {
	switch e.Message {
	case "input_stream_data", "output_stream_data":
		again := e.Text("again") == "true"
		switch {
		case again:
			c.Again[dir]++
			delete(c.sent, e.Seq) // its acknowledgement does not say which one arrived
		case dir == 0 && len(c.sent) < maxSent:
			c.sent[e.Seq] = e.Time
		case dir == 1 && e.Text("payload_type") == "output" && c.Role == "ssm":
			c.mark("first byte", e.Time)
		}
	case "acknowledge":
		n, _ := e.Int("acknowledged_sequence_number")
		at, waits := c.sent[uint32(n)]
		if dir == 0 || !waits {
			return
		}
		delete(c.sent, uint32(n))
		c.trip(e.Time-at, "acknowledge")
	case "pause_publication":
		c.Pauses++
	}
}

// trip notes a round trip, if it is the shortest.
func (c *Conn) trip(d time.Duration, of string) {
	if c.RTTOf == "" || d < c.RTT {
		c.RTT, c.RTTOf = d, of
	}
}

// questions are messages whose answer takes the peer no time to speak of.
var questions = map[string]string{
	"SERVICE_REQUEST": "SERVICE_ACCEPT", "PING": "PONG", "KEX_ECDH_INIT": "KEX_ECDH_REPLY",
	"GLOBAL_REQUEST": "REQUEST_SUCCESS", "KEX_DH_GEX_REQUEST": "KEX_DH_GEX_GROUP",
}

func (c *Conn) roundTrip(e *trace.Entry) {
	if e.Dir == "out" {
		_, ok := questions[e.Message]
		switch {
		case !ok || e.Message == "GLOBAL_REQUEST" && e.Text("want_reply") != "true":
		case strings.HasPrefix(e.Message, "KEX_"): // a wrong guess has no answer
			c.ask[e.Message] = []time.Duration{e.Time}
		default:
			c.ask[e.Message] = append(c.ask[e.Message], e.Time)
		}
		return
	}
	answer := e.Message
	if answer == "REQUEST_FAILURE" {
		answer = "REQUEST_SUCCESS"
	}
	for q, a := range questions {
		if asked := c.ask[q]; a == answer && len(asked) > 0 {
			c.ask[q] = asked[1:]
			c.trip(e.Time-asked[0], q)
		}
	}
}

func (c *Conn) channel(number int) *Channel {
	ch := &Channel{Number: number}
	c.channels[number] = ch
	c.Channels = append(c.Channels, ch)
	return ch
}

func (c *Conn) open(e *trace.Entry) {
	if e.Dir == "in" {
		sender, _ := e.Int("sender_channel")
		c.peers[sender] = e
		return
	}
	ch := c.channel(e.Channel)
	ch.about(e)
	ch.window[1], _ = e.Int("initial_window_size")
}

func (ch *Channel) about(e *trace.Entry) {
	ch.Type, ch.Target, ch.Opened = e.Text("channel_type"), e.Target(), e.Time
}

// answered is a confirmation or a refusal.
func (c *Conn) answered(e *trace.Entry) {
	recipient, _ := e.Int("recipient_channel")
	ch := c.channels[e.Channel]
	window := 0
	if e.Dir == "out" { // the peer's open
		open := c.peers[recipient]
		if open == nil {
			return
		}
		delete(c.peers, recipient)
		ch = c.channel(e.Channel)
		ch.about(open)
		ch.window[0], _ = open.Int("initial_window_size")
		window = 1
	}
	if ch == nil {
		return
	}
	ch.OpenTook = e.Time - ch.Opened
	if e.Message == "CHANNEL_OPEN_FAILURE" {
		ch.Refused, ch.ended = e.Text("description"), true
		if ch.Refused == "" {
			ch.Refused = "reason " + e.Text("reason_code")
		}
		return
	}
	ch.confirmed = true
	ch.window[window], _ = e.Int("initial_window_size")
	c.mark("channel open", e.Time)
}

func (c *Conn) data(ch *Channel, e *trace.Entry, dir int) {
	n, _ := e.Int("data_length")
	ch.Bytes[dir] += n
	ch.Messages[dir]++
	if dir == 1 && ch.Messages[1] == 1 {
		ch.FirstByte = e.Time - (ch.Opened + ch.OpenTook)
		c.mark("first byte", e.Time)
	}
	if ch.window[dir] -= n; ch.window[dir] <= 0 && !ch.empty[dir] {
		ch.empty[dir], ch.emptied[dir] = true, e.Time
	}
}

// adjust opens the window of the sender dir.
func (ch *Channel) adjust(e *trace.Entry, dir int) {
	n, _ := e.Int("bytes_to_add")
	ch.window[dir] += n
	if ch.empty[dir] && ch.window[dir] > 0 {
		ch.empty[dir] = false
		ch.Stalls[dir]++
		ch.Stalled[dir] += e.Time - ch.emptied[dir]
	}
}

func (c *Conn) close(e *trace.Entry) {
	if ch := c.channels[e.Channel]; ch != nil {
		ch.Closed = e.Time
		if ch.ended { // both have said it: the number may come again
			delete(c.channels, e.Channel)
		}
		ch.ended = true
	}
}

// finish turns the marks into stages.
func (c *Conn) finish() {
	before := c.Start
	for _, name := range [...]string{"find", "ssm:StartSession", "data channel", "handshake", "look up", "connect", "version", "key exchange", "login", idle, "channel open", "first byte"} {
		at, ok := c.marks[name]
		if !ok || at < before {
			continue
		}
		c.Stages = append(c.Stages, Stage{name, at - before})
		before = at
	}
	for _, ch := range slices.Collect(maps.Values(c.channels)) {
		for dir := range 2 {
			if ch.empty[dir] && !ch.ended { // it waits still
				ch.Stalls[dir]++
				ch.Stalled[dir] += c.end - ch.emptied[dir]
			}
		}
	}
}
