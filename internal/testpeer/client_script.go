package testpeer

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"
)

// scriptArgs are what every script of ours takes: the server, who we are, the
// target, when to ask for new keys (0 for the default), and whether to compress (0
// or 1).
func scriptArgs(s *tunnelSpec, identity, hosts string) []string {
	return []string{s.Host(), fmt.Sprint(s.Port()), s.User, identity, hosts,
		s.targetHost(), s.targetPort(), fmt.Sprint(s.RekeyBytes), map[bool]string{true: "1", false: "0"}[s.Compress]}
}

//go:embed scripts/paramiko_client.py
var paramikoScript string

var paramikoClient = &Client{
	Name: "paramiko", Rekeys: true, Compresses: true, HalfCloses: true,
	needs:   []string{"paramiko"},
	refusal: regexp.MustCompile(`refused: .*Connect failed`),
	start: func(t testing.TB, s *tunnelSpec) *Tunnel {
		return pythonTunnel(t, s, "paramiko", paramikoScript)
	},
}

//go:embed scripts/asyncssh_client.py
var asyncsshScript string

var asyncsshClient = &Client{
	Name: "asyncssh", Rekeys: true, Compresses: true, HalfCloses: true,
	needs:   []string{"asyncssh"},
	refusal: regexp.MustCompile(`refused: \w.*`),
	start: func(t testing.TB, s *tunnelSpec) *Tunnel {
		return pythonTunnel(t, s, "asyncssh", asyncsshScript)
	},
}

func pythonTunnel(t testing.TB, s *tunnelSpec, module, text string) *Tunnel {
	t.Helper()
	dir := t.TempDir()
	script := filepath.Join(dir, "client.py")
	writeFile(t, script, text)
	args := append([]string{"-W", "ignore", script}, scriptArgs(s, s.Key.Path, s.KnownHosts(t))...)
	cmd := exec.Command(find(t, module), args...)
	cmd.Env = cleanEnv(dir, "PYTHONUNBUFFERED=1")
	return scriptTunnel(t, s, cmd)
}

// scriptTunnel starts a client that says READY and its port.
func scriptTunnel(t testing.TB, s *tunnelSpec, cmd *exec.Cmd) *Tunnel {
	t.Helper()
	cmd.Stdin = openNull(t)
	p := start(t, s.name, cmd)
	m, err := p.waitLog(scriptReady)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(m[1])
	if err != nil {
		t.Fatal(err)
	}
	return portTunnel(t, p, port)
}

//go:embed scripts/libssh_client.c
var libsshSource string

var libsshClient = &Client{
	Name: "libssh", Rekeys: true, Compresses: true, HalfCloses: true, Single: true,
	needs:   []string{"gcc", "libssh"},
	refusal: regexp.MustCompile(`refused: .*Channel opening failure`),
	start: func(t testing.TB, s *tunnelSpec) *Tunnel {
		dir := t.TempDir()
		source, program := filepath.Join(dir, "client.c"), filepath.Join(dir, "client")
		writeFile(t, source, libsshSource)
		run(t, exec.Command(find(t, "gcc"), "-O1", "-Wall", "-Werror", "-o", program, source, "-lssh"))
		cmd := exec.Command(program, scriptArgs(s, s.Key.Path, s.KnownHosts(t))...)
		cmd.Env = cleanEnv(dir)
		return stdioTunnel(t, s.name, cmd)
	},
}

//go:embed scripts/otp_client.erl
var otpScript string

var otpTunnel = &Client{
	Name:  "otp tunnel",
	needs: []string{"otp"},
	start: func(t testing.TB, s *tunnelSpec) *Tunnel { return otpStart(t, s, "tunnel") },
}

var otpChannel = &Client{
	Name: "otp channel", Rekeys: true, Compresses: true, HalfCloses: true,
	needs:   []string{"otp"},
	refusal: regexp.MustCompile(`refused: .*open_error`),
	start:   func(t testing.TB, s *tunnelSpec) *Tunnel { return otpStart(t, s, "channel") },
}

func otpStart(t testing.TB, s *tunnelSpec, mode string) *Tunnel {
	t.Helper()
	// It looks for the key under its usual name.
	dir := t.TempDir()
	key, err := os.ReadFile(s.Key.Path)
	if err != nil {
		t.Fatal(err)
	}
	name := map[string]string{
		gossh.KeyAlgoED25519: "id_ed25519", gossh.KeyAlgoECDSA256: "id_ecdsa", gossh.KeyAlgoRSA: "id_rsa",
	}[s.Key.Public.Type()]
	writeFile(t, filepath.Join(dir, name), string(key))
	writeFile(t, filepath.Join(dir, "known_hosts"), s.knownHostsText())
	args := append([]string{mode}, scriptArgs(s, dir, "-")...)
	return scriptTunnel(t, s, erlang(t, find(t, "otp"), "otp_client", otpScript, args...))
}

var xcryptoClient = &Client{
	Name: "x/crypto", Rekeys: true, HalfCloses: true,
	refusal: regexp.MustCompile(`ssh: rejected: `),
	start: func(t testing.TB, s *tunnelSpec) *Tunnel {
		config := s.ClientConfig()
		config.RekeyThreshold = uint64(s.RekeyBytes)
		config.Timeout = 30 * time.Second
		client, err := gossh.Dial("tcp", s.Addr, config)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { client.Close() })
		return &Tunnel{open: func(ctx context.Context) (Stream, error) {
			c, err := client.DialContext(ctx, "tcp", s.target)
			if err != nil {
				return nil, err
			}
			t.Cleanup(func() { c.Close() })
			return c.(Stream), nil
		}}
	},
}
