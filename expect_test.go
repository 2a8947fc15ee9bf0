package adit_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/bastion"
	aditdial "github.com/adit-ssh/adit/dial"
	"github.com/adit-ssh/adit/internal/testpeer"
	"github.com/adit-ssh/adit/internal/transport"
	"github.com/adit-ssh/adit/internal/wire"
	"github.com/adit-ssh/adit/trace"
	gossh "golang.org/x/crypto/ssh"
)

const numKexShareInit = 30 // KEX_ECDH_INIT (RFC 5656, section 7.1)

// dialExpecting dials and reports whether the client's share left before the
// server's KEXINIT came, how often it was sent, and what was agreed on.
func dialExpecting(t *testing.T, addr string, cfg adit.Config, p adit.Preference) (c *adit.Client, early bool, shares int, kex string) {
	t.Helper()
	rec := trace.NewRecorder(trace.LevelPacket, 1000)
	cfg.Expect, cfg.Tracer = p, rec
	c = dial(t, addr, &cfg)
	var nums []int
	for _, e := range rec.Records() {
		if p, ok := e.Event.(trace.Packet); ok && p.Err != nil {
			t.Errorf("the trace has message %d as %v", p.Num, p.Err)
		}
		if p, ok := e.Event.(trace.Packet); ok && p.Out {
			nums = append(nums, int(p.Num))
		} else if ok {
			nums = append(nums, -int(p.Num))
		}
		if n, ok := e.Event.(trace.Negotiated); ok {
			kex = n.Kex
		}
	}
	for _, n := range nums {
		if n == numKexShareInit {
			shares++
		}
	}
	return c, slices.Index(nums, numKexShareInit) < slices.Index(nums, -wire.NumKexInit), shares, kex
}

// guessing checks right and wrong guesses with one server.
func guessing(t *testing.T, addr string, cfg *adit.Config) {
	c, early, _, agreed := dialExpecting(t, addr, *cfg, adit.Preference{})
	if early {
		t.Error("a guess was sent though nothing is expected")
	}
	p, ok := c.Prefers()
	if !ok || p.Kex != agreed {
		t.Fatalf("to be expected is %v, %v; %s was agreed on", p, ok, agreed)
	}
	for _, p := range []adit.Preference{p, {Kex: p.Kex}} {
		c, early, shares, kex := dialExpecting(t, addr, *cfg, p)
		if !early || shares != 1 || kex != agreed {
			t.Errorf("expecting %v, rightly: early %v, %d shares sent, %s agreed on, want one before the server's KEXINIT and %s", p, early, shares, kex, agreed)
		}
		if again, _ := c.Prefers(); again.Kex != p.Kex {
			t.Errorf("with a guess %v is to be expected, without %v", again, p)
		}
	}
	if _, peer := c.Versions(); !transport.QuirksOf(peer).SkipsWrongGuess {
		if p.HostKey != "" {
			t.Errorf("%q may not skip a wrong guess, and yet %v is to be guessed", peer, p)
		}
		return
	}
	other := *cfg
	other.Kex = []string{"ecdh-sha2-nistp521", "curve25519-sha256"}
	wrong := adit.Preference{Kex: "ecdh-sha2-nistp521", HostKey: "ssh-ed25519"}
	if _, early, shares, _ := dialExpecting(t, addr, other, wrong); !early || shares != 2 {
		t.Errorf("expecting %v, wrongly: early %v, %d shares sent, want a second one", wrong, early, shares)
	}
	unknown := adit.Preference{Kex: "none-such", HostKey: "ssh-ed25519"}
	if _, early, _, _ := dialExpecting(t, addr, *cfg, unknown); early {
		t.Errorf("a guess of %v was sent", unknown)
	}
}

func TestExpect(t *testing.T) {
	t.Run("bastion", func(t *testing.T) {
		addr, cfg := serve(t, bastion.Permissions{})
		c := dial(t, addr, cfg)
		if p, ok := c.Prefers(); !ok || p.Kex != "mlkem768x25519-sha256" || p.HostKey != "ssh-ed25519" {
			t.Errorf("adit's own server prefers %v, %v", p, ok)
		}
		guessing(t, addr, cfg)
	})
	for name, start := range map[string]func(testing.TB) *testpeer.Server{
		"sshd": func(t testing.TB) *testpeer.Server { return testpeer.SSHD(t, testpeer.SSHDOptions{}) },
		"sshd that prefers what we have": func(t testing.TB) *testpeer.Server {
			return testpeer.SSHD(t, testpeer.SSHDOptions{Config: []string{"KexAlgorithms curve25519-sha256,ecdh-sha2-nistp256"}})
		},
		"dropbear": testpeer.Dropbear,
		"asyncssh": testpeer.AsyncSSH,
		"otp":      testpeer.OTP,
		"x/crypto": testpeer.XCrypto,
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			guessing(t, s.Addr, &adit.Config{User: s.User, CheckHostKey: adit.FixedHostKey(s.HostKeys[0]), Keys: adit.Keys(s.Key.Signer)})
		})
	}
}

// A server that has changed its mind costs a second connection, and nothing that
// a person would see.
func TestExpectWithoutHostKeyWrongly(t *testing.T) {
	s := testpeer.SSHD(t, testpeer.SSHDOptions{Config: []string{
		"KexAlgorithms ecdh-sha2-nistp256",
		"PerSourceMaxStartups 1", // the first connection must be gone when the second comes
	}})
	var dials, checks, unexpected int
	cfg := &adit.Config{
		User: s.User, Keys: adit.Keys(s.Key.Signer), Expect: adit.Preference{Kex: "curve25519-sha256"}, ConnectTimeout: time.Minute,
		CheckHostKey: func(host, algorithm string, key gossh.PublicKey) error {
			checks++
			return adit.FixedHostKey(s.HostKeys[0])(host, algorithm, key)
		},
		Dial: func(ctx context.Context, address string) (net.Conn, error) {
			dials++
			return dialTCP(ctx, address)
		},
		Unexpected: func() { unexpected++ },
	}
	c := dial(t, s.Addr, cfg)
	if p, ok := c.Prefers(); !ok || p.Kex != "ecdh-sha2-nistp256" || dials != 2 || checks != 1 || unexpected != 1 {
		t.Errorf("%d connections, %d checks of the host key, Unexpected was called %d times, to be expected next: %v, %v; want 2, 1, 1 and ecdh-sha2-nistp256",
			dials, checks, unexpected, p, ok)
	}
	s = testpeer.SSHD(t, testpeer.SSHDOptions{Config: []string{"KexAlgorithms ecdh-sha2-nistp256"}})
	nc, err := dialTCP(t.Context(), s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := adit.NewClient(t.Context(), nc, s.Addr, s.User, cfg); !errors.Is(err, adit.ErrExpect) || !strings.Contains(err.Error(), "it chooses ecdh-sha2-nistp256, not curve25519-sha256") {
		t.Errorf("NewClient: %v, want ErrExpect with both names", err)
	}
}

// Servers that leave are asked a second time only if our haste may be to blame.
func TestExpectFromServersThatLeave(t *testing.T) {
	kexInit := func(kex string) []byte {
		m := wire.KexInit{Kex: []string{kex}, HostKey: []string{"ssh-ed25519"}, CipherClient: []string{"aes128-gcm@openssh.com"},
			CipherServer: []string{"aes128-gcm@openssh.com"}, CompressionClient: []string{"none"}, CompressionServer: []string{"none"}}
		payload := m.Append(nil)
		pad := 4 + (8-(5+len(payload)+4)%8)%8
		packet := binary.BigEndian.AppendUint32(nil, uint32(1+len(payload)+pad))
		packet = append(append(packet, byte(pad)), payload...)
		return append(packet, make([]byte, pad)...)
	}
	version := []byte("SSH-2.0-OpenSSH_9.2\r\n")
	early := adit.Preference{Kex: "curve25519-sha256"}
	for name, c := range map[string]struct {
		says   []byte
		expect adit.Preference
		dials  int32
	}{
		"before its version line": {nil, early, 1},
		"before its KEXINIT":      {version, early, 2},
		"before its answer":       {slices.Concat(version, kexInit("curve25519-sha256")), early, 2},
		"having said nonsense":    {slices.Concat(version, []byte("0123456789abcdef0123456789abcdef")), early, 1},
		"nothing in common":       {slices.Concat(version, kexInit("none-such")), early, 1},
		"nothing expected":        {version, adit.Preference{}, 1},
		"a guess by the RFC":      {version, adit.Preference{Kex: "mlkem768x25519-sha256", HostKey: "ssh-ed25519"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			var dials atomic.Int32
			go func() {
				for {
					nc, err := l.Accept()
					if err != nil {
						return
					}
					dials.Add(1)
					bufio.NewReader(nc).ReadString('\n')
					nc.Write(c.says)
					nc.Close()
				}
			}()
			cfg := &adit.Config{User: "u", Expect: c.expect, CheckHostKey: func(string, string, gossh.PublicKey) error { return nil }}
			if _, err := adit.Dial(t.Context(), l.Addr().String(), cfg); err == nil || dials.Load() != c.dials {
				t.Errorf("%d connections, %v; want %d and an error", dials.Load(), err, c.dials)
			}
		})
	}
}

// The way to a server that leaves may end with an error of its own.
func TestExpectWhenTheWayEnds(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs a shell")
	}
	dials := 0
	cfg := &adit.Config{User: "u", Expect: adit.Preference{Kex: "curve25519-sha256"}, CheckHostKey: func(string, string, gossh.PublicKey) error { return nil },
		Dial: func(ctx context.Context, address string) (net.Conn, error) {
			dials++
			return aditdial.Command{Line: `sh -c 'printf "SSH-2.0-OpenSSH_9.2\r\n"; read version; exit 3'`}.Dial(ctx, address)
		}}
	if _, err := adit.Dial(t.Context(), "h", cfg); err == nil || errors.Is(err, adit.ErrExpect) || dials != 2 || !strings.Contains(err.Error(), "exited with status 3") {
		t.Errorf("%d connections, %v; want 2, and how the second one ended", dials, err)
	}
}

func dialTCP(ctx context.Context, address string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", address)
}
