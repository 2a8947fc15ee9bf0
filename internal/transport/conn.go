package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/adit-ssh/adit/internal/packet"
	"github.com/adit-ssh/adit/internal/wire"
	"github.com/adit-ssh/adit/internal/zstream"
	"github.com/adit-ssh/adit/trace"
)

var (
	errEnded    = errors.New("connection has ended")
	errOverflow = errors.New("the peer asks without reading our answers")
)

// Conn is an SSH transport connection.
//
// Goroutines: the flusher, started by Client and Server, ended by Close, Abort
// or any failure. One goroutine at a time calls ReadPacket, ReadBuffered and
// Unimplemented; key exchanges run on it. All other methods may be called by
// anybody.
type Conn struct {
	// Immutable after the handshake.
	nc           net.Conn
	cfg          *Config
	server       bool
	localVersion string
	peerVersion  string
	sessionID    []byte
	hostKey      []byte // the server's, as in the first exchange
	hostKeySig   []byte // its signature of the session id
	strict       bool
	wantExtInfo  bool // the peer asked for EXT_INFO
	prefers      Preference
	tracePackets bool

	// Owned by the reading goroutine.
	in       inHalf
	lastSeq  uint32       // sequence number of the packet last returned
	late     []latePacket // messages for the layers above that came during a key exchange
	lateLen  int          // bytes of them
	loggedIn bool         // the login's success has gone by

	out   outHalf
	wg    sync.WaitGroup // the flusher
	ended sync.Once

	kexMu       sync.Mutex
	localInit   []byte      // our KEXINIT while an exchange is open; guarded by kexMu
	first       bool        // the first exchange is not over; written by the reader under kexMu
	guess       *guess      // sent with our first KEXINIT, or nil; guarded by kexMu
	early       bool        // a guess that was not announced has no answer yet; the reader's
	kexTimer    *time.Timer // bounds it; guarded by kexMu
	rekeyAt     *time.Timer // starts the next by time; guarded by kexMu
	beforeLogin bool        // exchanges of our own wait for the login; guarded by kexMu
	rekeyDue    bool        // one waits; guarded by kexMu

	mu         sync.Mutex
	extensions map[string][]byte // the peer's EXT_INFO; guarded by mu
	algorithms Algorithms        // of the last exchange; guarded by mu
	err        error             // why the connection ended; guarded by mu
	done       chan struct{}
	shut       chan struct{} // closed when nc.Close has returned

	trip      roundTrip
	hurry     hurry
	rekeyOut  atomic.Uint64 // byte limits of the current keys
	rekeyIn   atomic.Uint64
	agents    agentChannels // that a Tracer of LevelData must not see into
	kexPhase  atomic.Uint32 // wire.Phase of numbers 30-49
	authPhase atomic.Uint32 // wire.Phase of numbers 60-79
}

// latePacket is a payload that waits to be returned, and its sequence number.
type latePacket struct {
	seq     uint32
	payload []byte
}

// Client performs the client's handshake on nc. ctx bounds the handshake. On
// failure nc is closed; from success on it belongs to the Conn.
func Client(ctx context.Context, nc net.Conn, cfg *Config) (*Conn, error) {
	if cfg.CheckHostKey == nil {
		nc.Close()
		return nil, errors.New("transport: Config.CheckHostKey is required")
	}
	return handshake(ctx, nc, cfg, false)
}

// Server performs the server's handshake on nc. ctx bounds the handshake. On
// failure nc is closed; from success on it belongs to the Conn.
func Server(ctx context.Context, nc net.Conn, cfg *Config) (*Conn, error) {
	if len(cfg.HostKeys) == 0 {
		nc.Close()
		return nil, errors.New("transport: Config.HostKeys is empty")
	}
	return handshake(ctx, nc, cfg, true)
}

func handshake(ctx context.Context, nc net.Conn, cfg *Config, server bool) (*Conn, error) {
	c := newConn(nc, cfg, server)
	stop := context.AfterFunc(ctx, func() { c.fail(context.Cause(ctx)) })
	err := c.firstExchange(ctx)
	if !stop() && err == nil {
		<-c.done // ctx ended just now
		err = c.Err()
	}
	if err != nil {
		if cause := c.Err(); cause != nil && !errors.Is(err, cause) {
			err = cause // what ended the connection says more than what the read got
		}
		if reason, text, ok := lastWord(err); ok {
			err = c.abort(reason, text, err)
		}
		c.end(err)
		return nil, err
	}
	return c, nil
}

func newConn(nc net.Conn, cfg *Config, server bool) *Conn {
	c := &Conn{nc: nc, cfg: cfg, server: server, localVersion: cfg.version(), first: true, done: make(chan struct{}), shut: make(chan struct{})}
	c.tracePackets = trace.Wants(cfg.Tracer, trace.LevelPacket)
	sock, read, tcp := newSocket(nc)
	var seed [32]byte
	io.ReadFull(cfg.rand(), seed[:])
	c.out.init(sock, seed, c.done, &c.hurry)
	c.out.fail = c.writeFailed
	c.out.grown = c.grownOut
	if c.tracePackets {
		c.out.traced = func(seq uint32, p []byte) { c.tracePacket(true, seq, p) }
	}
	c.out.sentSuccess = c.afterLogin
	c.out.compressing = func() { trace.Emit(cfg.Tracer, trace.Compressing{Effort: zstream.Level}) }
	c.in.init(read, tcp, &c.hurry)
	c.wg.Go(c.out.flusher)
	return c
}

// firstExchange sends the version line and KEXINIT without waiting for the
// peer's, and runs the first key exchange.
func (c *Conn) firstExchange(ctx context.Context) error {
	c.out.queueVersion(c.localVersion)
	c.beginExchange()
	v, err := c.readVersion(ctx)
	if err != nil {
		return err
	}
	c.peerVersion = v
	if QuirksOf(v).Paces {
		c.out.paced()
	}
	trace.Emit(c.cfg.Tracer, trace.Version{Local: c.localVersion, Peer: Sanitize(v, maxVersionLine)})
	err = c.firstKex()
	if c.early && ctx.Err() == nil && left(err) {
		return fmt.Errorf("%w: %w", ErrExpect, err)
	}
	if err != nil || c.server {
		return err
	}
	return c.settle()
}

// firstKex runs the first key exchange from the peer's KEXINIT on.
func (c *Conn) firstKex() error {
	payload, err := c.readKex("KEXINIT")
	have := payload
	if err != nil {
		have = c.in.buf[c.in.r:c.in.w]
	}
	if err := c.echoed(have, err); err != nil {
		return err
	}
	return c.exchange(slices.Clone(payload))
}

// settle deals with what came in the flight of the server's NEWKEYS: EXT_INFO,
// as a rule (RFC 8308, section 2.4). So the layer above knows the server's
// extensions before its first message, mostly, and spends no round trip on
// them. Nothing else has its time before the client asked for a service.
func (c *Conn) settle() error {
	for {
		if ok, err := c.in.peek(); !ok || err != nil {
			return err
		}
		p, err := c.readRaw(false)
		if err != nil {
			return err
		}
		switch num := p[0]; {
		case num >= wire.NumUserauthRequest && num <= wire.NumChannelFailure, num == wire.NumServiceRequest, num == wire.NumServiceAccept:
			return protocolError("%s before the client asked for a service", wire.Name(wire.PhaseAny, num))
		}
		if err := c.handle(p); err != nil {
			return err
		}
	}
}

// ReadPacket returns the next payload for the layers above. It, and what
// ReadBuffered returns after it, is valid until the next call of ReadPacket. The
// transport's own messages are dealt with on the way; a key exchange runs to
// its end.
func (c *Conn) ReadPacket() ([]byte, error) {
	for {
		p, err := c.ReadBuffered()
		if p != nil || err != nil {
			return p, err
		}
		if c.in.holds() {
			c.in.forget()
			continue
		}
		c.in.forget()
		if err := c.in.fill(false); err != nil {
			return nil, c.readFailed(err)
		}
	}
}

// ReadBuffered is ReadPacket for what was received already. It returns nil when
// nothing is left for the layers above, or when they hold much of what was
// compressed, and waits only for the end of a key exchange.
func (c *Conn) ReadBuffered() ([]byte, error) {
	for len(c.late) == 0 {
		if c.in.holds() {
			return nil, nil
		}
		ok, err := c.in.peek()
		if err == nil && !ok {
			return nil, nil
		}
		var p []byte
		if err == nil {
			p, err = c.readRaw(true)
		}
		if err == nil && above(p[0]) {
			c.lastSeq = c.in.seq - 1
			c.observe(p)
			return p, nil
		}
		if err == nil {
			err = c.handle(p)
		}
		if err != nil {
			return nil, c.readFailed(err)
		}
	}
	p := c.late[0]
	c.late[0] = latePacket{}
	if c.late = c.late[1:]; len(c.late) == 0 {
		c.late, c.lateLen = nil, 0
	}
	c.lastSeq = p.seq
	return p.payload, nil
}

// above reports whether a message is for the layers above.
func above(num byte) bool {
	switch {
	case num == wire.NumServiceRequest, num == wire.NumServiceAccept:
		return true
	}
	return num >= 50 && num < wire.NumPing
}

// readRaw reads one packet of any kind.
func (c *Conn) readRaw(keep bool) ([]byte, error) {
	p, err := c.in.next(keep)
	if err != nil {
		return nil, err
	}
	if len(p) == 0 {
		return nil, protocolError("packet %d has no payload", c.in.seq-1)
	}
	if c.tracePackets {
		c.tracePacket(false, c.in.seq-1, p)
	}
	if p[0] == wire.NumUserauthSuccess && !c.loggedIn && !c.server {
		c.login()
	}
	if c.in.packets >= rekeyPackets || c.in.bytes >= c.rekeyIn.Load() {
		if c.in.packets >= maxPackets {
			return nil, protocolError("the peer does not exchange keys: %d packets under the same ones", c.in.packets)
		}
		if !c.first {
			c.Rekey()
		}
	}
	return p, nil
}

// WritePacket queues one message and copies it. While the small lane is full it
// waits, until cancel is closed (packet.ErrCancelled) or the connection ends.
func (c *Conn) WritePacket(p []byte, cancel <-chan struct{}) error {
	if p[0] == wire.NumServiceRequest && !c.server {
		c.trip.service.Store(c.age())
	}
	err := c.out.queueSmall(p, true, cancel)
	if p[0] == wire.NumUserauthSuccess && c.server && err == nil { // said by the reading goroutine
		c.login()
	}
	return c.writeErr(err)
}

// QueuePacket is WritePacket for the reading goroutine: it never waits. When
// too much is queued it fails, and the connection should be ended.
func (c *Conn) QueuePacket(p []byte) error { return c.writeErr(c.out.queueSmall(p, false, nil)) }

// Cork holds messages back until Uncork, so that they leave together.
func (c *Conn) Cork() { c.out.cork(true) }

// Uncork sends what Cork held back.
func (c *Conn) Uncork() error {
	c.out.cork(false)
	return c.Err()
}

// NewBatch returns a batch for packets of up to maxData bytes of channel data,
// laid out for the current cipher.
func (c *Conn) NewBatch(maxData int) *packet.Batch {
	maxData = min(maxData, packet.MaxData)
	return packet.New(maxData, (*c.out.current.Load()).SealedLen(wire.ChannelDataHeader+maxData))
}

// WriteBatch sends a batch, which it owns from then on, and returns when all of
// it was handed to the socket. When cancel is closed before any of it was
// sealed, the batch is withdrawn and packet.ErrCancelled returned; later, the
// wait ends without an error and the batch counts as sent.
func (c *Conn) WriteBatch(b *packet.Batch, cancel <-chan struct{}) error {
	return c.writeErr(c.out.writeBatch(b, cancel))
}

// Contended reports whether others wait to send bulk data.
func (c *Conn) Contended() bool { return c.out.waiting.Load() > 0 }

func (c *Conn) writeErr(err error) error {
	if err == errEnded {
		if cause := c.Err(); cause != nil {
			return cause
		}
		return ErrClosed // closing
	}
	return err
}

// Unimplemented answers the packet last returned by ReadPacket with
// UNIMPLEMENTED (RFC 4253, section 11.4).
func (c *Conn) Unimplemented() error {
	return c.QueuePacket((&wire.Unimplemented{Seq: c.lastSeq}).Append(nil))
}

// Done is closed when the connection has ended.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err says why the connection ended; nil while it lives.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// LocalAddr returns our end's address.
func (c *Conn) LocalAddr() net.Addr { return c.nc.LocalAddr() }

// RemoteAddr returns the peer's address.
func (c *Conn) RemoteAddr() net.Addr { return c.nc.RemoteAddr() }

// Versions returns both version lines.
func (c *Conn) Versions() (local, peer string) { return c.localVersion, c.peerVersion }

// SessionID returns the exchange hash of the first key exchange.
func (c *Conn) SessionID() []byte { return c.sessionID }

// HostKey returns the server's host key of the first key exchange, in wire form.
func (c *Conn) HostKey() []byte { return c.hostKey }

// HostKeySignature returns the signature by which the server proved its host
// key in the first key exchange. Agents want it (session-bind@openssh.com).
func (c *Conn) HostKeySignature() []byte { return c.hostKeySig }

// Algorithms returns the outcome of the last negotiation.
func (c *Conn) Algorithms() Algorithms {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.algorithms
}

// PeerExtension returns the value of an extension that the peer announced with
// EXT_INFO.
func (c *Conn) PeerExtension(name string) ([]byte, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, ok := c.extensions[name]
	return v, ok
}

// Silent returns for how long nothing has come from the peer: not a byte, of
// whatever kind.
func (c *Conn) Silent() time.Duration {
	return time.Since(c.in.began) - time.Duration(c.in.last.Load())
}
