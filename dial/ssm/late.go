package ssm

import (
	"context"
	"net/http/httptrace"
	"sync/atomic"
	"time"
)

// lateAnswer is how long we wait for what StartSession says when nobody wants the session
// any more. AWS may have started it, and would keep it for its idle time, 20 minutes.
const lateAnswer = time.Second

// startSession calls StartSession. A session that comes when ctx has ended is ended too.
func (s *Service) startSession(ctx context.Context, in *startSession) (started dataChannel, err error) {
	err = s.api.callLate(ctx, lateAnswer, "StartSession", in, &started)
	if err == nil && ctx.Err() != nil {
		s.terminate(ctx, started.SessionID)
		err = context.Cause(ctx)
	}
	return started, err
}

// terminate ends a session by the API, in a second or not at all, whether ctx has ended or
// not.
func (s *Service) terminate(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lateAnswer)
	defer cancel()
	return s.api.call(ctx, "TerminateSession", &resumeSession{id}, nil)
}

// outlast returns a request's context that ends with ctx while the request has no
// connection, and from then on, when the server may have it, a while after ctx. stop ends
// it.
func outlast(ctx context.Context, late time.Duration) (sending context.Context, stop func()) {
	sending, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	var connected atomic.Bool
	sending = httptrace.WithClientTrace(sending, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
	})
	unwatch := context.AfterFunc(ctx, func() { // ends with sending
		if connected.Load() {
			timer := time.NewTimer(late)
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-sending.Done():
			}
		}
		cancel(context.Cause(ctx))
	})
	return sending, func() {
		unwatch()
		cancel(nil)
	}
}
