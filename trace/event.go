package trace

import (
	"slices"
	"strconv"
	"time"

	"github.com/adit-ssh/adit/internal/wire"
)

// Level says how much a Tracer wants to see. Each level includes those below.
type Level uint8

// Levels, from little to much.
const (
	LevelOff     Level = iota
	LevelConn          // dial, version, key exchange, authentication, forwards
	LevelChannel       // channels opened and closed
	LevelPacket        // every message, without channel data
	LevelData          // every message, with channel data
)

var levelNames = [...]string{"off", "conn", "channel", "packet", "data"}

// String returns the level's name: off, conn, channel, packet or data.
func (l Level) String() string {
	if int(l) < len(levelNames) {
		return levelNames[l]
	}
	return "level " + strconv.Itoa(int(l))
}

// ParseLevel returns the level of that name.
func ParseLevel(name string) (Level, bool) {
	i := slices.Index(levelNames[:], name)
	return Level(max(i, 0)), i >= 0
}

// Event is one thing that happened. Concrete types are plain structs.
type Event interface {
	// Name is the event's stable name, such as "transport:kex_done".
	Name() string
	// Level is the least level at which the event is recorded.
	Level() Level
}

// Tracer receives events. Implementations must not block and must be safe for
// concurrent use. A nil Tracer costs its caller one branch.
type Tracer interface {
	// Level tells the most detailed level wanted. It must not change.
	Level() Level
	// Trace records e, which happened at t.
	Trace(t time.Time, e Event)
}

// Wants reports whether t is there and wants events of level l.
func Wants(t Tracer, l Level) bool { return t != nil && t.Level() >= l }

// Emit records e now, if t wants it.
func Emit(t Tracer, e Event) {
	if Wants(t, e.Level()) {
		t.Trace(time.Now(), e)
	}
}

// Packet is one SSH message sent or received, decoded and without secrets.
type Packet struct {
	Out  bool   // sent by us
	Seq  uint32 // packet sequence number in its direction
	Size int    // payload length, bytes; without the secrets that Msg lacks
	Msg  wire.Msg
	// Withheld says that Msg has no channel data at any level, only its length: an
	// agent's, which may be keys.
	Withheld bool
	Err      error // set, and Msg nil, when it could not be decoded
	Num      byte  // message number
	Phase    wire.Phase
}

// Name implements Event.
func (Packet) Name() string { return "transport:packet" }

// Level implements Event.
func (Packet) Level() Level { return LevelPacket }

// ConnStart is the beginning of a connection, before anything is dialled.
type ConnStart struct {
	// Role is ours: "client" or "server"; "ssm" for a session of AWS's Session
	// Manager that carries no SSH of ours, "agent" for a connection to our agent.
	Role   string
	Target string // a client's: user@host:port
	// Local and Remote are addresses, where they are known yet: a server's. An
	// agent's Remote is the process that asks.
	Local, Remote string
}

// Name implements Event.
func (ConnStart) Name() string { return "connection:start" }

// Level implements Event.
func (ConnStart) Level() Level { return LevelConn }

// DialStage is one step on the way to a server that is over.
type DialStage struct {
	Stage   string        // package dial's: "look up", "connect to", "proxy command", "jump host", …
	Address string        // a name, host:port, a path, or a command's first word
	Found   []string      // with "look up": addresses, in the order in which they are tried
	Took    time.Duration // of this step
	Err     string        // why it did not work; empty when it did
}

// Name implements Event.
func (DialStage) Name() string { return "dial:stage" }

// Level implements Event.
func (DialStage) Level() Level { return LevelConn }

// ConnUp is when bytes can be exchanged with the server: the dialling is over.
type ConnUp struct {
	Local, Remote string        // addresses
	Took          time.Duration // since ConnStart
}

// Name implements Event.
func (ConnUp) Name() string { return "connection:up" }

// Level implements Event.
func (ConnUp) Level() Level { return LevelConn }

// ConnEnd is a connection's end, or that it did not come about.
type ConnEnd struct {
	Took time.Duration // since ConnStart
	Err  string        // why; empty when we closed it
}

// Name implements Event.
func (ConnEnd) Name() string { return "connection:end" }

// Level implements Event.
func (ConnEnd) Level() Level { return LevelConn }

// Version is the exchange of version lines (RFC 4253, section 4.2).
type Version struct{ Local, Peer string }

// Name implements Event.
func (Version) Name() string { return "transport:version" }

// Level implements Event.
func (Version) Level() Level { return LevelConn }

// BannerLine is a line that a server sent before its version line.
type BannerLine struct {
	Text   string // sanitised, 256 bytes at most
	Size   int    // bytes, without the line's end
	Number int    // counts from 1
}

// Name implements Event.
func (BannerLine) Name() string { return "transport:banner_line" }

// Level implements Event.
func (BannerLine) Level() Level { return LevelConn }

// Negotiated is what the first KEXINITs of both sides agree on, before anything
// is exchanged.
type Negotiated struct {
	Kex, HostKey        string
	CipherOut, CipherIn string
	MACOut, MACIn       string // empty with an AEAD cipher
	// CompressionOut and CompressionIn are "none", or what begins with the login.
	CompressionOut, CompressionIn string
	Strict                        bool
}

// Name implements Event.
func (Negotiated) Name() string { return "transport:negotiated" }

// Level implements Event.
func (Negotiated) Level() Level { return LevelChannel }

// KexDone is a finished key exchange.
type KexDone struct {
	Kex, HostKey        string
	CipherOut, CipherIn string
	MACOut, MACIn       string // empty with an AEAD cipher
	// CompressionOut and CompressionIn are "none", or what begins with the login.
	CompressionOut, CompressionIn string
	Strict                        bool
	First                         bool
	HostKeyFingerprint            string // SHA256:…
	Took                          time.Duration
}

// Name implements Event.
func (KexDone) Name() string { return "transport:kex_done" }

// Level implements Event.
func (KexDone) Level() Level { return LevelConn }

// Compressing is when what we send begins to be compressed: with the login, and
// anew with each key exchange.
type Compressing struct {
	Effort int // how hard it is tried, of 1 to 9
}

// Name implements Event.
func (Compressing) Name() string { return "transport:compressing" }

// Level implements Event.
func (Compressing) Level() Level { return LevelConn }

// Compressed is what compression did, at the end of a connection that had any: bytes
// of messages before and after.
type Compressed struct {
	RawOut, CompressedOut uint64
	RawIn, CompressedIn   uint64
}

// Name implements Event.
func (Compressed) Name() string { return "transport:compressed" }

// Level implements Event.
func (Compressed) Level() Level { return LevelConn }

// AuthAttempt is one authentication request and its answer, seen by either side.
type AuthAttempt struct {
	User, Method string
	Key          string // fingerprint and algorithm of a public key, or empty
	Probe        bool
	Result       string // "success", "failure", "partial", "key accepted"
	CanContinue  []string
	Err          string // why a server refused, where there is more to say
}

// Name implements Event.
func (AuthAttempt) Name() string { return "userauth:attempt" }

// Level implements Event.
func (AuthAttempt) Level() Level { return LevelConn }

// ChannelOpened is a channel confirmed by the side that was asked.
type ChannelOpened struct {
	Local, Peer  uint32 // channel numbers
	Type         string
	ByPeer       bool
	Target       string // host:port or path, where the type has one
	Originator   string
	WindowIn     uint32
	WindowOut    uint32
	MaxPacketIn  uint32
	MaxPacketOut uint32
}

// Name implements Event.
func (ChannelOpened) Name() string { return "mux:channel_opened" }

// Level implements Event.
func (ChannelOpened) Level() Level { return LevelChannel }

// ChannelRefused is an open that failed.
type ChannelRefused struct {
	Type        string
	ByPeer      bool // the peer asked and we refused
	Target      string
	Originator  string
	Reason      uint32
	Description string
}

// Name implements Event.
func (ChannelRefused) Name() string { return "mux:channel_refused" }

// Level implements Event.
func (ChannelRefused) Level() Level { return LevelChannel }

// ChannelClosed is the end of a channel.
type ChannelClosed struct {
	Local    uint32
	Type     string
	BytesIn  uint64
	BytesOut uint64
	Err      string // why, when not by CLOSE from both sides
}

// Name implements Event.
func (ChannelClosed) Name() string { return "mux:channel_closed" }

// Level implements Event.
func (ChannelClosed) Level() Level { return LevelChannel }

// Forward is the life of one forwarded connection or listener.
type Forward struct {
	What       string // "listen", "accept", "full", "open", "refused", "done"
	Spec       string // as the person wrote it
	Local      string
	Originator string
	Target     string
	In, Out    int64 // bytes, with "done"
	Err        string
}

// Name implements Event.
func (Forward) Name() string { return "forward:event" }

// Level implements Event.
func (Forward) Level() Level { return LevelConn }
