package interop

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/adit-ssh/adit/agent"
	"github.com/adit-ssh/adit/internal/testnet"
)

// serveRing serves an agent at a socket, each connection with a memory of its own.
// ended waits until all connections were closed by us.
func serveRing(t testing.TB, a agent.Agent) (path string, ended func()) {
	t.Helper()
	s := &agent.Server{Agent: a}
	return testnet.ServeUnix(t, func(nc net.Conn) { s.ServeConn(context.Background(), nc) })
}

// odd serves an agent that is not as it should be, each connection in its turn if
// serial. reply gets a request and what a good agent answers; nil closes.
func odd(t testing.TB, ring *agent.Keyring, serial bool, reply func(request, good []byte) []byte) (path string, ended func()) {
	t.Helper()
	var turn sync.Mutex
	return testnet.ServeUnix(t, func(nc net.Conn) {
		if serial {
			turn.Lock()
			defer turn.Unlock()
		}
		c := ring.NewConnection()
		for {
			head := make([]byte, 4)
			if _, err := io.ReadFull(nc, head); err != nil {
				return
			}
			request := make([]byte, binary.BigEndian.Uint32(head))
			if _, err := io.ReadFull(nc, request); err != nil {
				return
			}
			b := reply(request, c.Answer(context.Background(), request))
			if b == nil {
				return
			}
			if _, err := nc.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)); err != nil {
				return
			}
		}
	})
}

const (
	agentFailure   = 5
	agentExtension = 27
)

// windows answers as Windows' agent does: status is framed twice, and what it does
// not like it closes on.
func windows(request, good []byte) []byte {
	switch {
	case request[0] == 11 || request[0] == 13:
		return good
	case good[0] == 6 && (request[0] != agentExtension || strings.Contains(string(request), "session-bind@openssh.com")):
		return []byte{0, 0, 0, 1, 6}
	}
	return nil
}

// closing closes at every extension, as Windows' agent did before OpenSSH 8.9.
func closing(request, good []byte) []byte {
	if request[0] == agentExtension {
		return nil
	}
	return good
}

// refusing knows no extensions, and goes on.
func refusing(request, good []byte) []byte {
	if request[0] == agentExtension {
		return []byte{agentFailure}
	}
	return good
}

func plain(_, good []byte) []byte { return good }
