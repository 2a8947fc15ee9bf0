package trace

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/adit-ssh/adit/internal/wire"
)

// Format is how a trace is written. Its methods append to b and are called by
// one goroutine: Begin once, Event for each event in its order, End once.
type Format interface {
	// Begin appends what a file begins with.
	Begin(b []byte, h Header) []byte
	// Event appends an event of connection conn, which counts from 1, or is 0 for
	// an event of none.
	Event(b []byte, conn int, at time.Time, e Event) []byte
	// End appends what a file ends with; lost events were dropped.
	End(b []byte, lost int64) []byte
}

// Limits of what waits for the disk. An event beyond them is lost, and counted:
// the connection never waits.
const (
	maxQueued      = 1 << 16  // events
	maxQueuedBytes = 64 << 20 // of what peers sent
)

// File is a Tracer that writes a trace. It is a Brancher: each connection has a
// number in it. Events are formatted and written by a goroutine of its own,
// which Close ends, and never hold up their connection.
type File struct {
	// Immutable.
	w      io.WriteCloser
	format Format
	header Header
	limit  int           // of queue
	wake   chan struct{} // capacity 1: there is something to do
	done   chan struct{} // closed when the goroutine has ended

	mu sync.Mutex
	// Guarded by mu.
	queue  []queued
	bytes  int // that queue holds
	lost   int64
	conns  int
	closed bool

	err error // of writing; owned by the goroutine, and by Close behind it
}

type queued struct {
	at   time.Time
	conn int
	e    Event
	lost int64 // events that were lost before this one
}

// Lost is where a trace has a gap: the disk was slower than the connection.
type Lost struct{ Events int64 }

// Name implements Event.
func (Lost) Name() string { return "trace:lost" }

// Level implements Event.
func (Lost) Level() Level { return LevelConn }

// eventEnd is a trace's last line.
const eventEnd = "trace:end"

// NewFile begins a trace of level in w, which it owns. program is what the
// header names as its writer. Close it, or its end is missing.
func NewFile(w io.WriteCloser, level Level, program string, format Format) *File {
	return newFile(w, level, program, format, maxQueued)
}

func newFile(w io.WriteCloser, level Level, program string, format Format, limit int) *File {
	f := &File{w: w, format: format, limit: limit, header: Header{SchemaVersion, program, time.Now(), level},
		wake: make(chan struct{}, 1), done: make(chan struct{})}
	go f.write() // ends with Close
	return f
}

// CreateFile is NewFile for a file of that name, which it makes with mode 0600.
// A file that is there already is emptied, and its mode set, too.
func CreateFile(name string, level Level, program string, format Format) (*File, error) {
	w, err := CreatePrivate(name)
	if err != nil {
		return nil, err
	}
	return NewFile(w, level, program, format), nil
}

// CreatePrivate creates or empties a file that nobody else may read. One that
// CreatePrivate has opened, and that was not closed yet, is an error on Unix: two
// programs would write between each other's lines.
func CreatePrivate(name string) (*os.File, error) {
	w, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	if info, serr := w.Stat(); serr == nil && info.Mode().IsRegular() {
		switch {
		case !lock(w):
			err = fmt.Errorf("%s: another program writes to it: name another file", name)
		default:
			if err = w.Chmod(0o600); err == nil { // before anything is in it
				err = w.Truncate(0)
			}
		}
	}
	if err != nil {
		w.Close()
		return nil, err
	}
	return w, nil
}

// Level implements Tracer.
func (f *File) Level() Level { return f.header.Level }

// Trace implements Tracer. The event belongs to no connection.
func (f *File) Trace(at time.Time, e Event) { f.put(0, at, e) }

// Branch implements Brancher.
func (f *File) Branch() Tracer {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.conns++
	return &branch{f, f.conns}
}

type branch struct {
	f    *File
	conn int
}

// Branch implements Brancher: of a connection that is made for this one, such as
// to a jump host.
func (b *branch) Branch() Tracer { return b.f.Branch() }

// Level implements Tracer.
func (b *branch) Level() Level { return b.f.header.Level }

// Trace implements Tracer.
func (b *branch) Trace(at time.Time, e Event) { b.f.put(b.conn, at, e) }

func (f *File) put(conn int, at time.Time, e Event) {
	size := f.holds(e)
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.closed:
		return
	case len(f.queue) >= f.limit || f.bytes+size > maxQueuedBytes:
		f.lost++
		return
	}
	f.queue = append(f.queue, queued{at, conn, e, f.lost})
	f.bytes += size
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// holds is how many bytes of a peer an event keeps in memory.
func (f *File) holds(e Event) (size int) {
	switch e := e.(type) {
	case Packet:
		switch e.Msg.(type) {
		case *wire.ChannelData, *wire.ChannelExtendedData:
			if f.header.Level < LevelData || e.Withheld {
				return 0
			}
		}
		return e.Size
	case Message:
		for _, field := range e.Fields {
			switch v := field.Value.(type) {
			case string:
				size += len(v)
			case []string:
				for _, s := range v {
					size += len(s)
				}
			}
		}
	}
	return size
}

// Close writes what waits, and the trace's end. It returns the first error of
// writing. Later events are dropped.
func (f *File) Close() error {
	f.mu.Lock()
	if !f.closed {
		f.closed = true
		close(f.wake)
	}
	f.mu.Unlock()
	<-f.done
	return f.err
}

// write is the goroutine. What it has formatted is in the file before it waits.
func (f *File) write() {
	defer close(f.done)
	f.flush(f.format.Begin(nil, f.header))
	var spare []queued
	var buf []byte
	told := int64(0)
	for {
		_, open := <-f.wake
		f.mu.Lock()
		batch := f.queue
		f.queue, f.bytes = spare[:0], 0
		f.mu.Unlock()
		buf = buf[:0]
		for i, q := range batch {
			if q.lost > told {
				buf = f.format.Event(buf, 0, q.at, Lost{q.lost - told})
				told = q.lost
			}
			buf = f.format.Event(buf, q.conn, q.at, q.e)
			batch[i] = queued{}
			if len(buf) > 1<<20 {
				f.flush(buf)
				buf = buf[:0]
			}
		}
		f.flush(buf)
		spare = batch
		if !open {
			break
		}
	}
	f.mu.Lock()
	lost := f.lost
	f.mu.Unlock()
	f.flush(f.format.End(nil, lost))
	if err := f.w.Close(); f.err == nil && err != nil {
		f.err = err
	}
}

func (f *File) flush(b []byte) {
	if f.err != nil || len(b) == 0 {
		return
	}
	if _, err := f.w.Write(b); err != nil {
		f.err = fmt.Errorf("write the trace: %w", err)
	}
}
