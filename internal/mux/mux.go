package mux

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/adit-ssh/adit/internal/packet"
	"github.com/adit-ssh/adit/internal/wire"
	"github.com/adit-ssh/adit/trace"
)

// PacketConn is what a Mux needs of the transport.
type PacketConn interface {
	// ReadPacket returns the next payload. It, and what ReadBuffered returns
	// after it, is valid until the next call of ReadPacket.
	ReadPacket() ([]byte, error)
	// ReadBuffered is ReadPacket for what was received already; nil when there
	// is no more.
	ReadBuffered() ([]byte, error)
	// WritePacket queues a copy of one small message. It waits for room, until
	// cancel is closed (packet.ErrCancelled).
	WritePacket(p []byte, cancel <-chan struct{}) error
	// QueuePacket is WritePacket that never waits. Overflow is an error.
	QueuePacket(p []byte) error
	// NewBatch returns a batch of packets with up to maxData bytes each.
	NewBatch(maxData int) *packet.Batch
	// WriteBatch takes the batch and returns when it was handed to the socket,
	// or withdrawn because of cancel (packet.ErrCancelled).
	WriteBatch(b *packet.Batch, cancel <-chan struct{}) error
	// Contended reports whether others wait to send bulk data.
	Contended() bool
	// RTT returns the smallest round trip seen, 0 when unknown.
	RTT() time.Duration
	// MeasureRTT asks for another round trip, if the peer answers such and it is
	// not soon after the last.
	MeasureRTT()
	// Hurry says that small data is being exchanged, for whose answer somebody may
	// wait. It is called for each piece of it.
	Hurry()
	// Unimplemented answers the packet last read.
	Unimplemented() error
	// Abort sends DISCONNECT and closes; it returns the error to hand on.
	Abort(reason uint32, text string) error
	// Close ends the connection in good order.
	Close() error
}

// Limits and defaults.
const (
	// DefaultWindow and DefaultMaxPacket are what a channel announces at first,
	// in bytes. Both are OpenSSH's.
	DefaultWindow    = 2 << 20
	DefaultMaxPacket = 32 << 10
	// DefaultWindowMax is the most that one channel's window grows to,
	// DefaultBudget what all windows of a connection may grow by together, and
	// processBudget what those of all connections may.
	DefaultWindowMax = 64 << 20
	DefaultBudget    = 256 << 20
	processBudget    = 1 << 30
	// DefaultMaxChannels is how many channels may be open at once, and
	// DefaultMaxPending how many opens by the peer may wait for an answer.
	DefaultMaxChannels = 16384
	DefaultMaxPending  = 1024

	// requestQueue is how many requests of the peer wait for one channel's
	// owner, or for the handler of global requests. More are refused.
	requestQueue = 64
	// replyQueue is how many of our requests may wait for the peer's answer.
	replyQueue = 1024
	// maxStep is how much an application takes at most before the peer hears of
	// it.
	maxStep = DefaultWindow / 4
	// pacedStep is that for a peer that paces itself by what it hears.
	pacedStep = 32 << 10
	// smallData is below how many bytes data is small: somebody may wait for its
	// answer. Bulk is held back for mixedTime after the third piece and each later
	// one, which is longer than a question and its answer take behind a wide one.
	// Less than three are no conversation: they begin or end what is bulk.
	smallData  = 1 << 10
	mixedTime  = 2 * time.Second
	mixedAfter = 3
	// bulkRate is what makes a channel one with bulk, for mixedTime, in bytes a
	// second: its own small pieces wait behind nothing but itself.
	bulkRate = 4 << 20
	// maxSlices is how many payloads are collected for one write to a sink.
	maxSlices = 64
)

// ErrClosed is returned by operations on a closed Mux or Channel.
var ErrClosed = fmt.Errorf("channel closed: %w", net.ErrClosed)

// Config configures a Mux. The zero value refuses all that the peer asks.
type Config struct {
	// Open answers the peer's opens, each on a goroutine of its own. Nil
	// refuses them as unknown.
	Open func(*Pending)
	// Global answers the peer's global requests, one at a time and in order.
	// Nil refuses them.
	Global func(name string, data []byte) (ok bool, reply []byte)
	// Window and MaxPacket are what new channels announce, in bytes. 0 means
	// the defaults.
	Window, MaxPacket uint32
	// WindowMax bounds a channel's window and Budget the growth of all
	// together, in bytes. 0 means the defaults; a WindowMax below Window turns
	// growth off.
	WindowMax, Budget uint32
	// MaxChannels and MaxPending: see the defaults.
	MaxChannels, MaxPending int
	// Server says that the peer logged in to us: its USERAUTH_REQUESTs that come
	// now are ignored (RFC 4252, section 5.1).
	Server bool
	// PeerPaces says that the peer bounds what is on its way while small data is
	// exchanged, as adit does. Otherwise our windows do so for it.
	PeerPaces bool
	// IdleTimeout returns for how long a channel of a type may exchange no data
	// before it is closed with an *IdleError, within an eighth of that time; 0 is
	// for ever. AllChannels stands for all that are open. Nil is for ever.
	IdleTimeout func(typ string) time.Duration
	// Tracer may be nil.
	Tracer trace.Tracer
}

func def[T uint32 | int](v, d T) T {
	if v == 0 {
		return d
	}
	return v
}

// Mux runs the connection protocol over a PacketConn.
//
// Goroutines: the reader, from Start until the PacketConn fails; one for each open
// of the peer that Config.Open answers; one for global requests, when there is
// Config.Global. Close waits for all of them.
type Mux struct {
	// Immutable.
	pc       PacketConn
	cfg      Config
	lifetime context.Context
	cancel   context.CancelFunc
	globals  chan globalRequest // nil without Config.Global
	talks    atomic.Int32       // open channels that had small data and no bulk
	idle     *idleWatch         // of all channels; nil: they may be idle
	done     chan struct{}
	wg       sync.WaitGroup

	// Owned by the reader goroutine.
	direct  *Channel // whose data is collected
	slices  [][]byte
	smalls  int   // how many pieces of small data came in a row, up to mixedAfter
	smallAt int64 // when the last of them came, Unix ns

	globalMu sync.Mutex // orders replies with requests; held while one is queued
	mu       sync.Mutex
	// Guarded by mu.
	channels []*Channel // by local id; nil is free
	free     []uint32
	open     int
	borrowed int64 // by windows that are wider than at first
	replies  []globalReply
	asked    int           // the peer's global requests that Config.Global has not answered yet
	answered chan struct{} // closed when asked is 0; nil if nobody waits
	err      error

	// Atomic.
	pending atomic.Int32
	mixedAt atomic.Int64 // when small data that counts came last, Unix ns
}

// processBorrowed is what all connections have borrowed for wider windows.
var processBorrowed atomic.Int64

// New starts a Mux on pc, which it owns from then on.
func New(pc PacketConn, cfg Config) *Mux {
	m := Prepare(pc, cfg)
	m.Start()
	return m
}

// Prepare makes a Mux that does not read from pc yet: channels may Begin. Start
// starts it, once, and has to follow unless pc is closed without it.
func Prepare(pc PacketConn, cfg Config) *Mux {
	cfg.Window = def(cfg.Window, DefaultWindow)
	cfg.MaxPacket = def(cfg.MaxPacket, DefaultMaxPacket)
	cfg.WindowMax = def(cfg.WindowMax, DefaultWindowMax)
	cfg.Budget = def(cfg.Budget, DefaultBudget)
	cfg.MaxChannels = def(cfg.MaxChannels, DefaultMaxChannels)
	cfg.MaxPending = def(cfg.MaxPending, DefaultMaxPending)
	m := &Mux{pc: pc, cfg: cfg, done: make(chan struct{}), slices: make([][]byte, 0, maxSlices)}
	m.lifetime, m.cancel = context.WithCancel(context.Background())
	if cfg.Global != nil {
		m.globals = make(chan globalRequest, requestQueue)
	}
	return m
}

// Start starts what Prepare made.
func (m *Mux) Start() {
	if m.globals != nil {
		m.wg.Go(m.serveGlobals)
	}
	m.watchAllIdle()
	m.wg.Go(m.read)
}

// read is the reader goroutine.
func (m *Mux) read() {
	err := m.loop()
	m.fail(err)
}

func (m *Mux) loop() error {
	for {
		p, err := m.pc.ReadBuffered()
		if p == nil && err == nil {
			// Nothing may be held back while waiting for the network.
			m.flushDirect()
			p, err = m.pc.ReadPacket()
		}
		if err != nil {
			m.flushDirect()
			return err
		}
		if err := m.dispatch(p); err != nil {
			reason := uint32(wire.DisconnectByApplication) // no room for an answer
			if _, ok := errors.AsType[*protocolError](err); ok {
				reason = wire.DisconnectProtocolError
			}
			return m.pc.Abort(reason, err.Error())
		}
	}
}

// fail ends all channels with err.
func (m *Mux) fail(err error) {
	m.mu.Lock()
	if m.err == nil {
		m.err = err
		close(m.done)
	}
	channels := m.channels
	m.channels, m.free = nil, nil
	replies := m.replies
	m.replies = nil
	m.mu.Unlock()
	m.cancel()
	if m.idle != nil {
		m.idle.timer.Stop()
	}
	for _, c := range channels {
		if c != nil {
			c.connectionEnded(err)
		}
	}
	for _, reply := range replies {
		reply(false, nil, err)
	}
	if m.globals != nil {
		close(m.globals) // only the reader sends, and it has ended
	}
}

// Close ends the connection in good order and waits for the Mux's goroutines.
func (m *Mux) Close() error {
	err := m.pc.Close()
	m.wg.Wait()
	return err
}

// Done is closed when the connection has ended.
func (m *Mux) Done() <-chan struct{} { return m.done }

// Err says why the connection ended, nil while it lives.
func (m *Mux) Err() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.err
}

// Channels returns how many channels are in the table.
func (m *Mux) Channels() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.open
}

// add gives c a number.
func (m *Mux) add(c *Channel) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return m.err
	}
	if m.open >= m.cfg.MaxChannels {
		return &OpenError{Reason: wire.OpenResourceShortage, Description: fmt.Sprintf("%d channels are open already", m.open), Local: true}
	}
	m.open++
	if n := len(m.free); n > 0 {
		c.id = m.free[n-1]
		m.free = m.free[:n-1]
		m.channels[c.id] = c
		return nil
	}
	c.id = uint32(len(m.channels))
	m.channels = append(m.channels, c)
	return nil
}

// remove frees c's number.
func (m *Mux) remove(c *Channel) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if int(c.id) < len(m.channels) && m.channels[c.id] == c {
		m.channels[c.id] = nil
		m.free = append(m.free, c.id)
		m.open--
	}
}

func (m *Mux) channel(id uint32) *Channel {
	m.mu.Lock()
	defer m.mu.Unlock()
	if uint64(id) < uint64(len(m.channels)) {
		return m.channels[id]
	}
	return nil
}

// borrow takes n bytes from the budgets for wider windows.
func (m *Mux) borrow(n int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.borrowed+n > int64(m.cfg.Budget) {
		return false
	}
	if processBorrowed.Add(n) > processBudget {
		processBorrowed.Add(-n)
		return false
	}
	m.borrowed += n
	return true
}

func (m *Mux) giveBack(n int64) {
	if n == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.borrowed -= n
	processBorrowed.Add(-n)
}

// small notes that a channel without bulk received small data.
func (m *Mux) small(at time.Time) {
	now := at.UnixNano()
	if now-m.smallAt >= int64(mixedTime) {
		m.smalls = 0
	}
	m.smallAt = now
	m.smalls++
	if m.smalls < mixedAfter {
		return
	}
	m.smalls = mixedAfter
	m.mixedAt.Store(now)
	m.pc.Hurry()
}

// mixed reports whether small data was exchanged lately, for which bulk in
// queues is a delay.
func (m *Mux) mixed() bool {
	at := m.mixedAt.Load()
	return at != 0 && time.Now().UnixNano()-at < int64(mixedTime)
}
