package sshconfig

import (
	"strings"
	"time"

	"github.com/adit-ssh/adit/internal/wildcard"
)

// channelNames are ChannelTimeout's words for types of channels that differ from
// those on the wire (ssh_config: ChannelTimeout).
var channelNames = map[string]string{
	"auth-agent": "agent-connection", "agent-connect": "agent-connection", "x11": "x11-connection", "tun": "tun-connection",
}

// allChannels stands for all channels together, and for no pattern.
const allChannels = "global"

// ChannelTimeout returns for how long a channel of a type, as in its CHANNEL_OPEN,
// may be without data; 0 is for ever. "global" is for all channels together. The
// first pattern that matches counts. What runs in a session makes no difference:
// session:shell and its like match none.
func (c *Config) ChannelTimeout(channelType string) time.Duration {
	name, _ := strings.CutSuffix(channelType, "@openssh.com")
	if said, ok := channelNames[name]; ok {
		name = said
	}
	for _, t := range c.ChannelTimeouts {
		pattern, limit, _ := strings.Cut(t, "=")
		matches := pattern == name
		if name != allChannels && pattern != allChannels {
			matches = wildcard.Match(pattern, name)
		}
		if matches {
			seconds, _ := parseTime(limit) // was checked
			return time.Duration(seconds) * time.Second
		}
	}
	return 0
}
