package adit_test

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/internal/testnet"
	"github.com/adit-ssh/adit/internal/testpeer"
)

// rotating is a server that tells its host keys and proves them.
type rotating struct {
	announced []gossh.PublicKey
	prove     func(c *gossh.ServerConn, blobs [][]byte) (ok bool, reply []byte) // nil: never answers
	passwords chan string
}

func strs(blobs ...[]byte) (b []byte) {
	for _, s := range blobs {
		b = append(b, gossh.Marshal(struct{ S []byte }{s})...)
	}
	return b
}

func (r *rotating) serve(t *testing.T, nc net.Conn, host gossh.Signer) {
	config := &gossh.ServerConfig{PasswordCallback: func(_ gossh.ConnMetadata, p []byte) (*gossh.Permissions, error) {
		r.passwords <- string(p)
		return nil, nil
	}}
	config.AddHostKey(host)
	c, channels, requests, err := gossh.NewServerConn(nc, config)
	if err != nil {
		nc.Close()
		return
	}
	defer c.Close()
	var blobs [][]byte
	for _, k := range r.announced {
		blobs = append(blobs, k.Marshal())
	}
	told := make(chan struct{})
	go func() {
		defer close(told)
		c.SendRequest("hostkeys-00@openssh.com", false, strs(blobs...))
	}()
	go func() {
		<-told
		for open := range channels {
			open.Reject(gossh.Prohibited, "")
		}
	}()
	for q := range requests {
		if q.Type != "hostkeys-prove-00@openssh.com" || r.prove == nil {
			continue
		}
		var asked [][]byte
		for rest := q.Payload; len(rest) > 0; {
			var m struct {
				S    []byte
				Rest []byte `ssh:"rest"`
			}
			if err := gossh.Unmarshal(rest, &m); err != nil {
				t.Error(err)
				return
			}
			asked, rest = append(asked, m.S), m.Rest
		}
		q.Reply(r.prove(c, asked))
	}
}

// dialRotating connects to r and has follow look after its keys.
func dialRotating(t *testing.T, r *rotating, host gossh.Signer, change func(*adit.Config)) (*adit.Client, error) {
	t.Helper()
	r.passwords = make(chan string, 10)
	addr := testnet.ServeTCP(t, func(nc *net.TCPConn) { r.serve(t, nc, host) })
	cfg := &adit.Config{CheckHostKey: adit.FixedHostKey(host.PublicKey()), Password: func(context.Context) (string, error) { return "secret", nil }}
	change(cfg)
	return adit.Dial(t.Context(), "ann@"+addr, cfg)
}

func TestServerKeys(t *testing.T) {
	testnet.Census(t)
	host, second := testpeer.NewSigner(t), testpeer.NewKey(t, "ecdsa").Signer
	third := testpeer.NewKey(t, "rsa").Signer.(gossh.AlgorithmSigner)
	proof := func(c *gossh.ServerConn, blob []byte, algorithm string) []byte {
		data := strs([]byte("hostkeys-prove-00@openssh.com"), c.SessionID(), blob)
		var sig *gossh.Signature
		var err error
		if string(blob) == string(third.PublicKey().Marshal()) {
			sig, err = third.SignWithAlgorithm(rand.Reader, data, algorithm)
		} else {
			sig, err = second.Sign(rand.Reader, data)
		}
		if err != nil {
			t.Error(err)
		}
		return gossh.Marshal(sig)
	}
	both := []gossh.PublicKey{host.PublicKey(), second.PublicKey(), third.PublicKey()}
	for name, c := range map[string]struct {
		announced []gossh.PublicKey
		prove     func(c *gossh.ServerConn, asked [][]byte) (bool, []byte)
		proved    int
		err       string
		uncalled  bool
	}{
		"proved": {both, func(c *gossh.ServerConn, asked [][]byte) (bool, []byte) {
			return true, strs(proof(c, asked[0], ""), proof(c, asked[1], gossh.KeyAlgoRSASHA512))
		}, 2, "", false},
		"RSA with SHA-1": {both, func(c *gossh.ServerConn, asked [][]byte) (bool, []byte) {
			return true, strs(proof(c, asked[0], ""), proof(c, asked[1], gossh.KeyAlgoRSA))
		}, 1, "", false},
		"wrong key": {both, func(c *gossh.ServerConn, asked [][]byte) (bool, []byte) {
			return true, strs(proof(c, asked[1], gossh.KeyAlgoRSASHA512), proof(c, asked[1], gossh.KeyAlgoRSASHA512))
		}, 0, "proof of the host key", false},
		"of another session": {both, func(c *gossh.ServerConn, asked [][]byte) (bool, []byte) {
			return true, strs(proof(c, asked[1], gossh.KeyAlgoRSASHA512)[:40], proof(c, asked[0], ""))
		}, 0, "proof of the host key", false},
		"too few": {both, func(c *gossh.ServerConn, asked [][]byte) (bool, []byte) {
			return true, strs(proof(c, asked[0], ""))
		}, 0, "1 signatures for 2 keys", false},
		"cut short":         {both, func(*gossh.ServerConn, [][]byte) (bool, []byte) { return true, []byte{0, 0, 9} }, 0, "proof of host keys", false},
		"refused":           {both, func(*gossh.ServerConn, [][]byte) (bool, []byte) { return false, nil }, 0, "does not prove", false},
		"a key twice":       {[]gossh.PublicKey{host.PublicKey(), host.PublicKey()}, nil, 0, "", true},
		"nothing announced": {nil, nil, 0, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			type result struct {
				proved int
				err    error
			}
			got := make(chan result, 1)
			client, err := dialRotating(t, &rotating{announced: c.announced, prove: c.prove}, host, func(cfg *adit.Config) {
				cfg.ServerKeys = func(ctx context.Context, k *adit.ServerKeys) {
					proved, err := k.Prove(ctx, k.Keys[1:])
					got <- result{len(proved), err}
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			if c.uncalled {
				// An answer to an open comes behind the announcement.
				client.DialContext(t.Context(), "tcp", "x:1")
				client.Close()
				if len(got) > 0 {
					t.Error("ServerKeys was called")
				}
				return
			}
			r := <-got
			if r.proved != c.proved || (r.err == nil) != (c.err == "") || r.err != nil && !strings.Contains(r.err.Error(), c.err) {
				t.Errorf("%d keys proved, %v; want %d, %q", r.proved, r.err, c.proved, c.err)
			}
		})
	}
	t.Run("many, and closed at once", func(t *testing.T) {
		many := slices.Clone(both)
		for range 250 { // which takes a while to look at; 256 is the most
			blob := gossh.Marshal(struct{ Type, Key string }{gossh.KeyAlgoED25519, rand.Text() + "123456"})
			k, err := gossh.ParsePublicKey(blob)
			if err != nil {
				t.Fatal(err)
			}
			many = append(many, k)
		}
		server := &rotating{announced: many, prove: func(c *gossh.ServerConn, blobs [][]byte) (bool, []byte) {
			return true, strs(proof(c, blobs[0], ""))
		}}
		proved := 0
		client, err := dialRotating(t, server, host, func(cfg *adit.Config) {
			cfg.ServerKeys = func(ctx context.Context, k *adit.ServerKeys) {
				keys, err := k.Prove(ctx, k.Keys[1:2])
				if err != nil {
					t.Error(err)
				}
				proved = len(keys)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		client.DialContext(t.Context(), "tcp", "x:1") // its answer comes behind the announcement
		client.Close()
		if proved != 1 {
			t.Errorf("%d keys were proved before Close returned, want 1", proved)
		}
	})
	t.Run("no answer", func(t *testing.T) {
		got := make(chan error, 1)
		client, err := dialRotating(t, &rotating{announced: both}, host, func(cfg *adit.Config) {
			cfg.ServerKeys = func(ctx context.Context, k *adit.ServerKeys) {
				_, err := k.Prove(ctx, k.Keys[1:])
				got <- err
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		client.Close()
		if len(got) == 1 && <-got == nil {
			t.Error("proved without an answer")
		}
	})
}

// TestUnverified: a server whose key is wrong learns no secret.
func TestUnverified(t *testing.T) {
	host := testpeer.NewSigner(t)
	for _, wrong := range []bool{true, false} {
		r := &rotating{}
		client, err := dialRotating(t, r, host, func(cfg *adit.Config) {
			cfg.CheckHostKey = func(string, string, gossh.PublicKey) error {
				if wrong {
					return errors.Join(errors.New("changed"), adit.ErrUnverified)
				}
				return nil
			}
		})
		if wrong {
			if _, ok := errors.AsType[*adit.AuthError](err); !ok || len(r.passwords) != 0 {
				t.Errorf("got %v and %d passwords on the wire, want to be refused without one", err, len(r.passwords))
			}
			continue
		}
		if err != nil || client.Unverified() || len(r.passwords) != 1 {
			t.Errorf("a right key: %v, %d passwords", err, len(r.passwords))
		}
		client.Close()
	}
}
