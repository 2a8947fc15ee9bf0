package testpeer

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	gossh "golang.org/x/crypto/ssh"
)

var dbclientLocal = &Client{
	Name: "dbclient -L", HalfCloses: true,
	needs: []string{"dbclient", "dropbearconvert"},
	start: func(t testing.TB, s *tunnelSpec) *Tunnel {
		port, err := freePort()
		if err != nil {
			t.Fatal(err)
		}
		p := start(t, s.name, dbclient(t, s, "-N", "-L", fmt.Sprintf("127.0.0.1:%d:%s", port, s.target)))
		return polledTunnel(t, p, port)
	},
}

var dbclientStdio = &Client{
	Name: "dbclient -B", HalfCloses: true, Single: true,
	needs: []string{"dbclient", "dropbearconvert"},
	start: func(t testing.TB, s *tunnelSpec) *Tunnel {
		return stdioTunnel(t, s.name, dbclient(t, s, "-B", s.target))
	},
}

func dbclient(t testing.TB, s *tunnelSpec, args ...string) *exec.Cmd {
	t.Helper()
	home := t.TempDir()
	key := filepath.Join(home, "id")
	run(t, exec.Command(find(t, "dropbearconvert"), "openssh", "dropbear", s.Key.Path, key))
	if err := os.Mkdir(filepath.Join(home, ".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	// Its known_hosts has no ports.
	text := ""
	for _, k := range s.HostKeys {
		text += s.Host() + " " + string(gossh.MarshalAuthorizedKey(k))
	}
	writeFile(t, filepath.Join(home, ".ssh", "known_hosts"), text)
	args = append([]string{"-i", key, "-p", fmt.Sprint(s.Port()), "-l", s.User}, args...)
	cmd := exec.Command("dbclient", append(append(args, s.Args...), s.Host())...)
	cmd.Env = cleanEnv(home)
	if cmd.Stdin == nil {
		cmd.Stdin = openNull(t)
	}
	return cmd
}

var plinkLocal = &Client{
	Name: "plink -L", Rekeys: true, Compresses: true, HalfCloses: true,
	needs:   []string{"plink", "puttygen"},
	refusal: regexp.MustCompile(`Forwarded connection refused by remote: \w.*`),
	start: func(t testing.TB, s *tunnelSpec) *Tunnel {
		ready := regexp.MustCompile(`Local port \S+ forwarding to `)
		args := plinkArgs(t, s)
		p, port := startOnPort(t, s.name, ready, func(port int) *exec.Cmd {
			return plink(t, s, args, "-v", "-N", "-L", fmt.Sprintf("127.0.0.1:%d:%s", port, s.target))
		})
		return portTunnel(t, p, port)
	},
}

var plinkStdio = &Client{
	Name: "plink -nc", Rekeys: true, Compresses: true, HalfCloses: true, Single: true,
	// 0.78 sends what it read before, and then does not look at its standard
	// input. sshd hides it by sending WINDOW_ADJUST often.
	Stalls:  true,
	needs:   []string{"plink", "puttygen"},
	refusal: regexp.MustCompile(`(?i)refused|failed`),
	start: func(t testing.TB, s *tunnelSpec) *Tunnel {
		return stdioTunnel(t, s.name, plink(t, s, plinkArgs(t, s), "-nc", s.target))
	},
}

func plinkArgs(t testing.TB, s *tunnelSpec) (home string) {
	t.Helper()
	home = t.TempDir()
	run(t, exec.Command("puttygen", s.Key.Path, "-O", "private", "-o", filepath.Join(home, "id.ppk")))
	sessions := filepath.Join(home, ".putty", "sessions")
	if err := os.MkdirAll(sessions, 0o700); err != nil {
		t.Fatal(err)
	}
	// There is no option for the rekey limit, only a saved session's setting.
	session := "Protocol=ssh\n"
	if s.RekeyBytes > 0 {
		session += fmt.Sprintf("RekeyBytes=%d\n", s.RekeyBytes)
	}
	writeFile(t, filepath.Join(sessions, "peer"), session)
	return home
}

func plink(t testing.TB, s *tunnelSpec, home string, args ...string) *exec.Cmd {
	t.Helper()
	options := []string{"-load", "peer", "-ssh", "-batch", "-noagent", "-noshare", "-no-antispoof",
		"-P", fmt.Sprint(s.Port()), "-l", s.User, "-i", filepath.Join(home, "id.ppk")}
	for _, k := range s.HostKeys {
		options = append(options, "-hostkey", strings.TrimSpace(gossh.FingerprintSHA256(k)))
	}
	if s.Compress {
		options = append(options, "-C")
	}
	cmd := exec.Command("plink", append(append(append(options, args...), s.Args...), s.Host())...)
	cmd.Env = cleanEnv(home)
	cmd.Stdin = openNull(t)
	return cmd
}
