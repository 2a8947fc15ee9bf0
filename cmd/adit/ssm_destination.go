package main

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/adit-ssh/adit/sshconfig"
)

// ssmTargets are targets that may stand in a command line.
var ssmTargets = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[A-Za-z0-9_+=:,./][A-Za-z0-9_+=:,./\-]*$`)
})

// ssmDestination reads ssm://[user@]TARGET[?sessions=N], which is TARGET with a
// ProxyCommand that reaches it. The port of sshd there is -p's.
func ssmDestination(s string) (t sshconfig.Target, proxyCommand string, err error) {
	host, query, asked := strings.Cut(strings.TrimPrefix(s, "ssm://"), "?")
	t.Host = strings.TrimSuffix(host, "/")
	if i := strings.LastIndexByte(t.Host, '@'); i >= 0 {
		t.User, t.Host = t.Host[:i], t.Host[i+1:]
	}
	if !ssmTargets().MatchString(t.Host) {
		return t, "", fmt.Errorf("bad target %q: ssm://[USER@]TARGET[?sessions=N] is due, with TARGET as for adit ssm", s)
	}
	flags := ""
	if asked {
		value, ok := strings.CutPrefix(query, "sessions=")
		if n, err := strconv.ParseUint(value, 10, 8); !ok || err != nil || n < 1 || n > maxSessions {
			return t, "", fmt.Errorf("bad target %q: behind the question mark sessions=N is due, with N from 1 to %d", s, maxSessions)
		}
		flags = "--sessions=" + value + " "
	}
	return t, "adit ssm " + flags + t.Host + " %p", nil
}
