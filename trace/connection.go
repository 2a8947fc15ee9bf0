package trace

import (
	"context"
	"time"

	"github.com/adit-ssh/adit/internal/wire"
)

// Brancher is a Tracer that tells connections apart: each connection gets a
// Tracer of its own from it.
type Brancher interface {
	Tracer
	// Branch returns the Tracer of a connection that begins now.
	Branch() Tracer
}

// Branch returns what a connection that begins now is to use in the place of t,
// which may be nil.
func Branch(t Tracer) Tracer {
	if b, ok := t.(Brancher); ok {
		return b.Branch()
	}
	return t
}

type contextKey struct{}

// NewContext returns a context that carries a connection's Tracer to those who
// dial for it, as net/http/httptrace does. A nil Tracer changes nothing.
func NewContext(ctx context.Context, t Tracer) context.Context {
	if t == nil {
		return ctx
	}
	return context.WithValue(ctx, contextKey{}, t)
}

// FromContext returns the Tracer that NewContext put there, or nil.
func FromContext(ctx context.Context) Tracer {
	t, _ := ctx.Value(contextKey{}).(Tracer)
	return t
}

// Tee returns a Tracer that gives each event to all of ts that want its level.
// Those below LevelData are not given channel data. Nil ones are left out; with
// none left it is nil.
func Tee(ts ...Tracer) Tracer {
	var all tee
	for _, t := range ts {
		if t != nil {
			all = append(all, t)
		}
	}
	switch len(all) {
	case 0:
		return nil
	case 1:
		return all[0]
	}
	return all
}

type tee []Tracer

// Level implements Tracer.
func (t tee) Level() (l Level) {
	for _, one := range t {
		l = max(l, one.Level())
	}
	return l
}

// Trace implements Tracer.
func (t tee) Trace(at time.Time, e Event) {
	for _, one := range t {
		switch l := one.Level(); {
		case l < e.Level():
		case l < LevelData:
			one.Trace(at, withoutData(e))
		default:
			one.Trace(at, e)
		}
	}
}

// Branch implements Brancher.
func (t tee) Branch() Tracer {
	all := make(tee, len(t))
	for i, one := range t {
		all[i] = Branch(one)
	}
	return all
}

// withoutData takes data out of a message's event; its length stays.
func withoutData(e Event) Event {
	if m, ok := e.(Message); ok {
		return m.withoutData()
	}
	p, ok := e.(Packet)
	if !ok {
		return e
	}
	switch m := p.Msg.(type) {
	case *wire.ChannelData:
		c := *m
		c.Data = Withheld(len(m.Data))
		p.Msg = &c
	case *wire.ChannelExtendedData:
		c := *m
		c.Data = Withheld(len(m.Data))
		p.Msg = &c
	}
	return p
}

// withheld stands for channel data below LevelData.
var withheld [256 << 10]byte

// Withheld returns n bytes that stand for channel data in events below
// LevelData: the length is right, 256 KiB at most, the content is not there. All
// share their memory, which nobody may change.
func Withheld(n int) []byte { return withheld[:min(n, len(withheld))] }
