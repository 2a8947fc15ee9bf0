package agent

import (
	"cmp"
	"os"
)

// DefaultPath returns the path of the person's agent, for Socket: what SSH_AUTH_SOCK
// says. Windows' OpenSSH goes without the variable: where it is not set there, the path
// is that of its service, the named pipe \\.\pipe\openssh-ssh-agent. assumed says that
// nobody has named the path, so that it is no mistake if nobody listens. "" is no agent.
func DefaultPath() (path string, assumed bool) {
	path = os.Getenv("SSH_AUTH_SOCK")
	return cmp.Or(path, servicePipe), path == "" && servicePipe != ""
}
