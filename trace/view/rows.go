package view

import (
	"fmt"
	"strings"
	"time"

	"github.com/adit-ssh/adit/trace"
)

// Columns of a ladder, from left to right. A connection's client stands left of
// its server, whichever of them is adit.
const (
	colProgram = iota // what connects to adit: psql, curl, standard input
	colClient
	colServer
	colTarget
	columns
)

// row is a line of a ladder: an arrow, or with from equal to to a note.
type row struct {
	Time, Last time.Duration // of the first and of the last of a run
	Conn       int
	Channel    int // ours, or -1
	from, to   int
	inferred   bool   // not seen, but it must have happened
	Label      string // safe to print
	Kind       string // "conn", "channel", "data", "note": what filters go by
	Count      int    // messages; more than one in a run
	Bytes      int64  // of data
	entry      *trace.Entry
	run        []*trace.Entry // all messages of a run
}

// Ladder is a recorded trace as a sequence diagram.
type Ladder struct {
	header trace.Header
	conns  []*conversation
}

// conversation is what a ladder knows of one connection.
type conversation struct {
	number  int
	role    string
	target  string
	stats   *Conn // nil for events of no connection
	rows    []row
	over    bool                   // it has ended
	opens   map[int]*trace.Entry   // CHANNEL_OPENs by us, by our number
	peers   map[int64]*trace.Entry // CHANNEL_OPENs by the peer, by its number
	rowOf   map[int64]int          // where those stand in the ladder
	stretch []row                  // messages with data that may be folded
}

// foldFrom is how many messages with data in a row are drawn as runs.
const foldFrom = 4

// NewLadder draws entries, in their order.
func NewLadder(h trace.Header, entries []trace.Entry) *Ladder {
	l := &Ladder{header: h}
	byNumber := map[int]*conversation{}
	stats := map[int]*Conn{}
	for _, c := range Count(entries).Conns {
		stats[c.Number] = c
	}
	for i := range entries {
		e := &entries[i]
		c := byNumber[e.Conn]
		if c == nil {
			c = &conversation{number: e.Conn, stats: stats[e.Conn], opens: map[int]*trace.Entry{}, peers: map[int64]*trace.Entry{}, rowOf: map[int64]int{}}
			byNumber[e.Conn] = c
			l.conns = append(l.conns, c)
		}
		l.add(c, e)
	}
	for _, c := range l.conns {
		l.flush(c)
	}
	return l
}

// gap draws that events are missing, in all connections that may have had them.
func (l *Ladder) gap(e *trace.Entry) {
	for _, c := range l.conns {
		if c.number != 0 && !c.over {
			l.flush(c)
			l.addEvent(c, e, row{Time: e.Time, Last: e.Time, Conn: c.number, Channel: -1, Count: 1, entry: e})
		}
	}
}

// add draws one entry.
func (l *Ladder) add(c *conversation, e *trace.Entry) {
	r := row{Time: e.Time, Last: e.Time, Conn: e.Conn, Channel: e.Channel, Count: 1, entry: e, Kind: "conn"}
	switch {
	case e.Event == (trace.Lost{}).Name():
		l.gap(e)
		return
	case e.Dir == "":
		l.flush(c)
		l.addEvent(c, e, r)
		return
	}
	r.from, r.to = colServer, colClient
	if (e.Dir == "out") != c.serves() {
		r.from, r.to = colClient, colServer
	}
	r.Label = messageLabel(e)
	if isData(e) {
		r.Kind = "data"
		r.Bytes, _ = e.Int("data_length")
		if n, ok := e.Int("bytes_to_add"); ok {
			r.Bytes = n
		}
		c.stretch = append(c.stretch, r)
		return
	}
	l.flush(c)
	if e.IsSSH() && e.Number >= 90 && e.Number <= 100 {
		r.Kind = "channel"
	}
	l.addMessage(c, e, r)
}

// serves reports whether adit stands on the right, where servers do.
func (c *conversation) serves() bool { return c.role == "server" || c.role == "agent" }

// isData reports whether a message is one of those that come in great numbers:
// data, and what is said about how much of it there may be, or was.
func isData(e *trace.Entry) bool {
	switch e.Message {
	case "CHANNEL_DATA", "CHANNEL_EXTENDED_DATA", "CHANNEL_WINDOW_ADJUST", "acknowledge":
		return true
	case "input_stream_data", "output_stream_data":
		return e.Text("payload_type") == "output"
	}
	return false
}

// addMessage draws a message that is not folded, and what it shows of the far
// side: that the server has connected, or somebody has connected to it.
func (l *Ladder) addMessage(c *conversation, e *trace.Entry, r row) {
	far := row{Time: e.Time, Last: e.Time, Conn: e.Conn, Channel: e.Channel, Count: 1, Kind: "note", inferred: true}
	switch e.Message {
	case "CHANNEL_OPEN":
		if sender, ok := e.Int("sender_channel"); e.Dir == "out" {
			c.opens[e.Channel] = e
		} else if ok {
			c.peers[sender] = e
			defer func() { c.rowOf[sender] = len(c.rows) - 1 }()
		}
		if strings.HasPrefix(e.Text("channel_type"), "forwarded-") {
			far.from, far.to, far.Label = colTarget, colServer, "connects from "+text(e.Originator())
			c.rows = append(c.rows, far)
		}
	case "CHANNEL_OPEN_CONFIRMATION", "CHANNEL_OPEN_FAILURE":
		open := c.opened(e)
		if recipient, _ := e.Int("recipient_channel"); open != nil && e.Dir == "out" && e.Channel >= 0 {
			c.rows[c.rowOf[recipient]].Channel = e.Channel // which the peer's open did not know
		}
		if open == nil || !strings.HasPrefix(open.Text("channel_type"), "direct-") {
			break
		}
		far.from, far.to = colServer, colTarget
		far.Label = "connected to " + text(open.Target())
		if e.Message == "CHANNEL_OPEN_FAILURE" {
			far.Label = "no connection to " + text(open.Target())
		}
		c.rows = append(c.rows, far)
	}
	c.rows = append(c.rows, r)
}

// opened returns the CHANNEL_OPEN that e answers.
func (c *conversation) opened(e *trace.Entry) *trace.Entry {
	recipient, _ := e.Int("recipient_channel")
	if e.Dir == "in" {
		return c.opens[int(recipient)]
	}
	return c.peers[recipient]
}

// addEvent draws what is no message.
func (l *Ladder) addEvent(c *conversation, e *trace.Entry, r row) {
	r.Kind = "note"
	r.from, r.to = colClient, colClient
	switch e.Event {
	case "connection:start":
		c.role, c.target = e.Text("role"), e.Text("target")
		r.Label = "connects to " + text(c.target)
		switch c.role {
		case "server":
			r.Label = "a client at " + text(e.Text("remote"))
		case "agent":
			r.Label = text(e.Text("remote")) + " connects"
		}
	case "connection:end":
		c.over = true
		r.Label = eventLabel(e)
	case "transport:version":
		r.from, r.to = colClient, colServer
		r.Label = "version lines " + text(e.Text("local")) + " and " + text(e.Text("peer"))
	case "forward:event":
		if l.addForward(e, &r); r.Label == "" {
			return
		}
	case "mux:channel_opened", "mux:channel_refused", "mux:channel_closed":
		if l.header.Level >= trace.LevelPacket {
			return // the messages say it
		}
		r.Label = eventLabel(e)
	default:
		r.Label = eventLabel(e)
	}
	if c.serves() && r.from == r.to && r.from == colClient {
		r.from, r.to = colServer, colServer
	}
	c.rows = append(c.rows, r)
}

// addForward draws what a local program does.
func (l *Ladder) addForward(e *trace.Entry, r *row) {
	spec, origin, target := text(e.Text("spec")), text(e.Text("originator")), text(e.Text("target"))
	local := e.Text("local") != "" || e.Text("originator") == "standard input"
	switch what := e.Text("what"); {
	case what == "listen":
		r.Label = "listens for " + spec
		if e.Text("local") != "" {
			r.Label = "listens on " + text(e.Text("local")) + " for " + spec
		}
	case what == "accept" && local && target != "":
		r.from, r.to = colProgram, colClient
		r.Label = origin + " wants " + target
	case what == "done":
		in, _ := e.Int("bytes_in")
		out, _ := e.Int("bytes_out")
		r.from, r.to = colProgram, colProgram
		r.Label = fmt.Sprintf("%s ended, %s out, %s in", origin, Bytes(out), Bytes(in))
	case what == "open":
		return // the confirmation says it
	default:
		r.Label = what + " " + origin + " " + target
	}
	if err := e.Text("error"); err != "" {
		r.Label += ": " + text(err)
	}
}

// flush draws the stretch of data that has ended: one by one, or as a run for
// each channel, direction and message.
func (l *Ladder) flush(c *conversation) {
	stretch := c.stretch
	c.stretch = nil
	if len(stretch) < foldFrom {
		c.rows = append(c.rows, stretch...)
		return
	}
	type key struct {
		channel, from int
		message       string
	}
	at := map[key]int{}
	for _, r := range stretch {
		k := key{r.Channel, r.from, r.entry.Message}
		i, ok := at[k]
		if !ok {
			at[k] = len(c.rows)
			r.run = []*trace.Entry{r.entry}
			c.rows = append(c.rows, r)
			continue
		}
		run := &c.rows[i]
		run.run = append(run.run, r.entry)
		run.Count++
		run.Bytes += r.Bytes
		run.Last = r.Time
		run.Label = fmt.Sprintf("%d × %s", run.Count, text(run.entry.Message))
		if run.Bytes > 0 {
			run.Label += ", " + Bytes(run.Bytes)
		}
	}
}

// messageLabel is a message in few words.
func messageLabel(e *trace.Entry) string {
	if e.Event == "ssm:message" {
		return sessionLabel(e)
	}
	label := fmt.Sprintf("%d %s", e.Number, text(e.Message))
	more := ""
	switch e.Message {
	case "CHANNEL_OPEN":
		more = text(e.Text("channel_type"))
		if t := e.Target(); t != "" {
			more += " " + text(t)
		}
	case "CHANNEL_OPEN_FAILURE", "DISCONNECT":
		more = text(e.Text("description"))
	case "CHANNEL_REQUEST":
		more = text(e.Text("request_type"))
	case "GLOBAL_REQUEST":
		more = text(e.Text("request_name"))
	case "USERAUTH_REQUEST":
		more = text(e.Text("method_name"))
	case "USERAUTH_FAILURE":
		more = text(e.Text("authentications_that_can_continue"))
	case "SERVICE_REQUEST", "SERVICE_ACCEPT":
		more = text(e.Text("service_name"))
	case "CHANNEL_DATA", "CHANNEL_EXTENDED_DATA":
		n, _ := e.Int("data_length")
		more = Bytes(n)
	case "CHANNEL_WINDOW_ADJUST":
		n, _ := e.Int("bytes_to_add")
		more = "+" + Bytes(n)
	case "AGENTC_EXTENSION":
		more = text(e.Text("extension_type"))
	case "AGENTC_SIGN_REQUEST", "AGENTC_ADD_IDENTITY", "AGENTC_ADD_ID_CONSTRAINED", "AGENTC_REMOVE_IDENTITY":
		more = text(e.Text("key"))
	}
	if more == "" {
		return label
	}
	return label + " " + more
}

// sessionLabel is a message of AWS's Session Manager in few words: its number, which
// acknowledgements name, and what it carries.
func sessionLabel(e *trace.Entry) string {
	label := text(e.Message)
	switch e.Message {
	case "acknowledge":
		return label + " #" + text(e.Text("acknowledged_sequence_number"))
	case "input_stream_data", "output_stream_data":
		label += fmt.Sprintf(" #%d ", e.Seq)
		if n, ok := e.Int("data_length"); ok {
			label += Bytes(n)
		} else {
			label += text(e.Text("payload_type"))
		}
		if flag := e.Text("flag"); flag != "" {
			label += " " + text(flag)
		}
		if e.Text("again") == "true" {
			label += ", again"
		}
	case "channel_closed":
		label += " " + text(e.Text("output"))
	}
	return label
}

// eventLabel is an event in few words.
func eventLabel(e *trace.Entry) string {
	switch e.Event {
	case "dial:stage":
		return text(e.Text("stage")) + " " + text(e.Text("address")) + " " + took(e) + failed(e)
	case "connection:up":
		return "connected " + text(e.Text("local")) + " to " + text(e.Text("remote")) + " " + took(e)
	case "connection:end":
		return "the connection ends" + failed(e)
	case "transport:negotiated":
		return "agreed on " + text(e.Text("kex")) + ", " + text(e.Text("cipher_out"))
	case "transport:kex_done":
		return "keys are there, " + text(e.Text("host_key_fingerprint")) + " " + took(e)
	case "transport:compressing":
		return "what is sent is compressed from here on"
	case "transport:compressed":
		size := func(field string) string {
			n, _ := e.Int(field)
			return Bytes(n)
		}
		return fmt.Sprintf("compression: %s out as %s, %s in as %s", size("raw_out"), size("compressed_out"), size("raw_in"), size("compressed_in"))
	case "userauth:attempt":
		return "login " + text(e.Text("user_name")) + " by " + text(e.Text("method_name")) + ": " + text(e.Text("result"))
	case "mux:channel_opened":
		return "open " + text(e.Text("channel_type")) + " " + text(e.Text("target"))
	case "mux:channel_refused":
		return "refused " + text(e.Text("channel_type")) + " " + text(e.Text("target")) + " " + text(e.Text("description"))
	case "mux:channel_closed":
		in, _ := e.Int("bytes_in")
		out, _ := e.Int("bytes_out")
		return fmt.Sprintf("closed, %s out, %s in", Bytes(out), Bytes(in))
	case "agent:decision":
		label := text(e.Text("operation"))
		if e.Text("refused") == "true" {
			return label + " is refused" + failed(e)
		}
		return label + " is granted"
	case "trace:lost":
		return e.Text("events") + " events are missing here"
	}
	return text(e.Event)
}

func failed(e *trace.Entry) string {
	if err := e.Text("error"); err != "" {
		return ": " + text(err)
	}
	return ""
}

func took(e *trace.Entry) string {
	us, _ := e.Int("took_us")
	return Span(time.Duration(us) * time.Microsecond)
}
