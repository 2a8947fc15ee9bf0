package main

import (
	"context"
	"net/netip"
	"os"
	"strings"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/internal/forward"
)

// running is a forward that was started.
type running struct {
	Spec forward.Spec
	*adit.Forwarding
}

// port is the one that is listened on, also where it was chosen.
func (r *running) port() uint16 {
	if r.Spec.Port == 0 && r.Spec.ListenPath == "" {
		if addr, err := netip.ParseAddrPort(r.Addr().String()); err == nil {
			return addr.Port()
		}
	}
	return r.Spec.Port
}

// escapeCommand is ~C: a line that adds or ends forwards. It is typed, and
// answered, with the terminal as it was before the session.
func (i *interactive) escapeCommand() {
	if !i.a.session.commandLine {
		i.a.sayAs("ERROR", "commandline disabled")
		return
	}
	i.a.Prompter.(*terminal).give(i.keys, i.readCommandLine)
}

func (i *interactive) readCommandLine() {
	i.terminal.Restore()
	defer i.terminal.Raw()
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return
	}
	defer tty.Close()
	defer ignoreInterrupts()()
	tty.WriteString("\r\nssh> ")
	line, err := readLine(tty)
	if err != nil {
		return
	}
	if answer := i.commandLine(strings.TrimSpace(line)); answer != "" {
		i.a.sayAs("INFO", answer)
	}
}

const commandLineHelp = `Commands:
      -L[bind_address:]port:host:hostport    Request local forward
      -R[bind_address:]port:host:hostport    Request remote forward
      -D[bind_address:]port                  Request dynamic forward
      -KL[bind_address:]port                 Cancel local forward
      -KR[bind_address:]port                 Cancel remote forward
      -KD[bind_address:]port                 Cancel dynamic forward`

const localCommandHelp = `
      !args                                  Execute local command`

// commandLine obeys a line of ~C and returns what to say, in OpenSSH's words
// (clientloop.c, process_cmdline).
func (i *interactive) commandLine(line string) string {
	line = strings.TrimPrefix(line, "-")
	switch {
	case line == "":
		return ""
	case strings.ContainsAny(line[:1], "hH?"):
		if i.a.session.mayLocal {
			return commandLineHelp + localCommandHelp
		}
		return commandLineHelp
	case line[0] == '!' && i.a.session.mayLocal:
		runShell(context.Background(), line[1:])
		return ""
	}
	line, cancel := strings.CutPrefix(line, "K")
	if line == "" || !strings.Contains("LRD", line[:1]) {
		return "Invalid command."
	}
	kind, text := line[0], strings.TrimSpace(line[1:])
	if cancel {
		s, err := forward.ParseDynamic(text) // its form is that of all listeners
		if err != nil {
			return "Bad forwarding close specification."
		}
		return i.cancelForward(kind, s)
	}
	parse := map[byte]func(string) (forward.Spec, error){'L': forward.ParseLocal, 'R': forward.ParseRemote, 'D': forward.ParseDynamic}[kind]
	s, err := parse(text)
	if err != nil {
		return "Bad forwarding specification."
	}
	f, err := i.c.ForwardSpec(context.Background(), s, i.a.forwarding)
	if err != nil {
		return "Port forwarding failed: " + err.Error()
	}
	i.a.tellForward(s, f)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.forwards = append(i.forwards, &running{s, f})
	return "Forwarding port."
}

// cancelForward ends the forward that listens where at says, and its connections.
func (i *interactive) cancelForward(kind byte, at forward.Spec) string {
	i.mu.Lock()
	defer i.mu.Unlock()
	for n, f := range i.forwards {
		same := f.Spec.Remote == (kind == 'R') && (f.Spec.Remote || f.Spec.Dynamic == (kind == 'D'))
		if same && f.Spec.Bind == at.Bind && f.port() == at.Port && f.Spec.ListenPath == at.ListenPath {
			f.Close()
			i.forwards = append(i.forwards[:n:n], i.forwards[n+1:]...)
			return "Canceled forwarding."
		}
	}
	return "Unknown port forwarding."
}
