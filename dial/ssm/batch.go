package ssm

import (
	"bufio"
	"context"
	"net"
	"sync"
)

const (
	// batchLimit is how many bytes a batchConn holds before it writes.
	batchLimit = 256 << 10
	// batchRead is how many it reads at once.
	batchRead = 64 << 10
)

// batchConn is a connection below a WebSocket, and below TLS, on which messages
// that leave together leave with one system call. The WebSocket flushes each by
// itself, which would cost more than all the rest.
type batchConn struct {
	net.Conn
	in *bufio.Reader // owned by Read

	mu      sync.Mutex
	holding bool   // guarded by mu
	out     []byte // guarded by mu
}

// batchKey is where a dial's context says who wants to know of the batchConn.
type batchKey struct{}

// dialBatching makes what dial connects a batchConn, and tells who asked by
// batchKey.
func dialBatching(dial func(context.Context, string, string) (net.Conn, error)) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		b := &batchConn{Conn: c, in: bufio.NewReaderSize(&gatherer{from: c}, batchRead)}
		if to, ok := ctx.Value(batchKey{}).(**batchConn); ok {
			*to = b
		}
		return b, nil
	}
}

func (b *batchConn) Read(p []byte) (int, error) { return b.in.Read(p) }

func (b *batchConn) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.holding {
		return b.Conn.Write(p)
	}
	b.out = append(b.out, p...)
	if len(b.out) >= batchLimit {
		if err := b.writeLocked(); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// hold keeps what is written back until release.
func (b *batchConn) hold() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.holding = true
}

func (b *batchConn) release() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.holding = false
	return b.writeLocked()
}

// writeLocked writes what was held. Close wakes it.
func (b *batchConn) writeLocked() error {
	if len(b.out) == 0 {
		return nil
	}
	_, err := b.Conn.Write(b.out)
	if b.out = b.out[:0]; cap(b.out) > 2*batchLimit {
		b.out = nil
	}
	return err
}
