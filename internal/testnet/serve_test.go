package testnet

import (
	"io"
	"net"
	"testing"
	"time"
)

// What a client sends reaches handle, several clients at once; and ended waits for
// those who are still there.
func TestServe(t *testing.T) {
	Census(t)
	read := make(chan string, 2)
	path, ended := ServeUnix(t, func(c *net.UnixConn) {
		b, _ := io.ReadAll(c)
		read <- string(b)
	})
	var clients []net.Conn
	for range 2 {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		clients = append(clients, c)
	}
	io.WriteString(clients[1], "second")
	clients[1].Close()
	if got := <-read; got != "second" { // while the first is served
		t.Errorf("handle read %q, want %q", got, "second")
	}
	over := make(chan struct{})
	go func() { // ends with the clients
		defer close(over)
		ended()
	}()
	clients[0].SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := clients[0].Read(make([]byte, 1)); err == nil || err == io.EOF {
		t.Errorf("the client that is served: %v, want silence", err)
	}
	select {
	case <-over:
		t.Error("ended did not wait for a client")
	default:
	}
	clients[0].Close()
	<-over
	if got := <-read; got != "" {
		t.Errorf("handle read %q, want nothing", got)
	}
	if c, err := net.Dial("unix", path); err == nil {
		c.Close()
		t.Error("it listens after the end")
	}
}

// Both ends are sockets that see each other's half-close.
func TestTCPPipe(t *testing.T) {
	a, b := TCPPipe(t)
	io.WriteString(a, "x")
	a.CloseWrite()
	if got, err := io.ReadAll(b); string(got) != "x" || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
	io.WriteString(b, "y")
	b.Close()
	if got, err := io.ReadAll(a); string(got) != "y" || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
}
