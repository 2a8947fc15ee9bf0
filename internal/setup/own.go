package setup

import (
	"context"
	"fmt"
	"net"
	"path"
	"regexp"
	"strings"
	"sync"

	"github.com/adit-ssh/adit/sshconfig"
)

// plainWords are command lines that mean to a shell what they look like: words
// between blanks. A word may begin with ~/.
var plainWords = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^ *((~/)?[A-Za-z0-9_@%+=:,./\-]+( +|$))+$`)
})

// own is what dials instead of a ProxyCommand that would start this program once
// more; nil if the command is another.
func (r *Route) own() func(context.Context, string) (net.Conn, error) {
	words := ownWords(r.Command)
	if words == nil || r.Own == nil || r.Jump != "" || r.Fdpass {
		return nil
	}
	dial := r.Own(words)
	if dial == nil {
		return nil
	}
	return func(ctx context.Context, _ string) (net.Conn, error) { return dial(ctx) }
}

// OwnCommand returns the words behind adit in a host's ProxyCommand, and nil if that is
// another command, or none. An error names the line.
func OwnCommand(c *sshconfig.Config) (words []string, err error) {
	if c.ProxyCommand == "" || c.ProxyUseFdpass {
		return nil, nil
	}
	line, err := c.ExpandProxyCommand()
	if err != nil {
		return nil, fmt.Errorf("%s: ProxyCommand: %w", c.Origin("ProxyCommand"), err)
	}
	return ownWords(line), nil
}

// ownWords returns what stands behind adit in a command line such as
//
//	/usr/local/bin/adit ssm i-0123456789abcdef0 22
//
// and nil for any other, among them all that a shell would have to read.
func ownWords(line string) []string {
	if !plainWords().MatchString(line) {
		return nil
	}
	words := strings.Fields(line)
	if len(words) > 0 && words[0] == "exec" {
		words = words[1:]
	}
	if len(words) < 2 || path.Base(words[0]) != "adit" {
		return nil
	}
	for i, w := range words {
		words[i] = Expand(w)
	}
	return words[1:]
}
