package main

import (
	"fmt"
	"regexp"
	"strings"
	"sync"

	"github.com/adit-ssh/adit/sshconfig"
)

// ssmTargets are targets that may stand in a command line.
var ssmTargets = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[A-Za-z0-9_+=:,./][A-Za-z0-9_+=:,./\-]*$`)
})

// ssmDestination reads ssm://[user@]TARGET, which is TARGET with a ProxyCommand
// that reaches it. The port of sshd there is -p's.
func ssmDestination(s string) (t sshconfig.Target, proxyCommand string, err error) {
	t.Host = strings.TrimSuffix(strings.TrimPrefix(s, "ssm://"), "/")
	if i := strings.LastIndexByte(t.Host, '@'); i >= 0 {
		t.User, t.Host = t.Host[:i], t.Host[i+1:]
	}
	if !ssmTargets().MatchString(t.Host) {
		return t, "", fmt.Errorf("bad target %q: ssm://[USER@]TARGET is due, with TARGET as for adit ssm", s)
	}
	return t, "adit ssm " + t.Host + " %p", nil
}
