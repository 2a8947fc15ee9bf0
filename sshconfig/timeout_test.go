package sshconfig

import (
	"testing"
	"time"
)

func TestChannelTimeout(t *testing.T) {
	c := &Config{ChannelTimeouts: []string{"agent-*=1m", "direct-tcpip=10m", "direct-*=1h", "global=1d", "x11-connection=0"}}
	for typ, want := range map[string]time.Duration{
		"auth-agent@openssh.com":         time.Minute,
		"agent-connect":                  time.Minute,
		"direct-tcpip":                   10 * time.Minute,
		"direct-streamlocal@openssh.com": time.Hour,
		"global":                         24 * time.Hour,
		"x11":                            0,
		"session":                        0,
	} {
		if got := c.ChannelTimeout(typ); got != want {
			t.Errorf("%s: %v, want %v", typ, got, want)
		}
	}
	c = &Config{ChannelTimeouts: []string{"*=5"}}
	if got := c.ChannelTimeout("session"); got != 5*time.Second {
		t.Errorf("*: session has %v", got)
	}
	if got := c.ChannelTimeout("global"); got != 0 {
		t.Errorf("*: all channels together have %v", got)
	}
}
