package view

import (
	"fmt"

	"github.com/adit-ssh/adit/trace"
)

// pageData is what opening a row shows. What rows have in common, the names of
// fields and the meanings, stands there once.
type pageData struct {
	Names    []string    `json:"names"`
	Meanings [][2]string `json:"meanings"` // what and where; the first is empty
	Rows     []pageFold  `json:"rows"`     // in the order of the page's

	names    map[string]int
	meanings map[[2]string]int
	unfolded int // messages of runs
}

// pageFold is what is folded into a row.
type pageFold struct {
	Meaning int           `json:"m"`
	Fields  []any         `json:"f"`           // an index of Names and a value, in turn
	Run     []pageMessage `json:"r,omitempty"` // a run's messages
	Left    int           `json:"l,omitempty"` // how many of them are left out
}

// pageMessage is a message of a run.
type pageMessage struct {
	Time   string `json:"t"`
	Label  string `json:"l"`
	Fields []any  `json:"f"`
}

// maxUnfolded is how many messages of runs a page has in all, lest a large trace
// make one that no browser opens.
const maxUnfolded = 200_000

// add adds a row.
func (d *pageData) add(r *row) {
	var f pageFold
	if r.entry == nil {
		f.Meaning = d.meaning("Not a message: it follows from the one below, which tells it.", "")
		d.Rows = append(d.Rows, f)
		return
	}
	f.Meaning = d.meaning(Explain(r.entry))
	if r.Count == 1 {
		f.Fields = d.fields(r.entry)
		d.Rows = append(d.Rows, f)
		return
	}
	field := func(name, value string) { f.Fields = append(f.Fields, d.name(name), value) }
	field("messages", fmt.Sprint(r.Count))
	if r.Bytes > 0 {
		field("bytes", fmt.Sprint(r.Bytes))
	}
	field("from", clock(r.Time))
	field("to", clock(r.Last))
	if took := r.Last - r.Time; took > 0 && r.Bytes > 0 && r.entry.Message != "CHANNEL_WINDOW_ADJUST" {
		field("rate", Bytes(int64(float64(r.Bytes)/took.Seconds()))+"/s")
	}
	for _, e := range r.run {
		if d.unfolded == maxUnfolded {
			f.Left = r.Count - len(f.Run)
			break
		}
		d.unfolded++
		f.Run = append(f.Run, pageMessage{clock(e.Time), messageLabel(e), d.fields(e)})
	}
	d.Rows = append(d.Rows, f)
}

// fields are those of an entry, safe to print.
func (d *pageData) fields(e *trace.Entry) (fields []any) {
	if e.Dir != "" {
		fields = append(fields, d.name("packet"), fmt.Sprintf("sequence number %d, %d bytes of payload", e.Seq, e.Size))
	}
	for _, f := range e.Fields {
		fields = append(fields, d.name(trace.NameText(f.Name)), trace.FieldText(f))
	}
	return fields
}

func (d *pageData) name(s string) int {
	i, ok := d.names[s]
	if !ok {
		if d.names == nil {
			d.names = map[string]int{}
		}
		i = len(d.Names)
		d.names[s] = i
		d.Names = append(d.Names, s)
	}
	return i
}

func (d *pageData) meaning(what, where string) int {
	if d.meanings == nil {
		d.meanings = map[[2]string]int{{}: 0}
		d.Meanings = [][2]string{{}}
	}
	m := [2]string{what, where}
	i, ok := d.meanings[m]
	if !ok {
		i = len(d.Meanings)
		d.meanings[m] = i
		d.Meanings = append(d.Meanings, m)
	}
	return i
}
