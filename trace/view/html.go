package view

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/adit-ssh/adit/trace"
)

// The page is one file: it loads nothing, and its policy forbids to. Its only
// script is ours, whose hash the policy names, so that nothing that stands in a
// trace could run even if it were not escaped.
var (
	//go:embed ladder.css
	ladderCSS string
	//go:embed ladder.js
	ladderJS string
	//go:embed ladder.html
	ladderHTML string

	// Read when it is needed: every start of adit would pay for it.
	ladderPage = sync.OnceValue(func() *template.Template { return template.Must(template.New("ladder").Parse(ladderHTML)) })
)

// page is what the template draws.
type page struct {
	Title, Program, Began, Level string
	Policy                       string
	CSS                          template.CSS
	JS                           template.JS
	Rows                         int
	Error                        string
	Conns                        []pageConn
}

type pageConn struct {
	Number   int
	Title    string
	Names    [columns]string
	Stages   []pageStage
	Channels []pageChannel
	Rows     []pageRow
	RTT      string
}

// pageStage is a part of the bar that shows where the time went.
type pageStage struct {
	Name, Took string
	Share      float64 // percent
	Color      int
}

type pageChannel struct {
	Number, Color int
	What          string
}

type pageRow struct {
	Time, Clock string // since the trace began; of the day
	Class       string
	Channel     int
	Kind, Label string
	Conn        int
	Tag         string // the channel, or nothing
	Fields      []pageField
	What, Where string
}

type pageField struct{ Name, Value string }

// channelColors is how many colours the page has for channels.
const channelColors = 8

// WriteHTML draws the ladder as a page. broken is why the trace cannot be read
// to its end, or nil.
func (l *Ladder) WriteHTML(w io.Writer, broken error) error {
	hash := sha256.Sum256([]byte(ladderJS))
	p := page{
		Title: "adit trace", Program: l.header.Program, Began: l.header.Began.Format("2006-01-02 15:04:05 MST"), Level: l.header.Level.String(),
		Policy: "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; script-src 'sha256-" +
			base64.StdEncoding.EncodeToString(hash[:]) + "'",
		CSS: template.CSS(ladderCSS), JS: template.JS(ladderJS),
	}
	if broken != nil {
		p.Error = broken.Error()
	}
	for _, c := range l.conns {
		if c.number == 0 {
			continue
		}
		pc := l.pageConn(c)
		p.Rows += len(pc.Rows)
		p.Conns = append(p.Conns, pc)
	}
	if len(p.Conns) > 0 {
		p.Title = "adit trace: " + p.Conns[0].Title
	}
	return ladderPage().Execute(w, p)
}

func (l *Ladder) pageConn(c *conversation) pageConn {
	pc := pageConn{Number: c.number, Names: c.names()}
	for _, s := range l.stats.Conns {
		if s.Number != c.number {
			continue
		}
		pc.Title = "client of " + text(s.Target)
		if s.Role == "server" {
			pc.Title = "server of " + text(s.Target)
		}
		pc.Stages = pageStages(s)
		if s.RTT > 0 {
			pc.RTT = Span(s.RTT)
		}
		seen := map[int]int{}
		for _, ch := range s.Channels {
			what := text(ch.Type) + " " + text(ch.Target)
			if i, again := seen[ch.Number]; !again {
				seen[ch.Number] = len(pc.Channels)
				pc.Channels = append(pc.Channels, pageChannel{ch.Number, ch.Number % channelColors, what})
			} else if !strings.Contains(pc.Channels[i].What, what) && len(pc.Channels[i].What) < maxLabel {
				pc.Channels[i].What += ", " + what // the number was used again
			}
		}
	}
	for i := range l.rows {
		if l.rows[i].Conn == c.number {
			pc.Rows = append(pc.Rows, l.pageRow(&l.rows[i]))
		}
	}
	return pc
}

func pageStages(s *Conn) (stages []pageStage) {
	total := time.Duration(0)
	for _, st := range s.Stages {
		if st.Name != idle {
			total += st.Took
		}
	}
	if total == 0 {
		return nil
	}
	for i, st := range s.Stages {
		share := 100 * float64(st.Took) / float64(total)
		if st.Name == idle {
			share = 1 // it may be hours, and says nothing of the connection
		}
		stages = append(stages, pageStage{st.Name, Span(st.Took), share, i % channelColors})
	}
	return stages
}

func (l *Ladder) pageRow(r *row) pageRow {
	p := pageRow{Time: clock(r.Time), Clock: l.header.Began.Add(r.Time).Format("15:04:05.000000"), Channel: r.Channel,
		Kind: r.Kind, Label: r.Label, Conn: r.Conn}
	dir := "right"
	switch {
	case r.from == r.to:
		dir = "note"
	case r.from > r.to:
		dir = "left"
	}
	p.Class = fmt.Sprintf("r %s a%d b%d", dir, min(r.from, r.to), max(r.from, r.to))
	if r.inferred {
		p.Class += " inferred"
	}
	if r.Count > 1 {
		p.Class += " run"
	}
	if r.Channel >= 0 {
		p.Class += fmt.Sprintf(" c%d", r.Channel%channelColors)
		p.Tag = fmt.Sprint(r.Channel)
	}
	if r.entry == nil {
		p.Time, p.Clock = "", ""
		p.What = "Not a message: it follows from the one below, which tells it."
		return p
	}
	p.What, p.Where = Explain(r.entry)
	if r.Count > 1 {
		p.Fields = []pageField{{"messages", fmt.Sprint(r.Count)}, {"bytes", fmt.Sprint(r.Bytes)}, {"from", Span(r.Time)}, {"to", Span(r.Last)}}
		if d := r.Last - r.Time; d > 0 && r.entry.Message != "CHANNEL_WINDOW_ADJUST" {
			p.Fields = append(p.Fields, pageField{"rate", Bytes(int64(float64(r.Bytes)/d.Seconds())) + "/s"})
		}
		return p
	}
	if r.entry.Dir != "" {
		p.Fields = append(p.Fields, pageField{"packet", fmt.Sprintf("sequence number %d, %d bytes of payload", r.entry.Seq, r.entry.Size)})
	}
	for _, f := range r.entry.Fields {
		p.Fields = append(p.Fields, pageField{trace.NameText(f.Name), trace.FieldText(f)})
	}
	return p
}
