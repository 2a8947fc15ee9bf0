package socks_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"

	"github.com/adit-ssh/adit/socks"
)

// A proxy for one client that finds every target reachable, and says so itself.
func ExampleAccept() {
	client, conn := net.Pipe()
	go func() {
		defer conn.Close()
		req, err := socks.Accept(context.Background(), conn)
		if err != nil {
			return // A client whose request was no good has been told.
		}
		// Here the target is dialed; if that fails: req.Refuse.
		if err := req.Grant(netip.AddrPort{}); err != nil {
			return
		}
		fmt.Fprintf(conn, "%v to %s port %d\n", req.Version, req.Host, req.Port)
	}()

	io.WriteString(client, "CONNECT db.internal:5432 HTTP/1.1\r\n\r\n")
	answer, _ := io.ReadAll(client)
	fmt.Printf("%q\n", answer)
	// Output: "HTTP/1.1 200 Connection established\r\n\r\nHTTP CONNECT to db.internal port 5432\n"
}
