package view

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/adit-ssh/adit/trace"
)

// TextOptions say how a ladder is drawn in a terminal.
type TextOptions struct {
	Width   int  // in cells; 0 is 100, and less than 72 is 72
	Color   bool // a colour for each channel
	Explain bool // what messages mean, below them
}

// Bounds of a terminal's width.
const (
	minWidth     = 72
	defaultWidth = 100
	maxWidth     = 200
)

// pen draws a ladder's lines.
type pen struct {
	w     *bufio.Writer
	o     TextOptions
	lanes [columns]int // the cells of the columns
	width int
}

// WriteText draws the ladder with box-drawing characters. Everything else is
// printable ASCII.
func (l *Ladder) WriteText(w io.Writer, o TextOptions) error {
	if o.Width == 0 {
		o.Width = defaultWidth
	}
	p := &pen{w: bufio.NewWriter(w), o: o, width: min(max(o.Width, minWidth), maxWidth)}
	const left, side = 16, 11 // behind the time; between the outer lanes
	right := p.width - 6
	p.lanes = [columns]int{left, left + side, right - side, right}
	for i, c := range l.conns {
		if c.number == 0 {
			continue
		}
		if i > 0 {
			fmt.Fprintln(p.w)
		}
		fmt.Fprintf(p.w, "connection %d\n", c.number)
		p.head(c)
		for _, r := range c.rows {
			p.row(r)
		}
	}
	return p.w.Flush()
}

// names of the columns.
func (c *conversation) names() [columns]string {
	switch c.role {
	case "server":
		return [...]string{"program", "client", "adit", "target"}
	case "agent":
		return [...]string{"", "client", "adit", ""}
	case "ssm":
		return [...]string{"program", "adit", "gateway", "node"}
	}
	return [...]string{"program", "adit", "server", "target"}
}

func (p *pen) head(c *conversation) {
	line := p.blank()
	for i, name := range c.names() {
		copy(line[max(0, p.lanes[i]-len(name)/2):], []rune(name))
	}
	p.line("", line)
}

// blank is an empty line of cells.
func (p *pen) blank() []rune {
	line := make([]rune, p.width)
	for i := range line {
		line[i] = ' '
	}
	return line
}

// empty is a line with nothing but the lanes.
func (p *pen) empty() []rune {
	line := p.blank()
	for _, x := range p.lanes {
		line[x] = '│'
	}
	return line
}

// palette are colours that can be told apart on light and dark grounds.
var palette = [...]string{"36", "35", "33", "32", "34", "31"}

func (p *pen) line(color string, line []rune) {
	s := strings.TrimRight(string(line), " ")
	if p.o.Color && color != "" {
		s = "\x1b[" + color + "m" + s + "\x1b[0m"
	}
	fmt.Fprintln(p.w, s)
}

func (p *pen) row(r row) {
	color := ""
	if r.Channel >= 0 {
		color = palette[r.Channel%len(palette)]
	}
	label := r.Label
	if r.Channel >= 0 && r.entry != nil {
		label = fmt.Sprintf("[%d] %s", r.Channel, label)
	}
	line := p.empty()
	if r.entry != nil {
		copy(line, []rune(fmt.Sprintf("%11s", clock(r.Time))))
	}
	if r.from == r.to {
		p.note(line, color, r, label)
		return
	}
	a, b := p.lanes[min(r.from, r.to)], p.lanes[max(r.from, r.to)]
	var words []string
	if narrow := r.from == colProgram || r.to == colProgram || r.from == colTarget || r.to == colTarget; !narrow {
		words = wrap(label, b-a-7)
	}
	for x := a + 1; x < b; x++ {
		line[x] = '─'
		if r.inferred {
			line[x] = '╌'
		}
	}
	line[a], line[b] = '├', '▶'
	if r.from > r.to {
		line[a], line[b] = '◀', '┤'
	}
	if words == nil { // the side lanes have no room: the label stands in the middle
		p.beside(line, color, r, label)
		return
	}
	put(line, a+3, b-2, " "+words[0]+" ")
	p.line(color, line)
	more := words[1:]
	if r.Count == 1 && r.entry != nil && r.entry.Dir != "" {
		more = append(more, wrapUnits(details(r.entry, r.Label), b-a-7)...)
	}
	if p.o.Explain && r.entry != nil {
		if what, where := Explain(r.entry); what != "" {
			more = append(more, wrap("("+what+" "+where+")", b-a-7)...)
		}
	}
	for _, w := range more {
		if w == "" {
			continue
		}
		line := p.empty()
		put(line, a+4, b-1, w)
		p.line(color, line)
	}
}

// beside writes the label of an arrow at the side into the lane in the middle.
func (p *pen) beside(line []rune, color string, r row, label string) {
	a, b := p.lanes[colClient], p.lanes[colServer]
	for i, w := range wrap(label, b-a-4) {
		if i > 0 {
			line = p.empty()
		}
		at := a + 2
		if max(r.from, r.to) == colTarget {
			at = b - 1 - len([]rune(w))
		}
		put(line, at, b, w)
		p.line(color, line)
	}
}

// note writes beside a lane.
func (p *pen) note(line []rune, color string, r row, label string) {
	x := p.lanes[r.from]
	line[x] = '●'
	if r.from == colServer { // there is no room behind it
		p.beside(line, color, row{from: colServer, to: colTarget}, label)
		return
	}
	end := p.width - 1
	for i, w := range wrap(label, end-x-3) {
		if i > 0 {
			line = p.empty()
		}
		put(line, x+2, end, w+" ")
		p.line(color, line)
	}
}

// put writes s into cells [from, to).
func put(line []rune, from, to int, s string) {
	for i, r := range []rune(s) {
		if from+i < to && from+i < len(line) {
			line[from+i] = r
		}
	}
}

// details are what a ladder in a terminal tells of a message below its arrow:
// fields that its label does not tell.
func details(e *trace.Entry, label string) (units []string) {
	switch e.Message {
	case "KEXINIT":
		return []string{"first " + text(head(e.Text("kex_algorithms"))), text(head(e.Text("encryption_algorithms_client_to_server")))}
	case "CHANNEL_DATA", "CHANNEL_EXTENDED_DATA", "CHANNEL_WINDOW_ADJUST", "EXT_INFO":
		return nil
	}
	for _, f := range e.Fields {
		switch f.Name {
		case "channel_type", "service_name", "method_name", "request_name", "request_type", "description":
			if s, ok := f.Value.(string); ok && strings.Contains(label, text(s)) {
				continue
			}
		}
		units = append(units, trace.NameText(f.Name)+"="+trace.FieldText(f))
	}
	return units
}

func head(list string) string {
	first, _, _ := strings.Cut(list, ",")
	return first
}

// wrapUnits puts units into lines of n cells. A unit is broken only if it is
// longer than that.
func wrapUnits(units []string, n int) (lines []string) {
	line := ""
	for _, u := range units {
		if line != "" && len(line)+2+len(u) > n {
			lines, line = append(lines, line), ""
		}
		if len(u) > n {
			parts := wrap(u, n)
			lines, u = append(lines, parts[:len(parts)-1]...), parts[len(parts)-1]
		}
		if line != "" {
			line += ", "
		}
		line += u
	}
	return append(lines, line)
}

// wrap breaks s at spaces into lines of n cells; what is longer is broken, too.
func wrap(s string, n int) (lines []string) {
	n = max(n, 8)
	line := ""
	for word := range strings.FieldsSeq(s) {
		for len([]rune(word)) > n {
			if line != "" {
				lines, line = append(lines, line), ""
			}
			r := []rune(word)
			lines, word = append(lines, string(r[:n])), string(r[n:])
		}
		switch {
		case line == "":
			line = word
		case len([]rune(line))+1+len([]rune(word)) > n:
			lines, line = append(lines, line), word
		default:
			line += " " + word
		}
	}
	return append(lines, line)
}
