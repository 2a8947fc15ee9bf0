// Package forward is local forwarding: -L, -D and -W as OpenSSH's client has
// them, on top of anything that opens direct-tcpip channels.
//
// Nothing is sent to the server until somebody connects. Each TCP connection is
// one channel, with the true originator; names are looked up by the server.
// ParseLocal, ParseDynamic and ParseTarget read the command line's forms, Listen
// starts a Forwarder.
package forward

import (
	"fmt"
	"net"
	"strconv"
	"strings"
)

// Spec is one forward.
type Spec struct {
	// Bind is the address to listen on; "" is loopback, "*" everything.
	Bind string
	// Port is the local port; 0 lets the system choose.
	Port uint16
	// Dynamic makes it a proxy (-D) that takes its target from each client.
	Dynamic bool
	// Host and HostPort are the target, as the server reaches it.
	Host     string
	HostPort uint16
}

// String returns the form of the command line.
func (s Spec) String() string {
	local := strconv.Itoa(int(s.Port))
	if s.Bind != "" {
		local = bracket(s.Bind) + ":" + local
	}
	if s.Dynamic {
		return local
	}
	return local + ":" + bracket(s.Host) + ":" + strconv.Itoa(int(s.HostPort))
}

func bracket(host string) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}

const (
	localForm   = "[bind_address:]port:host:hostport"
	dynamicForm = "[bind_address:]port"
	targetForm  = "host:port"
)

// ParseLocal parses -L's argument. Fields are separated by colons, or by
// slashes; IPv6 addresses stand in brackets. "*" and an empty bind address mean
// all interfaces.
func ParseLocal(arg string) (Spec, error) {
	f, err := fields(arg)
	if err == nil && len(f) != 3 && len(f) != 4 {
		err = fmt.Errorf("it has %d fields", len(f))
	}
	if err != nil {
		return Spec{}, specError("-L", arg, localForm, err)
	}
	var s Spec
	if len(f) == 4 {
		s.Bind = orAll(f[0])
		f = f[1:]
	}
	if s.Port, err = port(f[0], true); err != nil {
		return Spec{}, specError("-L", arg, localForm, err)
	}
	if s.Host = f[1]; s.Host == "" {
		return Spec{}, specError("-L", arg, localForm, fmt.Errorf("the host is missing"))
	}
	if s.HostPort, err = port(f[2], false); err != nil {
		return Spec{}, specError("-L", arg, localForm, err)
	}
	return s, nil
}

// ParseDynamic parses -D's argument.
func ParseDynamic(arg string) (Spec, error) {
	f, err := fields(arg)
	if err == nil && len(f) != 1 && len(f) != 2 {
		err = fmt.Errorf("it has %d fields", len(f))
	}
	s := Spec{Dynamic: true}
	if err == nil {
		if len(f) == 2 {
			s.Bind = orAll(f[0])
		}
		s.Port, err = port(f[len(f)-1], true)
	}
	if err != nil {
		return Spec{}, specError("-D", arg, dynamicForm, err)
	}
	return s, nil
}

// ParseTarget parses -W's argument.
func ParseTarget(arg string) (host string, hostPort uint16, err error) {
	f, err := fields(arg)
	if err == nil && len(f) != 2 {
		err = fmt.Errorf("it has %d fields", len(f))
	}
	if err == nil && f[0] == "" {
		err = fmt.Errorf("the host is missing")
	}
	if err == nil {
		hostPort, err = port(f[1], false)
	}
	if err != nil {
		return "", 0, specError("-W", arg, targetForm, err)
	}
	return f[0], hostPort, nil
}

func specError(flag, arg, form string, err error) error {
	return fmt.Errorf("bad forwarding %q: %w; the form is %s %s", arg, err, flag, form)
}

func orAll(bind string) string {
	if bind == "" {
		return "*"
	}
	return bind
}

// fields splits at colons, or at slashes when there are any outside brackets.
func fields(arg string) (f []string, err error) {
	sep := byte(':')
	if plain, _, _ := strings.Cut(arg, "["); strings.Contains(plain, "/") {
		sep = '/'
	}
	for {
		if strings.HasPrefix(arg, "[") {
			end := strings.IndexByte(arg, ']')
			if end < 0 {
				return nil, fmt.Errorf("a bracket is not closed")
			}
			f = append(f, arg[1:end])
			arg = arg[end+1:]
			if arg == "" {
				return f, nil
			}
			if arg[0] != sep {
				return nil, fmt.Errorf("%q follows a bracket", arg)
			}
			arg = arg[1:]
			continue
		}
		i := strings.IndexByte(arg, sep)
		if i < 0 {
			return append(f, arg), nil
		}
		f = append(f, arg[:i])
		arg = arg[i+1:]
	}
}

// port parses a port number or the name of a service.
func port(s string, zero bool) (uint16, error) {
	if n, err := strconv.ParseUint(s, 10, 16); err == nil {
		if n == 0 && !zero {
			return 0, fmt.Errorf("port 0 is no target")
		}
		return uint16(n), nil
	}
	n, err := net.LookupPort("tcp", s)
	if err != nil || s == "" {
		return 0, fmt.Errorf("%q is no port", s)
	}
	return uint16(n), nil
}
