package transport

import (
	"fmt"
	"sync/atomic"

	"github.com/adit-ssh/adit/internal/algo"
	"github.com/adit-ssh/adit/internal/wire"
	"github.com/adit-ssh/adit/internal/zstream"
	"github.com/adit-ssh/adit/trace"
)

// Compression (RFC 4253, section 6.2) is zlib@openssh.com: each direction is one
// zlib stream, from the login's success on, which begins anew with each NEWKEYS.
//
//	                 client                      server
//	             USERAUTH_REQUEST ──────────────►
//	                            ◄─────────────── USERAUTH_SUCCESS
//	compresses, expands          ═══════════════ compresses, expands
//
// The client can't tell what it sends on the way of USERAUTH_SUCCESS from what
// comes after: the server takes both for compressed. So it sends nothing behind a
// request that may succeed, and neither side asks for new keys before the login.

// heldCap is how much of what packets expanded to is kept at once, in bytes: as
// long as the layer above looks at the packets of one read. A packet more may
// come on top.
const heldCap = 256 << 10

// compression is what one direction does about it. It is owned by whoever owns the
// half.
type compression struct {
	agreed bool // on zlib@openssh.com, with the current keys
	open   bool // the login's success has gone by
}

// starts reports whether a stream begins now.
func (c compression) starts() bool { return c.agreed && c.open }

// tally counts a direction's bytes for those who ask at the end.
type tally struct{ raw, compressed atomic.Uint64 }

func (t *tally) set(raw, compressed uint64) {
	t.raw.Store(raw)
	t.compressed.Store(compressed)
}

// compresses reports whether a direction is compressed once the login is done.
func compresses(d Direction) bool { return d.Compression == algo.CompressionDelayed }

// rekeyed begins a direction's new keys.
func (h *inHalf) rekeyed(zlib bool) {
	h.zlib.agreed = zlib
	h.restart()
}

// loggedIn says that what comes from now on comes after the login's success.
func (h *inHalf) loggedIn() {
	h.zlib.open = true
	h.restart()
}

// restart begins a stream, or ends it, where the keys or the login's end say so.
func (h *inHalf) restart() {
	if !h.zlib.starts() {
		h.inflate = nil
		return
	}
	if h.inflater == nil {
		h.inflater = new(zstream.Inflater)
	}
	h.inflater.Reset()
	h.inflate = h.inflater
}

// expand returns what a compressed payload was. It stays valid until forget.
func (h *inHalf) expand(seq uint32, payload []byte) ([]byte, error) {
	p, err := h.inflate.Inflate(payload, algo.MaxPacketLength)
	if err != nil {
		return nil, &ProtocolError{wire.DisconnectCompressionError, fmt.Errorf("packet %d: decompress: %w", seq, err)}
	}
	compressed, raw := h.inflate.Totals()
	h.tally.set(raw, compressed)
	return p, nil
}

// holds reports whether so much expanded data is looked at that no more should
// come before forget.
func (h *inHalf) holds() bool { return h.inflate != nil && h.inflate.Lent() >= heldCap }

// forget says that nobody looks at expanded data any more.
func (h *inHalf) forget() {
	if h.inflate != nil {
		h.inflate.Forget()
	}
}

// rekeyed begins the out half's new keys.
func (o *outHalf) rekeyed(zlib bool) {
	o.zlib.agreed = zlib
	o.restart()
}

// loggedIn says that what is sealed from now on comes after the login's success.
func (o *outHalf) loggedIn() {
	o.zlib.open = true
	o.restart()
}

func (o *outHalf) restart() {
	if !o.zlib.starts() {
		o.deflate = nil
		return
	}
	if o.deflater == nil {
		o.deflater = zstream.NewDeflater()
	} else {
		o.deflater.Reset()
	}
	o.deflate = o.deflater
	if o.compressing != nil {
		o.compressing()
	}
}

// squeeze returns a payload compressed, valid until the next.
func (o *outHalf) squeeze(p []byte) []byte {
	o.squeezed = o.deflate.Append(o.squeezed[:0], p)
	o.tally.set(o.deflate.Totals())
	return o.squeezed
}

// awaitLogin holds back key exchanges of our own until the login is done, if it
// changes what packets look like.
func (c *Conn) awaitLogin(a *Algorithms) {
	c.kexMu.Lock()
	defer c.kexMu.Unlock()
	c.beforeLogin = !c.loggedIn && (compresses(a.Client) || compresses(a.Server))
}

// login is when the login's success goes by: the client has read it, the server
// has queued it, with the reading goroutine.
func (c *Conn) login() {
	c.loggedIn = true
	c.in.loggedIn()
	if !c.server { // the server's out half knows when it has sealed the message
		c.out.queueKex(kexMsg{loggedIn: true}) // it goes before the next message
		c.afterLogin()
	}
}

// afterLogin begins the exchange that waited. What is sent now comes after the
// login's success.
func (c *Conn) afterLogin() {
	c.kexMu.Lock()
	due := c.rekeyDue
	c.beforeLogin, c.rekeyDue = false, false
	c.kexMu.Unlock()
	if due {
		c.beginExchange()
	}
}

// tellCompressed tells the tracer how much was saved.
func (c *Conn) tellCompressed() {
	e := trace.Compressed{
		RawOut: c.out.tally.raw.Load(), CompressedOut: c.out.tally.compressed.Load(),
		RawIn: c.in.tally.raw.Load(), CompressedIn: c.in.tally.compressed.Load(),
	}
	if e != (trace.Compressed{}) {
		trace.Emit(c.cfg.Tracer, e)
	}
}
