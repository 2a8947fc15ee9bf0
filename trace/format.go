package trace

import (
	"fmt"
	"io"
	"time"
)

// JSON is the Format that TRACE.md describes: a line an event, for programs and
// for `adit trace`.
type JSON struct{ c conversations }

// Begin implements Format.
func (j *JSON) Begin(b []byte, h Header) []byte {
	j.c = conversations{h: h}
	return h.appendJSON(b)
}

// Event implements Format.
func (j *JSON) Event(b []byte, conn int, at time.Time, e Event) []byte {
	n := j.c.entry(conn, at, e)
	return n.appendJSON(b)
}

// End implements Format.
func (j *JSON) End(b []byte, lost int64) []byte {
	end := Entry{Time: max(0, time.Since(j.c.h.Began)), Event: eventEnd, Channel: -1, Fields: []Field{{"lost", lost}}}
	return end.appendJSON(b)
}

// textHeader is what a trace as text begins with.
const textHeader = "# adit trace"

// Lines is the Format for people: a line an event, in the words of the RFCs.
type Lines struct{ c conversations }

// Begin implements Format.
func (l *Lines) Begin(b []byte, h Header) []byte {
	l.c = conversations{h: h}
	return fmt.Appendf(b, "%s, by %s, from %s; times in seconds since then\n", textHeader, h.Program, h.Began.Format(time.RFC3339Nano))
}

// Event implements Format.
func (l *Lines) Event(b []byte, conn int, at time.Time, e Event) []byte {
	n := l.c.entry(conn, at, e)
	return append(append(b, n.Line()...), '\n')
}

// End implements Format.
func (l *Lines) End(b []byte, lost int64) []byte {
	if lost > 0 {
		b = fmt.Appendf(b, "# %d events were lost: the disk was slower than the connection\n", lost)
	}
	return append(b, "# end\n"...)
}

// conversations makes Entries of the events of several connections.
type conversations struct {
	h     Header
	conns map[int]*entries
}

func (c *conversations) entry(conn int, at time.Time, e Event) Entry {
	s := c.conns[conn]
	if s == nil {
		if c.conns == nil {
			c.conns = map[int]*entries{}
		}
		s = &entries{began: c.h.Began, conn: conn, data: c.h.Level >= LevelData}
		c.conns[conn] = s
	}
	n := s.entry(at, e)
	if _, ok := e.(ConnEnd); ok {
		delete(c.conns, conn)
	}
	return n
}

// Entries makes Entries of what a Recorder kept of one connection.
func Entries(records []Record) []Entry {
	if len(records) == 0 {
		return nil
	}
	s := &entries{began: records[0].Time, conn: 1}
	all := make([]Entry, 0, len(records))
	for _, r := range records {
		all = append(all, s.entry(r.Time, r.Event))
	}
	return all
}

// Line returns the entry as one line of printable ASCII: seconds, connection,
// direction, packet sequence number and size, message number and name, channel,
// fields.
func (e *Entry) Line() string {
	head := fmt.Sprintf("%11.6f #%d", e.Time.Seconds(), e.Conn)
	if e.Dir == "" {
		return fmt.Sprintf("%s    %s %s", head, quote(e.Event), FieldsText(e.Fields))
	}
	channel := ""
	if e.Channel >= 0 {
		channel = fmt.Sprintf(" [channel %d]", e.Channel)
	}
	return fmt.Sprintf("%s %s %3d %s seq=%d size=%d%s %s", head, arrow(e.Dir == "out"), e.Number, quote(e.Message), e.Seq, e.Size, channel, FieldsText(e.Fields))
}

// WriteEntries writes entries as a trace of JSON lines. Without whole it has no
// last line, as what it was made of.
func WriteEntries(w io.Writer, h Header, all []Entry, whole bool) error {
	b := h.appendJSON(nil)
	for i := range all {
		b = all[i].appendJSON(b)
		if len(b) > 1<<16 {
			if _, err := w.Write(b); err != nil {
				return err
			}
			b = b[:0]
		}
	}
	if whole {
		end := Entry{Event: eventEnd, Channel: -1, Fields: []Field{{"lost", int64(0)}}}
		if len(all) > 0 {
			end.Time = all[len(all)-1].Time
		}
		b = end.appendJSON(b)
	}
	_, err := w.Write(b)
	return err
}
