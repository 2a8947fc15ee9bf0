package setup

import (
	"io/fs"

	"github.com/adit-ssh/adit/internal/forward"
	"github.com/adit-ssh/adit/sshconfig"
)

// Forwards returns a configuration's forwards: those that listen on our side,
// then the remote ones.
func Forwards(c *sshconfig.Config) []forward.Spec {
	var specs []forward.Spec
	for _, f := range c.LocalForwards {
		specs = append(specs, forwardSpec(f, false))
	}
	for _, f := range c.RemoteForwards {
		specs = append(specs, forwardSpec(f, true))
	}
	return specs
}

func forwardSpec(f sshconfig.Forward, remote bool) forward.Spec {
	s := forward.Spec{Remote: remote, Bind: f.Bind, Port: uint16(f.Port), ListenPath: f.ListenPath, Dynamic: f.Dynamic,
		Host: f.Host, HostPort: uint16(f.HostPort), TargetPath: f.TargetPath}
	if f.BindGiven && f.Bind == "" {
		s.Bind = "*"
	}
	return s
}

// ForwardConfig returns what a configuration says of all forwards.
func ForwardConfig(c *sshconfig.Config) forward.Config {
	return forward.Config{
		GatewayPorts: c.GatewayPorts, Network: networks[c.AddressFamily], Permit: c.PermitRemoteOpen,
		// A mask of 0777 leaves no permissions, which is not the default.
		SocketMode:    fs.ModeSocket | 0o777&^fs.FileMode(c.StreamLocalBindMask),
		ReplaceSocket: c.StreamLocalBindUnlink,
	}
}

// networks are Go's names for AddressFamily's.
var networks = map[string]string{"any": "tcp", "inet": "tcp4", "inet6": "tcp6"}
