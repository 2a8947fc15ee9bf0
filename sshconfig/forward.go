package sshconfig

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Forward is one LocalForward, RemoteForward or DynamicForward.
type Forward struct {
	// Bind is the address to listen on. Without BindGiven, it is for
	// GatewayPorts to say; with it, "" and "*" are all addresses.
	Bind      string
	BindGiven bool
	Port      int
	// ListenPath is a unix socket to listen on, instead of Bind and Port.
	ListenPath string

	// Dynamic is a proxy whose clients name the target.
	Dynamic bool
	// Host and HostPort, or TargetPath for a unix socket, are the target.
	Host       string
	HostPort   int
	TargetPath string

	Origin Origin
}

// listen and target are the halves of -G's line.
func (f *Forward) listen() string {
	switch {
	case f.ListenPath != "":
		return f.ListenPath
	case f.BindGiven:
		return fmt.Sprintf("[%s]:%d", f.Bind, f.Port)
	}
	return fmt.Sprint(f.Port)
}

func (f *Forward) target() string {
	switch {
	case f.TargetPath != "":
		return f.TargetPath
	case f.Dynamic:
		return "[socks]:0" // what -G says of a RemoteForward without a target
	}
	return fmt.Sprintf("[%s]:%d", f.Host, f.HostPort)
}

var errForward = errors.New("not a forward such as 8080 db.internal:5432")

// forwardLine reads the three keywords: the address to listen on, and the
// target, which only a DynamicForward lacks, or a RemoteForward that is one. On
// the command line the two may be one argument, as with -L, and port 0 lets the
// system choose.
func forwardLine(l *line) error {
	spec, err := l.need()
	if err != nil {
		return err
	}
	dynamic := l.name == "dynamicforward"
	if !dynamic {
		target, _ := l.next()
		switch {
		case target != "":
			spec += ":" + target
		case l.name == "remoteforward":
			// All of -R's argument may be one, with a target or without.
			_, err := parseForward(spec, false, true, l.r.o.Getenv)
			dynamic = err != nil || !l.from.CommandLine
		case l.from.CommandLine && strings.Count(spec, ":") > 1:
		case l.from.CommandLine && strings.Contains(spec, "/"):
		default:
			return errors.New("a target is missing, as in LocalForward 8080 db.internal:5432")
		}
	}
	f, err := parseForward(spec, dynamic, l.name == "remoteforward" || l.from.CommandLine, l.r.o.Getenv)
	if err != nil {
		return err
	}
	// OpenSSH keeps local and dynamic forwards in one list, without doubles.
	same := func(v value) bool { return *v.fwd == *f }
	for _, name := range []string{"localforward", "dynamicforward", "remoteforward"} {
		if (name == "remoteforward") == (l.name == "remoteforward") && slices.ContainsFunc(l.r.s[name], same) {
			return nil
		}
	}
	v := l.value("")
	v.fwd = f
	return l.add(v)
}

// parseForward reads [bind:]port:host:hostport with a path in place of either
// half, or [bind:]port alone (readconf.c, parse_forward). anyPort permits port 0.
func parseForward(spec string, dynamic, anyPort bool, getenv func(string) (string, bool)) (*Forward, error) {
	spec, err := expand(spec, nil, getenv)
	if err != nil {
		return nil, err
	}
	f := &Forward{Dynamic: dynamic}
	fields, ok := cutFields(strings.TrimLeft(spec, " \t\n\v\f\r"))
	if !ok {
		return nil, errForward
	}
	// The target is taken from the end, then the address from what is left.
	if !dynamic {
		switch n := len(fields); {
		case n > 0 && fields[n-1].path:
			f.TargetPath, fields = fields[n-1].text, fields[:n-1]
		case n > 1:
			f.Host = fields[n-2].text
			if f.HostPort, err = parsePort(fields[n-1].text); err != nil {
				return nil, err
			}
			fields = fields[:n-2]
		}
		if f.TargetPath == "" && f.HostPort == 0 || len(f.TargetPath) > maxPath || len(f.Host) > maxName {
			return nil, errForward
		}
	}
	switch {
	case len(fields) == 1 && fields[0].path:
		f.ListenPath = fields[0].text
	case len(fields) == 2:
		f.Bind, f.BindGiven = fields[0].text, true
		fallthrough
	case len(fields) == 1:
		if f.Port, err = parsePort(fields[len(fields)-1].text); err != nil {
			return nil, err
		}
	default:
		return nil, errForward
	}
	if f.ListenPath == "" && f.Port == 0 && !anyPort || len(f.ListenPath) > maxPath || len(f.Bind) > maxName {
		return nil, errForward
	}
	return f, nil
}

// Limits of a field in bytes: NI_MAXHOST and sun_path, less their NUL.
const (
	maxName = 1024
	maxPath = 107
)

// field is a part of a forward between colons; path tells that it has a slash.
type field struct {
	text string
	path bool
}

// cutFields splits at colons, but for those in [brackets] or after a backslash.
// OpenSSH takes four fields at most.
func cutFields(s string) (fields []field, ok bool) {
	for s != "" {
		var f field
		if s[0] == '[' {
			end := strings.IndexByte(s, ']')
			if end < 0 || end+1 < len(s) && s[end+1] != ':' {
				return nil, false
			}
			f.text, s = s[1:end], s[end+1:]
		} else {
			var b []byte
			for s != "" && s[0] != ':' {
				if s[0] == '\\' {
					if s = s[1:]; s == "" {
						return nil, false
					}
				}
				b = append(b, s[0])
				s = s[1:]
			}
			f.text = string(b)
		}
		f.path = strings.Contains(f.text, "/")
		s = strings.TrimPrefix(s, ":")
		if fields = append(fields, f); len(fields) > 4 {
			return nil, false
		}
	}
	return fields, true
}
