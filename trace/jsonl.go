package trace

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// SchemaVersion is the version of the JSON lines that this package writes, and
// the newest that it reads. It grows only when an old reader would understand a
// line wrongly; new fields and events do not count. TRACE.md has the schema.
const SchemaVersion = 1

// Header is a trace's first line.
type Header struct {
	Version int       // SchemaVersion
	Program string    // which program wrote it
	Began   time.Time // what the times of entries count from
	Level   Level
}

// jsonHeader is Header in a file.
type jsonHeader struct {
	Version int       `json:"adit_trace"`
	Program string    `json:"program"`
	Began   time.Time `json:"began"`
	Level   string    `json:"level"`
}

func (h Header) appendJSON(b []byte) []byte {
	line, err := json.Marshal(jsonHeader{h.Version, h.Program, h.Began, h.Level.String()})
	if err != nil {
		panic("BUG: a trace's header: " + err.Error())
	}
	return append(append(b, line...), '\n')
}

// appendJSON appends the entry as one line.
func (e *Entry) appendJSON(b []byte) []byte {
	b = append(b, `{"time":`...)
	b = strconv.AppendFloat(b, e.Time.Seconds(), 'f', 6, 64)
	b = append(b, `,"conn":`...)
	b = strconv.AppendInt(b, int64(e.Conn), 10)
	b = append(b, `,"event":`...)
	b = appendString(b, e.Event)
	if e.Dir != "" {
		b = fmt.Appendf(b, `,"dir":"%s","seq":%d,"size":%d,"number":%d,"message":`, e.Dir, e.Seq, e.Size, e.Number)
		b = appendString(b, e.Message)
	}
	if e.Channel >= 0 {
		b = append(b, `,"channel":`...)
		b = strconv.AppendInt(b, int64(e.Channel), 10)
	}
	b = append(b, `,"fields":{`...)
	for i, f := range e.Fields {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendString(b, f.Name), ':')
		b = appendValue(b, f.Value)
	}
	return append(b, "}}\n"...)
}

// appendString escapes what JSON and pages must not see; what is no UTF-8 turns
// into U+FFFD.
func appendString(b []byte, s string) []byte {
	q, err := json.Marshal(s)
	if err != nil {
		panic("BUG: a string in JSON: " + err.Error())
	}
	return append(b, q...)
}

func appendValue(b []byte, v any) []byte {
	switch v := v.(type) {
	case string:
		return appendString(b, v)
	case int64:
		return strconv.AppendInt(b, v, 10)
	case bool:
		return strconv.AppendBool(b, v)
	case []string:
		b = append(b, '[')
		for i, s := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendString(b, s)
		}
		return append(b, ']')
	}
	panic(fmt.Sprintf("BUG: a field of type %T", v))
}

// jsonEntry is Entry in a file.
type jsonEntry struct {
	Time    *float64        `json:"time"`
	Conn    int             `json:"conn"`
	Event   string          `json:"event"`
	Dir     string          `json:"dir"`
	Seq     uint32          `json:"seq"`
	Size    int             `json:"size"`
	Number  byte            `json:"number"`
	Message string          `json:"message"`
	Channel *int            `json:"channel"`
	Fields  json.RawMessage `json:"fields"`
}

// maxTime bounds the times in a file, in seconds: a century.
const maxTime = 3e9

// parseEntry reads one line.
func parseEntry(line []byte) (e Entry, err error) {
	var j jsonEntry
	if err := json.Unmarshal(line, &j); err != nil {
		if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			err = fmt.Errorf("%s can't be a %.40s", cmp.Or(t.Field, "an entry"), t.Value)
		}
		return e, err
	}
	switch {
	case j.Time == nil || j.Event == "":
		return e, fmt.Errorf("it has no time or no event")
	case !(*j.Time >= 0 && *j.Time < maxTime):
		return e, fmt.Errorf("time %v is none", *j.Time)
	case j.Dir != "" && j.Dir != "in" && j.Dir != "out":
		return e, fmt.Errorf("dir %.20q is neither in nor out", j.Dir)
	}
	e = Entry{Time: time.Duration(*j.Time * 1e9).Round(time.Microsecond), Conn: j.Conn, Event: j.Event, Dir: j.Dir,
		Seq: j.Seq, Size: j.Size, Number: j.Number, Message: j.Message, Channel: -1}
	if j.Channel != nil {
		e.Channel = *j.Channel
	}
	e.Fields, err = parseFields(j.Fields)
	return e, err
}

// parseFields keeps the order, which a map would lose.
func parseFields(raw json.RawMessage) (fs []Field, err error) {
	if len(raw) == 0 {
		return nil, nil
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, fmt.Errorf("fields are no object")
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, err
		}
		var v any
		if err := d.Decode(&v); err != nil {
			return nil, err
		}
		fs = append(fs, Field{name.(string), fieldValue(v)})
	}
	return fs, nil
}

func fieldValue(v any) any {
	switch v := v.(type) {
	case string, bool:
		return v
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		return v.String()
	case []any:
		list := []string{}
		for _, one := range v {
			list = append(list, valueText(fieldValue(one)))
		}
		return list
	}
	return fmt.Sprint(v)
}
