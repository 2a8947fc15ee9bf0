package ssmgw

import (
	"io"
	"net"
	"strconv"
	"strings"
	"sync"

	"github.com/xtaci/smux"
)

// muxPipe is the byte stream below smux: what the client sent, and what is sent
// to it.
type muxPipe struct {
	w       *worker
	mu      sync.Mutex
	changed sync.Cond
	data    []byte // guarded by mu
	closed  bool
}

func (p *muxPipe) write(b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.data = append(p.data, b...)
	p.changed.Broadcast()
}

func (p *muxPipe) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.changed.Broadcast()
}

// Read implements io.Reader.
func (p *muxPipe) Read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.data) == 0 && !p.closed {
		p.changed.Wait()
	}
	if p.closed {
		return 0, io.EOF
	}
	n := copy(b, p.data)
	p.data = p.data[n:]
	return n, nil
}

// Write implements io.Writer. Once the session is to end nothing more is sent, no end of a
// stream either.
func (p *muxPipe) Write(b []byte) (n int, err error) {
	for n < len(b) {
		if p.w.lifetime.Err() != nil {
			return n, io.ErrClosedPipe
		}
		k := min(len(b)-n, p.w.Payload)
		p.w.send(kindData, b[n:n+k])
		n += k
		if p.w.Sleep > 0 && !p.w.pause(p.w.Sleep) {
			return n, io.ErrClosedPipe
		}
	}
	return n, nil
}

// Close implements io.Closer.
func (p *muxPipe) Close() error {
	p.close()
	return nil
}

// serveMux serves smux streams, each a connection to the target. There is no
// half-close: whoever ends first ends both.
func (w *worker) serveMux() string {
	p := &muxPipe{w: w}
	p.changed.L = &p.mu
	w.mu.Lock()
	w.mux = p
	w.changed.Broadcast()
	w.mu.Unlock()
	config := smux.DefaultConfig()
	config.KeepAliveDisabled = newer(w.version, "1.2.331.0")
	session, err := smux.Server(p, config)
	if err != nil {
		return err.Error()
	}
	defer session.Close()
	var streams sync.WaitGroup
	defer streams.Wait()
	defer w.stop()
	for {
		stream, err := session.AcceptStream()
		if err != nil {
			return ""
		}
		streams.Go(func() {
			defer stream.Close()
			c, err := w.Agent.Dial(w.lifetime, w.address())
			if err != nil {
				w.send(kindFlag, []byte{0, 0, 0, 3})
				return
			}
			both(stream, c)
		})
	}
}

// both copies until one of them ends.
func both(a, b net.Conn) {
	var wg sync.WaitGroup
	end := func() { a.Close(); b.Close() }
	wg.Go(func() { io.Copy(a, b); end() })
	wg.Go(func() { io.Copy(b, a); end() })
	wg.Wait()
}

// newer reports whether a version is greater than another, number by number;
// missing ones are 0, as the agent does it.
func newer(version, than string) bool {
	v, t := strings.Split(version, "."), strings.Split(than, ".")
	for i := range max(len(v), len(t)) {
		var a, b int
		if i < len(v) {
			a, _ = strconv.Atoi(v[i])
		}
		if i < len(t) {
			b, _ = strconv.Atoi(t[i])
		}
		if a != b {
			return a > b
		}
	}
	return false
}
