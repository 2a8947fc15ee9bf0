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

// page is what the template draws. Rows are there to be read and printed without
// a script; their fields, and the messages of runs, are data that the script shows
// when a row is opened.
type page struct {
	Title, Program, Began, Level string
	Policy                       string
	CSS                          template.CSS
	JS                           template.JS
	Rows                         int
	Error                        string
	Conns                        []pageConn
	Data                         pageData
}

type pageConn struct {
	Number   int
	Title    string
	Names    [columns]string
	Stages   []pageStage
	Channels []pageChannel
	Blocks   []pageBlock
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

// pageBlock are rows that the browser draws together, once they come near: to look
// at each of ten thousand for each picture would take too long.
type pageBlock struct{ Rows []pageRow }

// blockRows is how many rows a block has.
const blockRows = 50

type pageRow struct {
	Time, Clock string // since the trace began; of the day
	Class       string
	Channel     int
	Kind, Label string
	Conn        int
	Tag         string // the channel, or nothing
}

// channelColors is how many colours the page has for channels.
const channelColors = 8

// WriteHTML draws the ladder as a page. broken is why the trace cannot be read
// to its end, or nil.
func (l *Ladder) WriteHTML(w io.Writer, broken error) error {
	hash := sha256.Sum256([]byte(ladderJS))
	p := page{
		Title: "adit trace", Program: text(l.header.Program), Began: l.header.Began.Format("2006-01-02 15:04:05 MST"), Level: l.header.Level.String(),
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
		pc, rows := l.pageConn(c), 0
		pc.Blocks, rows = l.blocks(c, &p.Data)
		p.Rows += rows
		p.Conns = append(p.Conns, pc)
	}
	if len(p.Conns) > 0 {
		p.Title = "adit trace: " + p.Conns[0].Title
	}
	return ladderPage().Execute(w, p)
}

func (l *Ladder) pageConn(c *conversation) pageConn {
	pc := pageConn{Number: c.number, Names: c.names()}
	s := c.stats
	if s == nil {
		return pc
	}
	pc.Title = s.whom()
	pc.Stages = pageStages(s)
	if s.RTTOf != "" {
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

// blocks are the rows of a connection; what opening them shows goes to data.
func (l *Ladder) blocks(c *conversation, data *pageData) (blocks []pageBlock, rows int) {
	for i := range c.rows {
		if rows%blockRows == 0 {
			blocks = append(blocks, pageBlock{})
		}
		rows++
		b := &blocks[len(blocks)-1]
		b.Rows = append(b.Rows, l.pageRow(&c.rows[i]))
		data.add(&c.rows[i])
	}
	return blocks, rows
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
	}
	return p
}
