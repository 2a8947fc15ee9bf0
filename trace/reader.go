package trace

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// maxLine bounds a line of a trace, in bytes. The longest that is written has a
// peer's text in which each character takes six bytes: 256 KiB of them in a message
// of SSH, and 1 MiB in one of Session Manager.
const maxLine = 8 << 20

// A FileError is a trace that cannot be read on, and where. What stands before
// that place is good.
type FileError struct {
	Line int // counts from 1
	// Cut is set when the trace stops short of its end: the program that wrote it
	// was killed, or still writes it.
	Cut bool
	// NotTrace is set when it is something else from the start.
	NotTrace bool
	Err      error
}

func (e *FileError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }
func (e *FileError) Unwrap() error { return e.Err }

// Reader reads a trace of JSON lines.
type Reader struct {
	Header Header
	lines  *bufio.Scanner
	line   int
	ended  bool
	lost   int64
}

// NewReader reads the first line. Errors are *FileError.
func NewReader(r io.Reader) (*Reader, error) {
	t := &Reader{lines: bufio.NewScanner(r), line: 1}
	t.lines.Buffer(nil, maxLine)
	if !t.lines.Scan() {
		err := t.lines.Err()
		if err == nil {
			return nil, &FileError{Line: 1, Cut: true, Err: errors.New("the file is empty")}
		}
		return nil, &FileError{Line: 1, NotTrace: errors.Is(err, bufio.ErrTooLong), Err: err}
	}
	first := t.lines.Bytes()
	var h jsonHeader
	if err := json.Unmarshal(first, &h); err != nil || h.Version <= 0 {
		if why := notTrace(first); err == nil || !bytes.HasPrefix(first, []byte(headerStart)) || t.lines.Scan() {
			return nil, &FileError{Line: 1, NotTrace: true, Err: why}
		}
		return nil, &FileError{Line: 1, Cut: true, Err: errMiddle}
	}
	if h.Version > SchemaVersion {
		return nil, &FileError{Line: 1, Err: fmt.Errorf("the trace has version %d of the schema, and this adit knows up to %d", h.Version, SchemaVersion)}
	}
	level, _ := ParseLevel(h.Level)
	t.Header = Header{h.Version, h.Program, h.Began, level}
	return t, nil
}

// headerStart is what a trace's first line begins with.
const headerStart = `{"adit_trace":`

// notTrace says what the file seems to be.
func notTrace(first []byte) error {
	switch {
	case bytes.HasPrefix(first, []byte("\x0a\x0d\x0d\x0a")), len(first) == 0:
		return errors.New("this may be a pcapng file, which is for Wireshark; adit trace reads JSON lines, as written by --trace FILE.jsonl")
	case strings.HasPrefix(string(first), textHeader):
		return errors.New("this is a trace as text, which is for people; adit trace reads JSON lines, as written by --trace FILE.jsonl")
	}
	return errors.New(`this is no trace of adit: no line {"adit_trace": …} stands first`)
}

// Next returns the next entry, and io.EOF behind the last one. Other errors are
// *FileError; nothing can be read behind one.
func (t *Reader) Next() (Entry, error) {
	if t.ended {
		return Entry{}, io.EOF
	}
	if !t.lines.Scan() {
		t.ended = true
		err := t.lines.Err()
		if err == nil {
			return Entry{}, &FileError{Line: t.line, Cut: true, Err: errors.New("the trace stops here, without its last line: the program was killed, or is still writing")}
		}
		return Entry{}, &FileError{Line: t.line + 1, Err: err}
	}
	t.line++
	e, err := parseEntry(t.lines.Bytes())
	if err != nil {
		t.ended = true
		cut := !t.lines.Scan()
		return Entry{}, &FileError{Line: t.line, Cut: cut, Err: lineError(err, cut)}
	}
	if e.Event == eventEnd {
		t.ended = true
		t.lost, _ = e.Int("lost")
		return Entry{}, io.EOF
	}
	return e, nil
}

// errMiddle is what is wrong with a last line that is not whole.
var errMiddle = errors.New("the trace stops in the middle of this line: the program was killed, or is still writing")

func lineError(err error, cut bool) error {
	if cut {
		return errMiddle
	}
	return fmt.Errorf("no entry of a trace: %w", err)
}

// Lost returns how many events the writer dropped, since the disk was slower
// than the connection. It is known behind the last entry.
func (t *Reader) Lost() int64 { return t.lost }

// ReadAll returns all entries up to the trace's end, or up to the place where it
// cannot be read on, with the *FileError that says which.
func (t *Reader) ReadAll() ([]Entry, error) {
	var all []Entry
	for {
		e, err := t.Next()
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		all = append(all, e)
	}
}
