package adit_test

import (
	"slices"
	"testing"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/bastion"
	"github.com/adit-ssh/adit/internal/testpeer"
	"github.com/adit-ssh/adit/internal/transport"
	"github.com/adit-ssh/adit/internal/wire"
	"github.com/adit-ssh/adit/trace"
)

const numKexShareInit = 30 // KEX_ECDH_INIT (RFC 5656, section 7.1)

// dialExpecting dials and reports whether the client's share left before the
// server's KEXINIT came, and how often it was sent.
func dialExpecting(t *testing.T, addr string, cfg adit.Config, p adit.Preference) (c *adit.Client, early bool, shares int) {
	t.Helper()
	rec := trace.NewRecorder(trace.LevelPacket, 1000)
	cfg.Expect, cfg.Tracer = p, rec
	c = dial(t, addr, &cfg)
	var nums []int
	for _, e := range rec.Records() {
		if p, ok := e.Event.(trace.Packet); ok && p.Out {
			nums = append(nums, int(p.Num))
		} else if ok {
			nums = append(nums, -int(p.Num))
		}
	}
	for _, n := range nums {
		if n == numKexShareInit {
			shares++
		}
	}
	return c, slices.Index(nums, numKexShareInit) < slices.Index(nums, -wire.NumKexInit), shares
}

// guessing checks right and wrong guesses with one server.
func guessing(t *testing.T, addr string, cfg *adit.Config) {
	c, early, _ := dialExpecting(t, addr, *cfg, adit.Preference{})
	if early {
		t.Error("a guess was sent though nothing is expected")
	}
	if p, ok := c.Prefers(); ok {
		c, early, shares := dialExpecting(t, addr, *cfg, p)
		if !early || shares != 1 {
			t.Errorf("expecting %v, rightly: early %v, %d shares sent, want one before the server's KEXINIT", p, early, shares)
		}
		if again, _ := c.Prefers(); again != p {
			t.Errorf("with a guess the server prefers %v, without %v", again, p)
		}
	} else {
		t.Log("nothing can be guessed of this server")
	}
	if _, peer := c.Versions(); !transport.QuirksOf(peer).SkipsWrongGuess {
		if p, ok := c.Prefers(); ok {
			t.Errorf("%q may not skip a wrong guess, and yet %v is to be guessed", peer, p)
		}
		return
	}
	wrong := adit.Preference{Kex: "ecdh-sha2-nistp521", HostKey: "ssh-ed25519"}
	if _, early, shares := dialExpecting(t, addr, *cfg, wrong); !early || shares != 2 {
		t.Errorf("expecting %v, wrongly: early %v, %d shares sent, want a second one", wrong, early, shares)
	}
	unknown := adit.Preference{Kex: "none-such", HostKey: "ssh-ed25519"}
	if _, early, _ := dialExpecting(t, addr, *cfg, unknown); early {
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
