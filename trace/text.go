package trace

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/adit-ssh/adit/internal/wire"
)

// NewText returns a Tracer that writes one line an event to w: seconds since
// its making, then what happened. It writes under a lock, so w should not block
// for long. Errors of w are dropped.
func NewText(w io.Writer, level Level) Tracer {
	return &text{w: w, level: level, began: time.Now()}
}

type text struct {
	w     io.Writer
	level Level
	began time.Time
	mu    sync.Mutex
}

// Level implements Tracer.
func (t *text) Level() Level { return t.level }

// Trace implements Tracer.
func (t *text) Trace(at time.Time, e Event) {
	line := fmt.Sprintf("%9.6f %s\n", at.Sub(t.began).Seconds(), Line(e))
	t.mu.Lock()
	defer t.mu.Unlock()
	io.WriteString(t.w, line)
}

// Line returns an event as one line of text.
func Line(e Event) string {
	switch e := e.(type) {
	case Packet:
		return fmt.Sprintf("%s %3d %s", arrow(e.Out), e.Num, describePacket(e))
	case Message:
		return strings.TrimSpace(fmt.Sprintf("%s %s %s %s", arrow(e.Out), e.Protocol, quote(e.Type), FieldsText(e.Fields)))
	case ConnStart, DialStage, ConnUp, ConnEnd:
		return wayLine(e)
	case Version:
		return fmt.Sprintf("version local=%s peer=%s", quote(e.Local), quote(e.Peer))
	case BannerLine:
		return fmt.Sprintf("line %d before the version line: %s", e.Number, quote(e.Text))
	case Negotiated:
		return fmt.Sprintf("negotiated %s host key %s cipher out=%s in=%s", e.Kex, e.HostKey, e.CipherOut, e.CipherIn)
	case KexDone:
		s := fmt.Sprintf("kex %s host key %s %s cipher out=%s in=%s", e.Kex, e.HostKey, e.HostKeyFingerprint, e.CipherOut, e.CipherIn)
		if e.MACOut != "" || e.MACIn != "" {
			s += fmt.Sprintf(" mac out=%s in=%s", e.MACOut, e.MACIn)
		}
		if compresses(e.CompressionOut) || compresses(e.CompressionIn) {
			s += fmt.Sprintf(" compression out=%s in=%s", e.CompressionOut, e.CompressionIn)
		}
		return fmt.Sprintf("%s strict=%v in %v", s, e.Strict, e.Took.Round(time.Microsecond))
	case Compressing:
		return fmt.Sprintf("compressing what is sent, effort %d", e.Effort)
	case Compressed:
		return fmt.Sprintf("compressed %d bytes out to %d, %d in from %d", e.RawOut, e.CompressedOut, e.RawIn, e.CompressedIn)
	case AuthAttempt:
		s := fmt.Sprintf("login %s method=%s", quote(e.User), quote(e.Method))
		if e.Key != "" {
			s += " key=" + quote(e.Key)
		}
		return s + " " + e.Result
	case ChannelOpened:
		return fmt.Sprintf("channel %d (peer %d) %s open, window in=%d out=%d", e.Local, e.Peer, quote(e.Type), e.WindowIn, e.WindowOut)
	case ChannelRefused:
		return fmt.Sprintf("channel %s refused: reason %d %s", quote(e.Type), e.Reason, quote(e.Description))
	case ChannelClosed:
		return fmt.Sprintf("channel %d closed, %d bytes in, %d out", e.Local, e.BytesIn, e.BytesOut)
	case Forward:
		return forwardLine(e)
	}
	return strings.TrimSpace(e.Name() + " " + FieldsText(eventFields(e)))
}

// arrow points to the left for what comes in.
func arrow(out bool) string {
	if out {
		return "->"
	}
	return "<-"
}

// wayLine tells of the way to the server.
func wayLine(e Event) string {
	line, failure := "", ""
	switch e := e.(type) {
	case ConnStart:
		line = "connecting to " + quote(e.Target)
		if e.Role == "server" || e.Role == "agent" {
			line = "connection from " + quote(e.Remote)
		}
	case DialStage:
		line, failure = fmt.Sprintf("%s %s", e.Stage, quote(e.Address)), e.Err
		if len(e.Found) > 0 {
			line += ": " + listText(e.Found)
		}
		line += fmt.Sprintf(" in %v", e.Took.Round(time.Microsecond))
	case ConnUp:
		line = fmt.Sprintf("connected from %s to %s in %v", quote(e.Local), quote(e.Remote), e.Took.Round(time.Microsecond))
	case ConnEnd:
		line, failure = "connection ended", e.Err
	}
	if failure != "" {
		line += ": " + quote(failure)
	}
	return line
}

func forwardLine(e Forward) string {
	switch {
	case e.Target != "" || e.Err == "":
	case e.Originator != "": // a client that named no target
		return fmt.Sprintf("forward %s: %s from %s: %s", e.Spec, e.What, e.Originator, quote(e.Err))
	default: // a listener
		return fmt.Sprintf("forward %s: %s: %s", e.Spec, e.What, quote(e.Err))
	}
	switch e.What {
	case "listen":
		return fmt.Sprintf("forward %s: listening on %s", e.Spec, e.Local)
	case "done":
		s := fmt.Sprintf("forward %s: %s to %s ended, %d bytes out, %d in", e.Spec, e.Originator, quote(e.Target), e.Out, e.In)
		if e.Err != "" {
			s += ": " + quote(e.Err)
		}
		return s
	}
	s := fmt.Sprintf("forward %s: %s from %s to %s", e.Spec, e.What, e.Originator, quote(e.Target))
	if e.Err != "" {
		s += ": " + quote(e.Err)
	}
	return s
}

// describePacket names a message and its fields.
func describePacket(p Packet) string {
	if p.Msg == nil {
		return fmt.Sprintf("%s (%v)", wire.Name(p.Phase, p.Num), p.Err)
	}
	return strings.TrimSpace(wire.MsgName(p.Msg) + " " + Describe(p.Msg))
}
