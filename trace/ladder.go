package trace

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/adit-ssh/adit/internal/wire"
)

// NewLadder returns a Tracer that writes one line a message to w, with an arrow
// between the names of the two sides, ours first:
//
//	client ───> server  90 CHANNEL_OPEN channel type=direct-tcpip …
//
// Events that are no messages are left out; level is LevelPacket or LevelData.
// It writes under a lock, so w should not block for long. Errors of w are
// dropped. To show what happened earlier, pass it the Records of a Recorder.
func NewLadder(w io.Writer, level Level, local, peer string) Tracer {
	return &ladder{w: w, level: level, local: local, peer: peer}
}

type ladder struct {
	w           io.Writer
	level       Level
	local, peer string
	mu          sync.Mutex
}

// Level implements Tracer.
func (l *ladder) Level() Level { return l.level }

// Trace implements Tracer.
func (l *ladder) Trace(_ time.Time, e Event) {
	p, ok := e.(Packet)
	if !ok {
		return
	}
	arrow := "<───"
	if p.Out {
		arrow = "───>"
	}
	line := fmt.Sprintf("%s %s %s %3d %s\n", l.local, arrow, l.peer, p.Num, describePacket(p))
	l.mu.Lock()
	defer l.mu.Unlock()
	io.WriteString(l.w, line)
}

// describePacket names a message and its fields.
func describePacket(p Packet) string {
	if p.Msg == nil {
		return fmt.Sprintf("%s (%v)", wire.Name(p.Phase, p.Num), p.Err)
	}
	return fmt.Sprintf("%s %s", wire.MsgName(p.Msg), Describe(p.Msg))
}
