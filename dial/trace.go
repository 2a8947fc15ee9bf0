package dial

import (
	"context"
	"net/netip"
	"time"

	"github.com/adit-ssh/adit/trace"
)

// step is a step of dialling, for the tracer of the connection that is being
// made (trace.FromContext). The zero value is for nobody.
type step struct {
	tracer trace.Tracer
	began  time.Time
	event  trace.DialStage
}

// begin begins a step.
func begin(ctx context.Context, stage Stage, address string) *step {
	s := &step{tracer: trace.FromContext(ctx)}
	if s.tracer != nil {
		s.began = time.Now()
		s.event = trace.DialStage{Stage: string(stage), Address: address}
	}
	return s
}

// found adds an address that a name has.
func (s *step) found(a netip.Addr) {
	if s.tracer != nil {
		s.event.Found = append(s.event.Found, a.String())
	}
}

// failed is end for an error that has the stage and the address in it, too.
func (s *step) failed(e *Error) {
	if e == nil {
		s.end(nil)
		return
	}
	s.end(e.Err)
}

// end tells how the step went.
func (s *step) end(err error) {
	if s.tracer == nil {
		return
	}
	s.event.Took = time.Since(s.began)
	if err != nil {
		s.event.Err = err.Error()
	}
	trace.Emit(s.tracer, s.event)
}
