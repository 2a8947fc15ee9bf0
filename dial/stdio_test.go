//go:build unix

package dial

import (
	"context"
	"net"
	"testing"

	"github.com/adit-ssh/adit/internal/testnet/dialtest"
)

// Standard input and output may be one socket.
func TestStdio(t *testing.T) {
	dialtest.Run(t, func(ctx context.Context, address string) (net.Conn, error) {
		c, err := TCP{}.Dial(ctx, address)
		if err != nil {
			return nil, err
		}
		defer c.Close()
		f, err := c.(*net.TCPConn).File()
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return Stdio{In: f, Out: f}.Dial(ctx, address)
	})
}
