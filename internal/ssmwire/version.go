package ssmwire

import (
	"strconv"
	"strings"
)

// Versions at which programs began to behave otherwise. An agent that is newer
// than one of these does what its name says.
const (
	// AgentTerminates understands FlagTerminateSession.
	AgentTerminates = "2.3.722.0"
	// AgentMultiplexes speaks smux in sessions of type LocalPortForwarding.
	AgentMultiplexes = "3.0.196.0"
	// AgentNoKeepAlive leaves smux's keep-alive messages out.
	AgentNoKeepAlive = "3.1.1511.0"
)

// Versions that a client says it has, by which the agent chooses.
const (
	// ClientModern is a plugin that multiplexes and sends no keep-alives.
	ClientModern = "1.2.792.0"
	// ClientRaw is the last plugin to which the agent sends one plain stream.
	ClientRaw = "1.1.69.0"
)

// Newer reports whether a version of four numbers is greater than another. What
// is no such version is old, as in AWS's plugin.
func Newer(version, than string) bool {
	v, ok := numbers(version)
	t, _ := numbers(than)
	if !ok {
		return false
	}
	for i := range v {
		if v[i] != t[i] {
			return v[i] > t[i]
		}
	}
	return false
}

func numbers(version string) (n [4]uint64, ok bool) {
	parts := strings.Split(version, ".")
	if len(parts) != len(n) {
		return n, false
	}
	for i, p := range parts {
		v, err := strconv.ParseUint(p, 10, 32)
		if err != nil {
			return n, false
		}
		n[i] = v
	}
	return n, true
}
