//go:build unix

package control

import (
	"errors"
	"fmt"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/internal/forward"
)

// Forward is a running forward, and the words that it was asked for in.
type Forward struct {
	Spec    forward.Spec
	Running *adit.Forwarding
}

// errForward is a request that makes no sense; its text is OpenSSH's.
var errForward = errors.New("Invalid forwarding request") //lint:ignore ST1005 OpenSSH's words

// spec is the forward that a request means.
func (r *forwardRequest) spec() (forward.Spec, error) {
	s := forward.Spec{Remote: r.Type == forwardRemote}
	if r.ListenPort == pathPort {
		s.ListenPath = r.ListenHost
	} else {
		s.Bind, s.Port = r.ListenHost, uint16(r.ListenPort)
	}
	switch r.Type {
	case forwardDynamic:
		s.Dynamic = true
	case forwardRemote:
		s.Dynamic = r.ConnectPort == 0
	case forwardLocal:
		if r.ConnectPort == 0 {
			return s, errForward
		}
	default:
		return s, errForward
	}
	switch {
	case r.ListenPort == pathPort && s.ListenPath == "", r.Type == forwardDynamic && s.ListenPath != "":
		return s, errForward
	case s.Dynamic: // OpenSSH names "socks" as its target
	case r.ConnectHost == "":
		return s, errForward
	case r.ConnectPort == pathPort:
		s.TargetPath = r.ConnectHost
	default:
		s.Host, s.HostPort = r.ConnectHost, uint16(r.ConnectPort)
	}
	return s, nil
}

// requestOf is the request for a forward: spec's reverse.
func requestOf(s forward.Spec) *forwardRequest {
	r := &forwardRequest{Type: forwardLocal, ListenHost: s.Bind, ListenPort: uint32(s.Port), ConnectHost: s.Host, ConnectPort: uint32(s.HostPort)}
	if s.ListenPath != "" {
		r.ListenHost, r.ListenPort = s.ListenPath, pathPort
	}
	switch {
	case s.Dynamic:
		r.ConnectHost, r.ConnectPort = "socks", 0
	case s.TargetPath != "":
		r.ConnectHost, r.ConnectPort = s.TargetPath, pathPort
	}
	switch {
	case s.Remote:
		r.Type = forwardRemote
	case s.Dynamic:
		r.Type = forwardDynamic
	}
	return r
}

// describe is a forward in the words of OpenSSH's question (mux.c,
// format_forward).
func describe(s forward.Spec) string {
	bind := s.Bind
	switch {
	case s.ListenPath != "":
		bind = s.ListenPath
	case bind == "":
		bind = "LOCALHOST"
	}
	listen := fmt.Sprintf("%.200s:%d", bind, s.Port)
	switch {
	case s.Remote:
		return fmt.Sprintf("remote forward %s -> %.200s", listen, s.Target())
	case s.Dynamic:
		return fmt.Sprintf("dynamic forward %s -> *", listen)
	}
	return fmt.Sprintf("local forward %s -> %.200s", listen, s.Target())
}
