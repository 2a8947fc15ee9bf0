package agent

import (
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/testpeer"
)

// dialSniffing logs in with golang.org/x/crypto/ssh over a SessionSniffer.
func dialSniffing(t *testing.T, e *testpeer.Endpoint, kex string) (gossh.Conn, <-chan gossh.NewChannel, Session) {
	t.Helper()
	tcp, err := net.Dial("tcp", e.Addr)
	if err != nil {
		t.Fatal(err)
	}
	conn := NewSessionSniffer(tcp)
	config := e.ClientConfig()
	if kex != "" {
		config.KeyExchanges = []string{kex}
	}
	c, channels, requests, err := gossh.NewClientConn(conn, e.Addr, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	go gossh.DiscardRequests(requests) // ends with the connection
	s, err := conn.Session(c.SessionID())
	if err != nil {
		t.Fatalf("%s: %v", kex, err)
	}
	return c, channels, s
}

// The proof is found in key exchanges of all forms, and it is the server's.
func TestSessionSniffer(t *testing.T) {
	testpeer.Need(t, "sshd")
	server := testpeer.SSHD(t, testpeer.SSHDOptions{})
	for _, kex := range []string{gossh.KeyExchangeCurve25519, gossh.KeyExchangeECDHP256, gossh.KeyExchangeDH16SHA512, gossh.KeyExchangeDHGEXSHA256} {
		_, channels, s := dialSniffing(t, &server.Endpoint, kex)
		go func() { // ends with the connection
			for c := range channels {
				c.Reject(gossh.Prohibited, "")
			}
		}()
		if !bytes.Equal(s.HostKey, server.HostKeys[0].Marshal()) || s.Verify() != nil {
			t.Errorf("%s: the session is %+v, %v", kex, s, s.Verify())
		}
	}
}

// Whatever is read, nothing breaks, and no proof is taken that does not verify.
func FuzzSessionSniffer(f *testing.F) {
	f.Add([]byte("SSH-2.0-x\r\n\x00\x00\x00\x0c\x0a\x1f\x00\x00\x00\x00"), 3)
	f.Add([]byte(strings.Repeat("line\n", 100)+"SSH-2.0-x\n\x00\x00\x00\x02\x00\x15"), 1)
	f.Fuzz(func(t *testing.T, in []byte, step int) {
		ours, theirs := net.Pipe()
		defer ours.Close()
		s := NewSessionSniffer(ours)
		var wg sync.WaitGroup
		wg.Go(func() {
			theirs.Write(in)
			theirs.Close()
		})
		b := make([]byte, 1+max(step, -step)%64)
		var got []byte
		for {
			n, err := s.Read(b)
			got = append(got, b[:n]...)
			if err != nil {
				break
			}
		}
		wg.Wait()
		if !bytes.Equal(got, in) {
			t.Error("the bytes have changed")
		}
		if p, err := s.Session([]byte("id")); err == nil && p.Verify() != nil {
			t.Error("a proof that is none")
		}
	})
}

// A client on golang.org/x/crypto/ssh forwards an agent to programs at sshd, as
// the documentation has it: keys with destinations are shown as these allow.
func TestForwarderForXCrypto(t *testing.T) {
	testpeer.Need(t, "sshd", "ssh-add")
	server := testpeer.SSHD(t, testpeer.SSHDOptions{})
	host := HostKey{Blob: server.HostKeys[0].Marshal()}
	to := Hop{Hostname: "server", Keys: []HostKey{host}}
	for name, tt := range map[string]struct {
		ds   []Destination
		want string
	}{
		"everywhere":         {nil, "the key"},
		"the server only":    {[]Destination{{To: to}}, "no identities"},
		"and from there":     {[]Destination{{To: to}, {From: to, To: to}}, "the key"},
		"nowhere from there": {[]Destination{{To: Hop{Hostname: "x", Keys: []HostKey{{Blob: testKeys.hosts[0].PublicKey().Marshal()}}}}}, "no identities"},
	} {
		path, ended := listenAgent(t, false, ours(ringWith(t, AddedKey{Comment: "the key", Destinations: tt.ds})))
		c, channels, s := dialSniffing(t, &server.Endpoint, "")
		f := &Forwarder{Dialer: Socket(path)}
		var serving, uses sync.WaitGroup
		serving.Go(func() {
			for ch := range channels {
				if ch.ChannelType() != "auth-agent@openssh.com" {
					ch.Reject(gossh.Prohibited, "")
					continue
				}
				uses.Go(func() {
					if err := f.ServeChannel(context.Background(), s, ch); err != nil {
						t.Errorf("%s: %v", name, err)
					}
				})
			}
		})
		session, requests, err := c.OpenChannel("session", nil)
		if err != nil {
			t.Fatal(err)
		}
		go gossh.DiscardRequests(requests) // ends with the channel
		if _, err := session.SendRequest("auth-agent-req@openssh.com", false, nil); err != nil {
			t.Fatal(err)
		}
		command := gossh.Marshal(struct{ Command string }{"ssh-add -l"})
		if ok, err := session.SendRequest("exec", true, command); err != nil || !ok {
			t.Fatalf("exec: %v, %v", ok, err)
		}
		out, err := io.ReadAll(session)
		if err != nil || !strings.Contains(string(out), tt.want) {
			t.Errorf("%s: ssh-add -l says %q, %v, want %q", name, out, err, tt.want)
		}
		uses.Wait() // sshd closes them when ssh-add has ended
		c.Close()
		serving.Wait()
		ended()
	}
}
