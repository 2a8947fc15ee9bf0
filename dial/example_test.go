package dial_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/adit-ssh/adit/dial"
)

func ExampleTCP_Dial() {
	// A server that is not there any more.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	l.Close()

	d := dial.TCP{Timeout: 10 * time.Second}
	c, err := d.Dial(context.Background(), l.Addr().String())
	if e, ok := errors.AsType[*dial.Error](err); ok {
		fmt.Println(e.Stage, "…:", e.Err)
		fmt.Println("hint:", e.Hint())
		return
	}
	defer c.Close()
	// Output:
	// connect to …: connection refused
	// hint: the host is there but nothing listens on that port: check the port, and that the SSH server runs
}
