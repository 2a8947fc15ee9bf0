package testpeer

import (
	"io"
	"net"
	"strconv"
	"sync"
	"testing"

	gossh "golang.org/x/crypto/ssh"
)

// XCrypto serves with golang.org/x/crypto/ssh in this process: direct-tcpip
// channels, and sessions whose every command is cat.
func XCrypto(t testing.TB) *Server {
	t.Helper()
	s := &Server{Name: "x/crypto", Forwards: true, Execs: true}
	s.User, s.Key, s.Password = "tester", NewKey(t, "ed25519"), password
	host := NewKey(t, "ed25519")
	s.HostKeys = []gossh.PublicKey{host.Public}
	var authorized sync.Map // of keys in wire form
	authorized.Store(string(s.Key.Public.Marshal()), true)
	s.authorize = func(t testing.TB, line string) {
		key, _, _, _, err := gossh.ParseAuthorizedKey([]byte(line))
		if err != nil {
			t.Fatal(err)
		}
		authorized.Store(string(key.Marshal()), true)
	}
	config := &gossh.ServerConfig{
		PublicKeyCallback: func(meta gossh.ConnMetadata, key gossh.PublicKey) (*gossh.Permissions, error) {
			if _, ok := authorized.Load(string(key.Marshal())); !ok || meta.User() != s.User {
				return nil, gossh.ErrNoAuth
			}
			return nil, nil
		},
		PasswordCallback: func(meta gossh.ConnMetadata, got []byte) (*gossh.Permissions, error) {
			if meta.User() != s.User || string(got) != s.Password {
				return nil, gossh.ErrNoAuth
			}
			return nil, nil
		},
	}
	config.AddHostKey(host.Signer)
	s.Addr = serve(t, func(c *net.TCPConn) { xcryptoServe(c, config) }).Addr
	return s
}

func xcryptoServe(c net.Conn, config *gossh.ServerConfig) {
	conn, channels, requests, err := gossh.NewServerConn(c, config)
	if err != nil {
		return
	}
	defer conn.Close()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { gossh.DiscardRequests(requests) })
	for ch := range channels {
		switch ch.ChannelType() {
		case "direct-tcpip":
			wg.Go(func() { xcryptoForward(ch) })
		case "session":
			wg.Go(func() { xcryptoSession(ch) })
		default:
			ch.Reject(gossh.UnknownChannelType, "unknown channel type")
		}
	}
}

func xcryptoForward(open gossh.NewChannel) {
	var to struct {
		Host       string
		Port       uint32
		Originator string
		FromPort   uint32
	}
	if err := gossh.Unmarshal(open.ExtraData(), &to); err != nil {
		open.Reject(gossh.ConnectionFailed, "malformed direct-tcpip")
		return
	}
	target, err := net.Dial("tcp", net.JoinHostPort(to.Host, strconv.Itoa(int(to.Port))))
	if err != nil {
		open.Reject(gossh.ConnectionFailed, err.Error())
		return
	}
	defer target.Close()
	ch, requests, err := open.Accept()
	if err != nil {
		return
	}
	defer ch.Close()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { gossh.DiscardRequests(requests) })
	wg.Go(func() {
		io.Copy(target, ch)
		target.(*net.TCPConn).CloseWrite()
	})
	io.Copy(ch, target)
	ch.CloseWrite()
}

func xcryptoSession(open gossh.NewChannel) {
	ch, requests, err := open.Accept()
	if err != nil {
		return
	}
	defer ch.Close()
	for r := range requests {
		if r.Type != "exec" {
			r.Reply(r.Type == "env", nil)
			continue
		}
		r.Reply(true, nil)
		io.Copy(ch, ch)
		ch.SendRequest("exit-status", false, make([]byte, 4))
		return
	}
}
