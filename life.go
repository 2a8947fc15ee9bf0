package adit

import (
	"errors"
	"net"
	"sync"
	"time"

	"github.com/adit-ssh/adit/trace"
)

// life tells the tracer when a connection begins and ends.
type life struct {
	tracer trace.Tracer // nil: nobody wants to know
	began  time.Time
	over   sync.Once
}

// begin gives a connection its own Tracer (trace.Branch), in a copy of cfg.
func begin(cfg *Config, target string) (*Config, *life) {
	l := new(life)
	if cfg.Tracer == nil {
		return cfg, l
	}
	own := *cfg
	own.Tracer = trace.Branch(cfg.Tracer)
	l.tracer, l.began = own.Tracer, time.Now()
	trace.Emit(l.tracer, trace.ConnStart{Role: "client", Target: target})
	return &own, l
}

// up tells that the dialling is over.
func (l *life) up(nc net.Conn) {
	if l.tracer == nil {
		return
	}
	e := trace.ConnUp{Took: time.Since(l.began)}
	if a := nc.LocalAddr(); a != nil {
		e.Local = a.String()
	}
	if a := nc.RemoteAddr(); a != nil {
		e.Remote = a.String()
	}
	trace.Emit(l.tracer, e)
}

// end tells the connection's end, once. A nil life is of a connection that
// another program has.
func (l *life) end(err error) {
	if l == nil || l.tracer == nil {
		return
	}
	l.over.Do(func() {
		e := trace.ConnEnd{Took: time.Since(l.began)}
		if err != nil && !errors.Is(err, net.ErrClosed) {
			e.Err = err.Error()
		}
		trace.Emit(l.tracer, e)
	})
}
