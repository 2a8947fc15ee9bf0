package ssm

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"

	"github.com/adit-ssh/adit/internal/ssmsession"
)

func TestTemporary(t *testing.T) {
	refused := func(status int, code string) error { return &apiError{status: status, code: code} }
	for _, c := range []struct {
		err  error
		want bool
	}{
		{refused(400, "ThrottlingException"), true},
		{refused(400, "TargetNotConnected"), true},
		{refused(400, "EC2InstanceUnavailableException"), true},
		{refused(503, "HTTP status 503"), true},
		{refused(400, "AccessDeniedException"), false},
		{refused(400, "InvalidDocument"), false},
		{&credentialsError{refused(400, "AccessDenied")}, true},
		{&sendError{errors.New("connection refused")}, true},
		{&net.OpError{Op: "dial", Err: errors.New("no route")}, true},
		{fmt.Errorf("x: %w", context.DeadlineExceeded), true},
		{ssmsession.ErrNoAnswer, true},
		{&ssmsession.ClosedError{Output: "x"}, true},
		{&upgradeRefused{status: 403}, false},
		{&upgradeRefused{status: 502}, true},
		{&OfflineError{}, true},
		{&NotFoundError{}, false},
		{&AmbiguousError{}, false},
		{errCommandSlow, true},
		{&commandError{invocation{Status: "TimedOut"}}, true},
		{&commandError{invocation{Status: "Failed", ResponseCode: noSuchUser}}, false},
		{errNoInstance, false},
		{nil, false},
	} {
		if got := Temporary(c.err); got != c.want {
			t.Errorf("%v: %v, want %v", c.err, got, c.want)
		}
		if got := Temporary(&Error{Err: c.err}); c.err != nil && got != c.want {
			t.Errorf("%v in an Error: %v, want %v", c.err, got, c.want)
		}
	}
	if !Temporary(&bothWaysError{&Error{Err: refused(400, "AccessDeniedException")}, &Error{Err: errCommandSlow}}) {
		t.Error("of two ways one may pass, want true")
	}
}
