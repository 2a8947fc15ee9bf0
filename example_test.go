package adit_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/bastion"
)

// exampleServer starts a server that forwards, and a service behind it, for the
// examples. A program of yours would know its server's key from known_hosts.
func exampleServer(service func(net.Conn)) (addr, target string, cfg *adit.Config, stop func()) {
	newKey := func() gossh.Signer {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			log.Fatal(err)
		}
		s, err := gossh.NewSignerFromKey(key)
		if err != nil {
			log.Fatal(err)
		}
		return s
	}
	listen := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			log.Fatal(err)
		}
		return l
	}
	host, user, l, behind := newKey(), newKey(), listen(), listen()
	server, err := bastion.New(bastion.Config{
		HostKeys: []gossh.Signer{host},
		Authorize: func(context.Context, string, net.Addr, gossh.PublicKey) *bastion.Permissions {
			return &bastion.Permissions{}
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	go server.Serve(l)
	go func() {
		for {
			c, err := behind.Accept()
			if err != nil {
				return
			}
			go service(c)
		}
	}()
	stop = func() {
		behind.Close()
		server.Shutdown(context.Background())
	}
	cfg = &adit.Config{User: "you", CheckHostKey: adit.FixedHostKey(host.PublicKey()), Keys: adit.Keys(user)}
	return l.Addr().String(), behind.Addr().String(), cfg, stop
}

// upper answers with what it got, in capitals, once the client has ended.
func upper(c net.Conn) {
	defer c.Close()
	b, _ := io.ReadAll(c)
	for i := range b {
		if b[i] >= 'a' && b[i] <= 'z' {
			b[i] -= 'a' - 'A'
		}
	}
	c.Write(b)
}

// Data is sent to and received from what the server reaches, without a listener
// in between.
func ExampleClient_DialContext() {
	addr, target, cfg, stop := exampleServer(upper)
	defer stop()
	ctx := context.Background()
	client, err := adit.Dial(ctx, addr, cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	conn, err := client.DialContext(ctx, "tcp", target)
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "through the server")
	conn.(*adit.Conn).CloseWrite()
	answer, err := io.ReadAll(conn)
	fmt.Println(string(answer), err)
	// Output: THROUGH THE SERVER <nil>
}

// An http.Client takes the dialer as it is; so does pgx's Config.DialFunc, which
// has the same signature.
func ExampleClient_DialContext_http() {
	addr, target, cfg, stop := exampleServer(func(c net.Conn) {
		defer c.Close()
		c.Read(make([]byte, 4096))
		io.WriteString(c, "HTTP/1.0 200 OK\r\n\r\nhello")
	})
	defer stop()
	client, err := adit.Dial(context.Background(), addr, cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	web := &http.Client{Transport: &http.Transport{DialContext: client.DialContext}}
	resp, err := web.Get("http://" + target + "/")
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	fmt.Println(resp.Status, string(body), err)
	// Output: 200 OK hello <nil>
}

// Database drivers want a function like this one: pgx's DialFunc, or go-redis'
// Dialer.
func ExampleClient_DialContext_database() {
	addr, target, cfg, stop := exampleServer(upper)
	defer stop()
	client, err := adit.Dial(context.Background(), addr, cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	var dialFunc func(ctx context.Context, network, addr string) (net.Conn, error) = client.DialContext
	conn, err := dialFunc(context.Background(), "tcp", target)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(conn.RemoteAddr().String() == target)
	conn.Close()
	// Output: true
}

// Programs that can't be given a dialer connect to a local port.
func ExampleClient_Forward() {
	addr, target, cfg, stop := exampleServer(upper)
	defer stop()
	ctx := context.Background()
	client, err := adit.Dial(ctx, addr, cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	forward, err := client.Forward(ctx, adit.Forward{Listen: "127.0.0.1:0", Target: target})
	if err != nil {
		log.Fatal(err)
	}
	defer forward.Close()

	conn, err := net.Dial("tcp", forward.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "by port")
	conn.(*net.TCPConn).CloseWrite()
	answer, err := io.ReadAll(conn)
	fmt.Println(string(answer), err)
	// Output: BY PORT <nil>
}
