package testpeer

import (
	"fmt"
	"os/exec"
	"regexp"
	"testing"
)

var sshLocal = &Client{
	Name: "ssh -L", Rekeys: true, Compresses: true, HalfCloses: true,
	needs:   []string{"ssh"},
	refusal: regexp.MustCompile(`channel \d+: open failed: \w.*`),
	start: func(t testing.TB, s *tunnelSpec) *Tunnel {
		args := append(sshArgs(t, s), "-v", "-N")
		// "Local forwarding listening" comes before bind and listen.
		ready := regexp.MustCompile(`channel \d+: new port-listener`)
		p, port := startOnPort(t, s.name, ready, func(port int) *exec.Cmd {
			forward := fmt.Sprintf("127.0.0.1:%d:%s", port, s.target)
			return exec.Command("ssh", append(append(args, "-L", forward), s.Host())...)
		})
		return portTunnel(t, p, port)
	},
}

var sshStdio = &Client{
	Name: "ssh -W", Rekeys: true, Compresses: true, HalfCloses: true, Single: true,
	needs:   []string{"ssh"},
	refusal: regexp.MustCompile(`open failed: [^\n]+\n(?s:.*)stdio forwarding failed`),
	start: func(t testing.TB, s *tunnelSpec) *Tunnel {
		return stdioTunnel(t, s.name, exec.Command("ssh", append(sshArgs(t, s), "-W", s.target, s.Host())...))
	},
}

// SSHArgs are options for OpenSSH's ssh, scp and sftp that lead to the endpoint
// and use nothing of the user's own set-up. The host and what follows it is for
// the caller to add; ssh wants the port as -p, so that is among them.
func (e *Endpoint) SSHArgs(t testing.TB) []string {
	t.Helper()
	args := []string{"-F", "none", "-p", fmt.Sprint(e.Port()), "-l", e.User}
	for _, o := range []string{
		"BatchMode=yes", "StrictHostKeyChecking=yes", "UpdateHostKeys=no",
		"UserKnownHostsFile=" + e.KnownHosts(t), "GlobalKnownHostsFile=/dev/null",
		"IdentityAgent=none", "IdentitiesOnly=yes", "IdentityFile=" + e.Key.Path,
		"ExitOnForwardFailure=yes", "ControlPath=none",
	} {
		args = append(args, "-o", o)
	}
	return args
}

func sshArgs(t testing.TB, s *tunnelSpec) []string {
	args := s.SSHArgs(t)
	if s.RekeyBytes > 0 {
		args = append(args, "-o", fmt.Sprintf("RekeyLimit=%d", s.RekeyBytes))
	}
	if s.Compress {
		args = append(args, "-C")
	}
	return append(args, s.Args...)
}
