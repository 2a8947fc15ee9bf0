package testpeer

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	gossh "golang.org/x/crypto/ssh"
)

var servers = map[string]func(testing.TB) *Server{
	"sshd":     func(t testing.TB) *Server { return SSHD(t, SSHDOptions{}) },
	"dropbear": Dropbear,
	"tinysshd": TinySSH,
	"asyncssh": AsyncSSH,
	"otp":      OTP,
	"x/crypto": XCrypto,
}

// dialSSH connects with golang.org/x/crypto/ssh.
func dialSSH(t testing.TB, e *Endpoint) *gossh.Client {
	t.Helper()
	client, err := gossh.Dial("tcp", e.Addr, e.ClientConfig())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

// Every server does what it says, as golang.org/x/crypto/ssh sees it.
func TestServers(t *testing.T) {
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			client := dialSSH(t, &s.Endpoint)
			if s.Forwards {
				c, err := client.Dial("tcp", HashTarget(t).Addr)
				if err != nil {
					t.Fatal(err)
				}
				if err := Upload(c, 1<<20); err != nil {
					t.Error(err)
				}
				c.Close()
				if _, err := client.Dial("tcp", RefusedAddr(t)); err == nil {
					t.Error("a refused target was opened")
				}
			}
			if s.Execs {
				session, err := client.NewSession()
				if err != nil {
					t.Fatal(err)
				}
				want := "through the cat"
				if name == "otp" {
					want = "cat" // it echoes the command, and may end before it reads
				} else {
					session.Stdin = strings.NewReader(want)
				}
				out, err := session.Output("cat")
				if err != nil || !strings.Contains(string(out), want) {
					t.Errorf("cat said %q, %v; want %q", out, err, want)
				}
			}
		})
	}
}

func TestServersRefuseOtherKeys(t *testing.T) {
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			e := s.Endpoint
			e.Key = NewKey(t, "ed25519")
			if c, err := gossh.Dial("tcp", e.Addr, e.ClientConfig()); err == nil {
				c.Close()
				t.Error("let in with a key that is not authorized")
			}
			e = s.Endpoint
			e.HostKeys = []gossh.PublicKey{NewKey(t, "ed25519").Public}
			if c, err := gossh.Dial("tcp", e.Addr, e.ClientConfig()); err == nil {
				c.Close()
				t.Error("connected in spite of another host key")
			}
		})
	}
}

func TestSSHDOptions(t *testing.T) {
	for _, typ := range KeyTypes {
		t.Run(typ, func(t *testing.T) {
			s := SSHD(t, SSHDOptions{
				HostKeys: []string{typ}, UserKey: NewKey(t, typ), LogLevel: "DEBUG1",
				HostCertificate: true, Config: []string{"Ciphers aes256-ctr"},
			})
			client := dialSSH(t, &s.Endpoint)
			session, err := client.NewSession()
			if err != nil {
				t.Fatal(err)
			}
			out, err := session.Output("echo $((6*7))")
			if err != nil || !bytes.Equal(out, []byte("42\n")) {
				t.Errorf("echo: %q, %v", out, err)
			}
			for _, want := range []string{"aes256-ctr", "Accepted publickey for " + s.User} {
				if !strings.Contains(s.Log(), want) {
					t.Errorf("the log does not say %q", want)
				}
			}
			if s.Authority == nil || !strings.Contains(s.knownHostsText(), "@cert-authority [127.0.0.1]:"+fmt.Sprint(s.Port())) {
				t.Errorf("known_hosts has no authority:\n%s", s.knownHostsText())
			}
		})
	}
}

func TestCertify(t *testing.T) {
	Need(t, "ssh-keygen")
	ca, key := NewKey(t, "ed25519"), NewKey(t, "ecdsa")
	cert := key.Certify(t, ca, "user", []string{"alice", "bob"}, "-V", "+1h", "-O", "no-pty")
	if got := strings.Join(cert.ValidPrincipals, " "); got != "alice bob" || cert.CertType != gossh.UserCert {
		t.Errorf("certificate of type %d for %q", cert.CertType, got)
	}
	if _, ok := cert.Permissions.Extensions["permit-pty"]; ok {
		t.Error("permit-pty is there in spite of -O no-pty")
	}
	if string(cert.SignatureKey.Marshal()) != string(ca.Public.Marshal()) {
		t.Error("signed by another key")
	}
}

func TestServerLogsBounded(t *testing.T) {
	l := &logBuffer{changed: make(chan struct{})}
	n, err := io.Copy(l, io.LimitReader(noise(1), maxLog+100_000))
	if n != maxLog+100_000 || err != nil || len(l.String()) != maxLog {
		t.Errorf("the log took %d bytes (%v) and holds %d, want %d", n, err, len(l.String()), maxLog)
	}
}
