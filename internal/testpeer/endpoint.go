package testpeer

import (
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"testing"

	gossh "golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// Endpoint is an SSH server to connect to, a peer or ours, with all that a
// client needs to get in.
type Endpoint struct {
	// Addr is host:port.
	Addr string
	// HostKeys are the server's, and Authority, if not nil, is the key that
	// signed its host certificate.
	HostKeys  []gossh.PublicKey
	Authority gossh.PublicKey
	// User is the name to log in with, Key the key that is let in. Password is
	// too, where it is not empty; no client here uses it.
	User     string
	Key      *Key
	Password string
}

// Host returns the address without its port.
func (e *Endpoint) Host() string {
	host, _, err := net.SplitHostPort(e.Addr)
	if err != nil {
		panic("BUG: testpeer endpoint without a port: " + e.Addr)
	}
	return host
}

// Port returns the port.
func (e *Endpoint) Port() int {
	_, port, err := net.SplitHostPort(e.Addr)
	if err != nil {
		panic("BUG: testpeer endpoint without a port: " + e.Addr)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		panic("BUG: testpeer endpoint with port " + port)
	}
	return n
}

// KnownHosts writes a known_hosts file that pins the endpoint's host keys and
// returns its path.
func (e *Endpoint) KnownHosts(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "known_hosts")
	writeFile(t, path, e.knownHostsText())
	return path
}

func (e *Endpoint) knownHostsText() string {
	text := ""
	for _, key := range e.HostKeys {
		text += knownhosts.Line([]string{e.Addr}, key) + "\n"
	}
	if e.Authority != nil {
		text += "@cert-authority " + knownhosts.Line([]string{e.Addr}, e.Authority) + "\n"
	}
	return text
}

// ClientConfig is a golang.org/x/crypto/ssh configuration for the endpoint.
func (e *Endpoint) ClientConfig() *gossh.ClientConfig {
	config := &gossh.ClientConfig{
		User:    e.User,
		Auth:    []gossh.AuthMethod{gossh.PublicKeys(e.Key.Signer)},
		Timeout: patience,
		HostKeyCallback: func(_ string, _ net.Addr, key gossh.PublicKey) error {
			for _, k := range e.HostKeys {
				if string(k.Marshal()) == string(key.Marshal()) {
					return nil
				}
			}
			return fmt.Errorf("host key %s is none of the endpoint's", gossh.FingerprintSHA256(key))
		},
	}
	for _, k := range e.HostKeys {
		config.HostKeyAlgorithms = append(config.HostKeyAlgorithms, keyAlgorithms(k)...)
	}
	return config
}

func keyAlgorithms(k gossh.PublicKey) []string {
	if k.Type() == gossh.KeyAlgoRSA {
		return []string{gossh.KeyAlgoRSASHA256, gossh.KeyAlgoRSASHA512}
	}
	return []string{k.Type()}
}

// Server is a running peer. Log is what it said so far.
type Server struct {
	Endpoint
	Name string
	// Forwards says that the server opens direct-tcpip channels, Execs that it
	// runs `cat` as a command.
	Forwards, Execs bool

	log       *logBuffer
	authorize func(t testing.TB, line string) // nil if only Key is let in
}

// Authorize lets another key in, from now on. line is as in authorized_keys, and
// not every server knows the options in it. It needs sshd, dropbear or x/crypto.
func (s *Server) Authorize(t testing.TB, line string) {
	t.Helper()
	if s.authorize == nil {
		t.Fatalf("testpeer: %s lets no other keys in", s.Name)
	}
	s.authorize(t, line)
}

// appendTo authorizes by a file that is read for each login.
func appendTo(path string) func(testing.TB, string) {
	return func(t testing.TB, line string) {
		t.Helper()
		f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.WriteString(line + "\n")
		if cerr := f.Close(); err != nil || cerr != nil {
			t.Fatal(err, cerr)
		}
	}
}

// Log returns what the server said so far; empty for servers in this process.
func (s *Server) Log() string {
	if s.log == nil {
		return ""
	}
	return s.log.String()
}

// currentUser is who the test runs as: without root, a server can let nobody
// else in.
func currentUser(t testing.TB) *user.User {
	t.Helper()
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	return u
}
