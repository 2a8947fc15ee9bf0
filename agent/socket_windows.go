package agent

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"strings"

	"github.com/Microsoft/go-winio"
	"golang.org/x/sys/windows"
)

// servicePipe is where OpenSSH's agent listens, a service, if it was enabled.
const servicePipe = `\\.\pipe\openssh-ssh-agent`

// IsPipe says whether a path is a named pipe of Windows. Looking what is there, as
// os.Stat does, would take a connection from whoever listens.
func IsPipe(path string) bool { return pipeOf(path) != "" }

// pipeOf returns the name of the pipe that a path means, "" for none. Slashes may lean
// either way, and one may be missing in front: ssh_config(5) makes one of two backslashes.
func pipeOf(path string) string {
	path = strings.ReplaceAll(path, "/", `\`)
	if strings.HasPrefix(path, `\.`) {
		path = `\` + path
	}
	if !strings.HasPrefix(path, `\\.\pipe\`) {
		return ""
	}
	return path
}

// Socket returns a Dialer of the agent that listens on a path: a named pipe such
// as \\.\pipe\openssh-ssh-agent, or a unix socket.
func Socket(path string) *Dialer {
	return &Dialer{Dial: func(ctx context.Context) (net.Conn, error) {
		if pipe := pipeOf(path); pipe != "" {
			return winio.DialPipeContext(ctx, pipe)
		}
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}}
}

// isAbsent says whether an agent could not be dialled since there is none. Go's ECONNREFUSED
// is not Windows', and Windows before 10 has no unix sockets.
func isAbsent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, windows.WSAECONNREFUSED) || errors.Is(err, windows.WSAEAFNOSUPPORT)
}
