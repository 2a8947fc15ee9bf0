package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/dial"
	"github.com/adit-ssh/adit/internal/setup"
	"github.com/adit-ssh/adit/trace"
)

// checkProxy reaches the server by the way that the configuration says.
func (e *exam) checkProxy(ctx context.Context) bool {
	keyword, value, from := "AditProxy", "", "command line"
	switch {
	case e.conf.ProxyCommand != "":
		keyword, value, from = "ProxyCommand", e.conf.ProxyCommand, e.from("ProxyCommand")
	case e.conf.ProxyJump != "":
		keyword, value, from = "ProxyJump", e.conf.ProxyJump, e.from("ProxyJump")
	}
	e.skip(StageName, "", "the way there is "+keyword)
	c := Check{Stage: StageProxy, Status: OK, Text: oneLine(keyword + " " + withoutLogins(value)), Details: []string{"set by " + from}}
	if nested := e.nested(); nested != "" {
		c.Details = append(c.Details, nested)
	}
	began := time.Now()
	ctx, cancel := context.WithTimeoutCause(ctx, 2*e.limit, fmt.Errorf("no answer within %v", 2*e.limit))
	defer cancel()
	var err error
	e.nc, err = e.cfg.Dial(ctx, e.address)
	c.Took = time.Since(began)
	if err != nil {
		e.failProxy(&c, err)
	}
	e.add(c)
	return err == nil
}

// failProxy tells why the way is none.
func (e *exam) failProxy(c *Check, err error) {
	c.Status = Failed
	c.Details = append(c.Details, oneLine(err.Error()))
	c.Meaning, c.Fix = "the way to the server does not work", "check the proxy's name and port, and whether it may lead to this server"
	if e.conf.ProxyCommand != "" {
		c.Fix = "run the command by hand: an SSH server's version line must be the first thing that it prints"
	}
	if host := dial.JumpHost(err); host != "" {
		c.Meaning, c.Fix = "jump host "+oneLine(host)+" is where the way ends", "look at it alone: adit doctor "+oneLine(host)
	}
	if h, ok := errors.AsType[interface {
		error
		Hint() string
	}](err); ok && h.Hint() != "" {
		c.Fix = h.Hint()
	}
	if e.nested() != "" {
		c.Meaning, c.Fix = nestedMeaning, e.nestedFix()
	}
}

// proxyCheck returns the proxy's check, nil if there is none.
func (e *exam) proxyCheck() *Check {
	for i := range e.r.Checks {
		if e.r.Checks[i].Stage == StageProxy {
			return &e.r.Checks[i]
		}
	}
	return nil
}

// proxyFailed finds out whether the connection ended by the fault of the command
// that carried it, and changes the proxy's check then: that a command runs does
// not say that it gets anywhere.
func (e *exam) proxyFailed() bool {
	broken, ok := errors.AsType[*dial.Error](e.err)
	if !ok {
		return false
	}
	c := e.proxyCheck()
	if _, _, came := event[trace.Version](e); came || c == nil {
		return false
	}
	if v, ok := errors.AsType[*adit.VersionError](e.err); ok {
		for _, l := range v.Lines {
			c.Details = append(c.Details, "it sent: "+oneLine(l))
		}
	}
	e.failProxy(c, broken)
	return true
}

// warnNested warns of a command that got to the server and may log in elsewhere
// all the same: such scripts look at who started them.
func (e *exam) warnNested() {
	if c := e.proxyCheck(); c != nil && c.Status == OK && e.nested() != "" {
		c.Status, c.Meaning, c.Fix = Warning, nestedWarning, e.nestedFix()
	}
}

const (
	nestedMeaning = "the command logs in on another host with ssh, so that host's greeting comes where the server's version line belongs, and then silence"
	nestedWarning = "it works from here, but the command has an ssh that logs in on another host; started by another program it may take that way, and then nothing connects"
)

// nestedFix says what to have in its place.
func (e *exam) nestedFix() string {
	if h := e.conf.HostName; strings.HasPrefix(h, "i-") || strings.HasPrefix(h, "mi-") {
		return "give the instance a raw pipe: ProxyCommand adit ssm %h %p; if the script has to stay, take the ssh out of it"
	}
	return "let ssh be a pipe: ProxyCommand ssh -W %h:%p JUMPHOST, or better ProxyJump JUMPHOST"
}

// nested looks for an ssh in ProxyCommand that is no pipe, also in a script that
// it runs. It returns where, "" for none.
func (e *exam) nested() string { return nestedIn(e.conf.ProxyCommand, 0) }

var shells = []string{"sh", "bash", "dash", "zsh", "ksh"}

// nestedIn finds an ssh without -W and without a command on its host.
func nestedIn(command string, depth int) string {
	for _, w := range commands(command) {
		for len(w) > 0 && slices.Contains([]string{"exec", "command", "env", "nohup"}, w[0]) {
			w = w[1:]
		}
		if len(w) == 0 {
			continue
		}
		name := filepath.Base(w[0])
		if name == "ssh" && isLogin(w[1:]) {
			return "nested ssh: " + oneLine(strings.Join(w, " "))
		}
		if depth > 2 {
			continue
		}
		if slices.Contains(shells, name) {
			if i := slices.Index(w, "-c"); i > 0 && i+1 < len(w) {
				if found := nestedIn(w[i+1], depth+1); found != "" {
					return found
				}
				continue
			}
			if len(w) < 2 {
				continue
			}
			w = w[1:]
		}
		if found := nestedInScript(w[0], depth+1); found != "" {
			return found
		}
	}
	return ""
}

// maxScript is how much of a script is read, in bytes.
const maxScript = 256 << 10

func nestedInScript(path string, depth int) string {
	path = setup.Expand(path)
	fi, err := os.Stat(path)
	if err != nil || !fi.Mode().IsRegular() || fi.Size() > maxScript {
		return ""
	}
	b, err := os.ReadFile(path)
	first, _, _ := strings.Cut(string(b), "\n")
	if err != nil || !strings.HasPrefix(first, "#!") || !slices.ContainsFunc(shells, func(s string) bool { return strings.HasSuffix(strings.TrimSpace(first), s) }) {
		return ""
	}
	for i, line := range strings.Split(string(b), "\n") {
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		if found := nestedIn(line, depth); found != "" {
			return fmt.Sprintf("%s:%d: %s", path, i+1, found)
		}
	}
	return ""
}

// isLogin reports whether ssh's arguments make it log in: a host, no command, and
// neither -W, -N nor -s.
func isLogin(args []string) bool {
	const valued = "BbcDEeFIiJLlmOopQRSw"
	host := false
	for i := 0; i < len(args); i++ {
		a := args[i]
		switch {
		case host:
			return false // a command
		case a == "--":
		case strings.HasPrefix(a, "-") && len(a) > 1:
			for j := 1; j < len(a); j++ {
				if strings.IndexByte("WNsGVO", a[j]) >= 0 {
					return false
				}
				if strings.IndexByte(valued, a[j]) >= 0 {
					if j == len(a)-1 {
						i++
					}
					break
				}
			}
		default:
			host = true
		}
	}
	return host
}

// commands splits a shell's line into commands and those into words. Quotes are
// taken off; variables and tokens stay as they are.
func commands(line string) (all [][]string) {
	var words []string
	var word strings.Builder
	quote, inWord := byte(0), false
	end := func() {
		if inWord {
			words = append(words, word.String())
		}
		word.Reset()
		inWord = false
	}
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case quote != 0 && c == quote:
			quote = 0
		case c == '\\' && quote != '\'' && i+1 < len(line):
			i++
			word.WriteByte(line[i])
			inWord = true
		case quote != 0:
			word.WriteByte(c)
		case c == '\'' || c == '"':
			quote, inWord = c, true
		case c == ' ' || c == '\t':
			end()
		case strings.IndexByte(";|&(){}", c) >= 0 && !(c == '{' && i > 0 && line[i-1] == '$'):
			end()
			all, words = append(all, words), nil
		default:
			word.WriteByte(c)
			inWord = true
		}
	}
	end()
	return append(all, words)
}
