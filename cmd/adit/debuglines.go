package main

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/adit-ssh/adit/internal/wire"
	"github.com/adit-ssh/adit/trace"
)

// debugLines tells a connection's events as ssh -v does: in its words where people
// and scripts know them by heart (sshconnect.c, sshconnect2.c, kex.c, channels.c,
// packet.c), in ours where ssh has none. It is used under its owner's lock.
type debugLines struct {
	user, host string // of the server
	method     string // of the last attempt to log in
	channels   int    // open
}

// debugLine is a line, and which of -v, -vv and -vvv it takes.
type debugLine struct {
	level trace.Level // LevelConn is -v
	text  string
}

// note keeps what lines tell of events before theirs.
func (d *debugLines) note(e trace.Event) {
	switch e := e.(type) {
	case trace.ConnStart:
		user, host, found := strings.Cut(e.Target, "@")
		if !found {
			user, host = "", e.Target
		}
		d.user, d.host = user, host
	case trace.ChannelOpened:
		d.channels++
	case trace.ChannelClosed:
		d.channels--
	}
}

// of returns the lines of an event, which was noted.
func (d *debugLines) of(e trace.Event) (lines []debugLine) {
	say := func(level trace.Level, format string, args ...any) {
		lines = append(lines, debugLine{level, fmt.Sprintf(format, args...)})
	}
	one := func(format string, args ...any) { say(trace.LevelConn, format, args...) }
	switch e := e.(type) {
	case trace.ConnStart:
		one("Connecting to %s.", printable(d.host))
	case trace.DialStage:
		switch {
		case e.Stage == "connect to" && e.Err != "":
			address, port := hostPort(e.Address)
			one("connect to address %s port %s: %s", address, port, printable(e.Err))
		default:
			one("%s", trace.Line(e))
		}
	case trace.ConnUp:
		one("Connection established, %s to %s (%v).", printable(e.Local), printable(e.Remote), e.Took.Round(time.Microsecond))
	case trace.BannerLine:
		one("kex_exchange_identification: banner line %d: %s", e.Number-1, printable(e.Text))
	case trace.Version:
		one("Local version string %s", printable(e.Local))
		version, software, _ := strings.Cut(strings.TrimPrefix(e.Peer, "SSH-"), "-")
		one("Remote protocol version %s, remote software version %s", printable(version), printable(software))
		one("Authenticating to %s as '%s'", printable(d.host), printable(d.user))
		one("SSH2_MSG_KEXINIT sent")
	case trace.Negotiated:
		one("SSH2_MSG_KEXINIT received")
		one("kex: algorithm: %s", e.Kex)
		one("kex: host key algorithm: %s", e.HostKey)
		one("kex: server->client cipher: %s MAC: %s compression: %s", e.CipherIn, implicit(e.MACIn), e.CompressionIn)
		one("kex: client->server cipher: %s MAC: %s compression: %s", e.CipherOut, implicit(e.MACOut), e.CompressionOut)
		one("expecting %s", kexReply(e.Kex))
	case trace.KexDone:
		if e.First {
			one("%s received", kexReply(e.Kex))
		} else {
			one("key exchange %s anew", e.Kex)
		}
		one("Server host key: %s %s", e.HostKey, e.HostKeyFingerprint)
		one("SSH2_MSG_NEWKEYS sent")
		one("SSH2_MSG_NEWKEYS received")
		one("the key exchange took %v; strict key exchange: %t", e.Took.Round(time.Microsecond), e.Strict)
	case trace.AuthAttempt:
		d.attempt(e, one)
	case trace.Compressing:
		one("Enabling compression at level %d.", e.Effort)
	case trace.Compressed:
		one("compress outgoing: raw data %d, compressed %d, factor %.2f", e.RawOut, e.CompressedOut, factor(e.RawOut, e.CompressedOut))
		one("compress incoming: raw data %d, compressed %d, factor %.2f", e.RawIn, e.CompressedIn, factor(e.RawIn, e.CompressedIn))
	case trace.Forward:
		forwardLines(e, one)
	case trace.Packet:
		what := "receive"
		if e.Out {
			what = "send"
		}
		if e.Msg == nil {
			say(trace.LevelPacket, "%s packet: type %d %s: %s", what, e.Num, wire.Name(e.Phase, e.Num), printable(e.Err.Error()))
			break
		}
		say(trace.LevelPacket, "%s packet: type %d %s %s", what, e.Num, wire.MsgName(e.Msg), trace.Describe(e.Msg))
	default:
		if d.channel(e, say) {
			break
		}
		say(e.Level(), "%s", trace.Line(e))
	}
	return lines
}

func implicit(mac string) string {
	if mac == "" {
		return "<implicit>"
	}
	return mac
}

// factor is what part of the data was sent.
func factor(raw, compressed uint64) float64 {
	if raw == 0 {
		return 0
	}
	return float64(compressed) / float64(raw)
}

// kexReply is the message that ssh says it expects.
func kexReply(kex string) string {
	switch {
	case strings.HasPrefix(kex, "diffie-hellman-group-exchange-"):
		return "SSH2_MSG_KEX_DH_GEX_REPLY"
	case strings.HasPrefix(kex, "diffie-hellman-"):
		return "SSH2_MSG_KEXDH_REPLY"
	}
	return "SSH2_MSG_KEX_ECDH_REPLY"
}

// attempt is a request to log in, which is known when its answer is.
func (d *debugLines) attempt(e trace.AuthAttempt, one func(string, ...any)) {
	method, _, _ := strings.Cut(printable(e.Method), "-hostbound")
	if method != d.method && method != wire.MethodNone {
		one("Next authentication method: %s", method)
	}
	d.method = method
	if e.Key != "" && e.Result != "success" {
		one("Offering public key: %s", printable(e.Key))
	}
	switch e.Result {
	case "key accepted":
		one("Server accepts key: %s", printable(e.Key))
	case "success":
		if e.Key != "" {
			one("Signed with key: %s", printable(e.Key))
		}
		one("Authentication succeeded (%s).", method)
	case "partial":
		one("Authenticated using \"%s\" with partial success.", method)
		fallthrough
	default:
		one("Authentications that can continue: %s", printable(strings.Join(e.CanContinue, ",")))
	}
	if e.Err != "" {
		one("%s: %s", method, printable(e.Err))
	}
}

// channel tells of channels as ssh does, which says more of them with -v than we
// have in other places.
func (d *debugLines) channel(e trace.Event, say func(trace.Level, string, ...any)) bool {
	switch e := e.(type) {
	case trace.ChannelOpened:
		about := printable(e.Type)
		if e.Target != "" {
			about += ": " + printable(e.Target)
		}
		if e.Originator != "" {
			about += " from " + printable(e.Originator)
		}
		say(trace.LevelConn, "channel %d: new [%s]", e.Local, about)
		say(trace.LevelChannel, "channel %d: open confirm rwindow %d rmax %d; window here %d, maximum packet %d", e.Local, e.WindowOut, e.MaxPacketOut, e.WindowIn, e.MaxPacketIn)
	case trace.ChannelRefused:
		who := "open failed"
		if e.ByPeer {
			who = "refused here"
		}
		say(trace.LevelConn, "channel %s %s: %s: %s: %s", printable(e.Type), printable(e.Target), who, refusal(e.Reason), printable(e.Description))
	case trace.ChannelClosed:
		say(trace.LevelConn, "channel %d: free: %s, nchannels %d; %d bytes out, %d in", e.Local, printable(e.Type), d.channels, e.BytesOut, e.BytesIn)
		if e.Err != "" {
			say(trace.LevelConn, "channel %d: %s", e.Local, printable(e.Err))
		}
	default:
		return false
	}
	return true
}

// refusal is a reason's name (channels.c, reason2txt).
func refusal(reason uint32) string {
	switch reason {
	case wire.OpenAdministrativelyProhibited:
		return "administratively prohibited"
	case wire.OpenConnectFailed:
		return "connect failed"
	case wire.OpenUnknownChannelType:
		return "unknown channel type"
	case wire.OpenResourceShortage:
		return "resource shortage"
	}
	return "unknown reason"
}

// forwardLines tells of forwards and of the connections through them.
func forwardLines(e trace.Forward, one func(string, ...any)) {
	target, port := hostPort(e.Target)
	switch {
	case e.What == "listen" && e.Local != "" && e.Err == "":
		if address, port := hostPort(e.Local); port != "" {
			one("Local forwarding listening on %s port %s.", address, port)
		} else {
			one("Local forwarding listening on path %s.", printable(e.Local))
		}
	case e.What == "accept" && e.Err == "" && e.Local != "" && port != "":
		_, listen := hostPort(e.Local)
		one("Connection to port %s forwarding to %s port %s requested, from %s.", listen, target, port, printable(e.Originator))
	case e.What == "accept" && e.Err == "" && e.Local == "":
		one("channel_connect_stdio_fwd: %s", printable(e.Target))
	case e.What == "open" && e.Err == "": // the channel's line says so
	default:
		one("%s", trace.Line(e))
	}
}

// hostPort takes an address apart; without a port, port is empty.
func hostPort(s string) (host, port string) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return printable(s), ""
	}
	return printable(host), printable(port)
}

// debugTracer prints the lines of connections other than the one to the server:
// of jump hosts.
type debugTracer struct {
	w    io.Writer
	most trace.Level // of lines

	mu    sync.Mutex
	lines debugLines // guarded by mu
}

// Level implements trace.Tracer. Some of the lines of -v are of events that have a
// higher level.
func (t *debugTracer) Level() trace.Level { return max(trace.LevelChannel, t.most) }

// Trace implements trace.Tracer.
func (t *debugTracer) Trace(_ time.Time, e trace.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines.note(e)
	printDebug(t.w, t.lines.of(e), t.most)
}

// Branch implements trace.Brancher.
func (t *debugTracer) Branch() trace.Tracer { return &debugTracer{w: t.w, most: t.most} }

func printDebug(w io.Writer, lines []debugLine, most trace.Level) {
	for _, l := range lines {
		if l.level <= most {
			fmt.Fprintf(w, "debug%d: %s\n", min(l.level, trace.LevelPacket), l.text)
		}
	}
}
