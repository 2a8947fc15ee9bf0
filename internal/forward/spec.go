package forward

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Spec is one forward, as the command line or a configuration says it.
type Spec struct {
	// Remote makes the server listen, and us connect to the target (-R).
	Remote bool

	// Bind is the address or name to listen on: "" is loopback unless
	// Config.GatewayPorts, "*" is all interfaces, "localhost" always loopback.
	// Of a Remote one the server decides what it heeds (sshd_config,
	// GatewayPorts).
	Bind string
	// Port is the port to listen on; 0 lets the system choose, which OpenSSH
	// does not offer for local forwards.
	Port uint16
	// ListenPath is a unix socket to listen on instead of Bind and Port.
	ListenPath string

	// Dynamic makes it a proxy that takes its target from each client (-D, or -R
	// without a target).
	Dynamic bool
	// Host and HostPort are the target, as the side that connects reaches it.
	Host     string
	HostPort uint16
	// TargetPath is a unix socket instead of Host and HostPort.
	TargetPath string
}

// RequestAddr is Bind in tcpip-forward's words (RFC 4254, section 7.1): loopback
// is "localhost" and all interfaces are "", as OpenSSH's client asks for them.
func (s Spec) RequestAddr() string {
	switch s.Bind {
	case "":
		return "localhost"
	case "*":
		return ""
	}
	return s.Bind
}

// Target is what the forward leads to, as OpenSSH prints it: "host:port", a
// path, or "socks:0" for a proxy.
func (s Spec) Target() string {
	switch {
	case s.Dynamic:
		return "socks:0"
	case s.TargetPath != "":
		return s.TargetPath
	}
	return s.Host + ":" + strconv.Itoa(int(s.HostPort))
}

// String returns the form of the command line.
func (s Spec) String() string {
	target := s.target()
	listen := quote(s.ListenPath)
	if listen == "" {
		listen = strconv.Itoa(int(s.Port))
		if s.Bind != "" {
			listen = quote(s.Bind) + ":" + listen
		}
	}
	if s.Dynamic {
		return listen
	}
	return listen + ":" + target
}

func (s Spec) target() string {
	if s.TargetPath != "" {
		return quote(s.TargetPath)
	}
	return quote(s.Host) + ":" + strconv.Itoa(int(s.HostPort))
}

// quote writes a field so that fields reads it back.
func quote(s string) string {
	if !strings.ContainsAny(s, `:\`) && !strings.HasPrefix(s, "[") {
		return s
	}
	if !strings.Contains(s, "]") {
		return "[" + s + "]"
	}
	s = strings.NewReplacer(`\`, `\\`, `:`, `\:`).Replace(s)
	if strings.HasPrefix(s, "[") {
		s = `\` + s
	}
	return s
}

const (
	localForm   = "[bind_address:]port:host:hostport"
	remoteForm  = "[bind_address:]port[:host:hostport]"
	dynamicForm = "[bind_address:]port"
	targetForm  = "host:port"
)

// Limits of a field, in bytes: NI_MAXHOST and sun_path less their NUL.
const (
	maxHost = 1024
	maxPath = 107
)

// ParseLocal parses -L's argument: "[bind_address:]port:host:hostport", with a
// path to a unix socket for either side, or the older form with slashes. IPv6
// addresses stand in brackets. "*" and an empty bind address mean all
// interfaces. Ports may be names of services.
func ParseLocal(arg string) (Spec, error) {
	f, err := fields(arg, 3, 4)
	s := Spec{}
	if err == nil {
		err = s.both(f)
	}
	if err != nil {
		return Spec{}, specError("-L", arg, localForm, err)
	}
	return s, nil
}

// ParseRemote parses -R's argument: the forms of -L, or only what to listen on,
// which makes it a proxy (OpenSSH since 7.6).
func ParseRemote(arg string) (Spec, error) {
	f, err := fields(arg, 3, 4)
	s := Spec{Remote: true}
	switch {
	case err != nil:
	case len(f) == 1, len(f) == 2 && !f[1].path:
		s.Dynamic = true
		if len(f) == 2 && f[0].path {
			err = fmt.Errorf("%.64q is no port", f[0].text)
			break
		}
		err = s.listen(f)
	default:
		err = s.both(f)
	}
	if err != nil {
		return Spec{}, specError("-R", arg, remoteForm, err)
	}
	return s, nil
}

// both takes what to listen on and a target.
func (s *Spec) both(f []field) (err error) {
	switch {
	case len(f) == 2 && f[1].path, len(f) == 3 && f[2].path:
		s.TargetPath, err = f[len(f)-1].asPath()
		err = cmp.Or(s.listen(f[:len(f)-1]), err)
	case len(f) == 3 && f[0].path, len(f) == 3, len(f) == 4:
		last := len(f) - 2
		err = cmp.Or(s.listen(f[:last]), s.connect(f[last], f[last+1]))
	default:
		err = count(f)
	}
	return err
}

// ParseDynamic parses -D's argument.
func ParseDynamic(arg string) (Spec, error) {
	s := Spec{Dynamic: true}
	f, err := fields(arg, 2, 2)
	switch {
	case err != nil:
	case len(f) == 0 || len(f) > 2:
		err = count(f)
	case f[0].path || f[len(f)-1].path:
		err = errors.New("a proxy listens on a port, not on a path")
	default:
		err = s.listen(f)
	}
	if err != nil {
		return Spec{}, specError("-D", arg, dynamicForm, err)
	}
	return s, nil
}

// ParseStdio parses -W's argument: the target only, which may be a path.
func ParseStdio(arg string) (Spec, error) {
	var s Spec
	f, err := fields(arg, 0, 0)
	switch {
	case err != nil:
	case len(f) == 1 && f[0].path:
		s.TargetPath, err = f[0].asPath()
	case len(f) == 2:
		err = s.connect(f[0], f[1])
	default:
		err = count(f)
	}
	if err != nil {
		return Spec{}, specError("-W", arg, targetForm, err)
	}
	return s, nil
}

// ParseTarget is ParseStdio for those who only take host:port.
func ParseTarget(arg string) (host string, port uint16, err error) {
	s, err := ParseStdio(arg)
	if err == nil && s.TargetPath != "" {
		err = specError("-W", arg, targetForm, errors.New("a path is no host"))
	}
	return s.Host, s.HostPort, err
}

func specError(flag, arg, form string, err error) error {
	return fmt.Errorf("bad forwarding %.300q: %w; the form is %s %s", arg, err, flag, form)
}

func count(f []field) error {
	switch len(f) {
	case 0:
		return errors.New("it is empty")
	case 1:
		return errors.New("it has one field only")
	}
	n := strconv.Itoa(len(f))
	if len(f) > 4 {
		return errors.New("it has " + n + " fields; IPv6 addresses stand in brackets")
	}
	return errors.New("it has " + n + " fields")
}

// listen takes "path", "port" or "bind", "port".
func (s *Spec) listen(f []field) (err error) {
	if len(f) == 1 && f[0].path {
		s.ListenPath, err = f[0].asPath()
		return err
	}
	if len(f) == 2 {
		if s.Bind = "*"; f[0].text != "" {
			if s.Bind, err = f[0].asHost(); err != nil {
				return err
			}
		}
	}
	s.Port, err = f[len(f)-1].asPort(true)
	return err
}

// connect takes "host", "port".
func (s *Spec) connect(host, port field) (err error) {
	if s.Host, err = host.asHost(); err != nil {
		return err
	}
	s.HostPort, err = port.asPort(false)
	return err
}

// field is one part of a specification. It is a path if it has a slash in it,
// as OpenSSH decides it.
type field struct {
	text string
	path bool
}

func (f field) asPath() (string, error) {
	if len(f.text) > maxPath {
		return "", fmt.Errorf("a socket's path has at most %d bytes", maxPath)
	}
	if i := strings.IndexFunc(f.text, func(r rune) bool { return r < ' ' || r == 0x7f }); i >= 0 {
		return "", errors.New("a path has a control character")
	}
	return f.text, nil
}

func (f field) asHost() (string, error) {
	switch {
	case f.text == "":
		return "", errors.New("the host is missing")
	case f.path:
		return "", fmt.Errorf("%.64q is no host", f.text)
	case len(f.text) > maxHost:
		return "", fmt.Errorf("a host of %d bytes", len(f.text))
	}
	if i := strings.IndexFunc(f.text, func(r rune) bool { return r <= ' ' || r == 0x7f }); i >= 0 {
		return "", fmt.Errorf("the host %.64q has a blank or a control character", f.text)
	}
	return f.text, nil
}

// asPort parses a port number or the name of a service.
func (f field) asPort(zero bool) (uint16, error) {
	if n, err := strconv.ParseUint(f.text, 10, 16); err == nil {
		if n == 0 && !zero {
			return 0, errors.New("port 0 is no target")
		}
		return uint16(n), nil
	}
	if f.text == "" {
		return 0, errors.New("the port is missing")
	}
	n, err := net.LookupPort("tcp", f.text)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%.64q is no port from 1 to 65535 and no service's name", f.text)
	}
	return uint16(n), nil
}

// fields splits a specification at colons. A field in brackets is taken as it
// is; elsewhere a backslash protects the character behind it. One colon at the
// end is not counted, by OpenSSH neither. The old form of least to most fields
// with slashes is tried first.
func fields(arg string, least, most int) (f []field, err error) {
	arg = strings.TrimLeft(arg, " \t")
	if f = slashFields(arg, least, most); f != nil {
		return f, nil
	}
	for arg != "" {
		if arg[0] == '[' {
			end := strings.IndexByte(arg, ']')
			if end < 0 {
				return nil, errors.New("a bracket is not closed")
			}
			text, rest := arg[1:end], arg[end+1:]
			if rest != "" && rest[0] != ':' {
				return nil, fmt.Errorf("%.16q follows a bracket", rest)
			}
			f = append(f, field{text, strings.Contains(text, "/")})
			arg = strings.TrimPrefix(rest, ":")
			continue
		}
		var text []byte
		i := 0
		for ; i < len(arg) && arg[i] != ':'; i++ {
			if arg[i] == '\\' {
				if i++; i == len(arg) {
					return nil, errors.New("nothing follows the backslash")
				}
			}
			text = append(text, arg[i])
		}
		f = append(f, field{string(text), strings.Contains(string(text), "/")})
		arg = arg[min(i+1, len(arg)):]
	}
	return f, nil
}

// slashFields reads the form of OpenSSH before 6.7, [bind_address/]port or
// [bind_address/]port/host/hostport, which needs no brackets for IPv6. It takes
// only what can't be meant as paths: ports are numbers, and a colon is there
// only as part of an IPv6 address.
func slashFields(arg string, least, most int) (f []field) {
	parts := strings.Split(arg, "/")
	if len(parts) < max(2, least) || len(parts) > most {
		return nil
	}
	for i, text := range parts {
		if (len(parts)-i)%2 == 1 { // a port
			if _, err := strconv.ParseUint(text, 10, 16); err != nil {
				return nil
			}
		} else if strings.ContainsAny(text, ":[]\\") {
			if a, err := netip.ParseAddr(text); err != nil || !a.Is6() {
				return nil
			}
		} else if text == "" {
			return nil
		}
		f = append(f, field{text: text})
	}
	return f
}
