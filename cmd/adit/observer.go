package main

import (
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/trace"
)

// observer is the tracer of `adit ssh`: it prints what -v asks for, and keeps what
// is told of a session later.
type observer struct {
	w    io.Writer
	most trace.Level

	mu       sync.Mutex
	level    int                            // index in logLevels; guarded by mu
	method   string                         // that we logged in with; guarded by mu
	channels map[uint32]trace.ChannelOpened // guarded by mu
	lines    debugLines                     // guarded by mu
}

// newObserver returns one that prints what level asks for. ~v can't make it see
// more than channels, if it did not from the beginning.
func newObserver(w io.Writer, level string) *observer {
	o := &observer{w: w, level: max(0, slices.Index(logLevels, level)), channels: map[uint32]trace.ChannelOpened{}}
	o.most = max(trace.LevelChannel, o.prints())
	return o
}

// prints is the level of lines that are printed. It is called under mu, or
// before there is company.
func (o *observer) prints() trace.Level {
	return trace.Level(max(0, o.level-slices.Index(logLevels, "VERBOSE")))
}

// Level implements trace.Tracer.
func (o *observer) Level() trace.Level { return o.most }

// Trace implements trace.Tracer.
func (o *observer) Trace(_ time.Time, e trace.Event) {
	o.mu.Lock()
	switch e := e.(type) {
	case trace.AuthAttempt:
		if e.Result == "success" {
			o.method, _, _ = strings.Cut(e.Method, "-hostbound") // as OpenSSH calls it
		}
	case trace.ChannelOpened:
		o.channels[e.Local] = e
	case trace.ChannelClosed:
		delete(o.channels, e.Local)
	}
	most := o.prints()
	o.lines.note(e)
	var lines []debugLine
	if most > trace.LevelOff {
		lines = o.lines.of(e)
	}
	o.mu.Unlock()
	printDebug(o.w, lines, most)
}

// louder changes the level by one step, and returns its name.
func (o *observer) louder(step int) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.level = min(max(0, o.level+step), len(logLevels)-1)
	return logLevels[o.level]
}

// loggedInBy returns the method that the server let us in by.
func (o *observer) loggedInBy() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.method
}

// list is the answer to ~# (OpenSSH, channels.c, channel_open_message).
func (o *observer) list() string { return "The following connections are open:\n" + o.open() }

// open lists the channels that are open, a line each.
func (o *observer) open() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var ids []uint32
	for id := range o.channels {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	var b strings.Builder
	for _, id := range ids {
		e := o.channels[id]
		fmt.Fprintf(&b, "  #%d %s", id, printable(e.Type))
		if e.Target != "" {
			fmt.Fprintf(&b, " to %s", printable(e.Target))
		}
		if e.Originator != "" {
			fmt.Fprintf(&b, " from %s", printable(e.Originator))
		}
		b.WriteString("\n")
	}
	return b.String()
}

// verbosity is LogLevel, with -v.
func (a *sshArgs) verbosity() string {
	if a.verbose > 0 {
		return logLevels[min(slices.Index(logLevels, "VERBOSE")+a.verbose, len(logLevels)-1)]
	}
	return a.logLevel
}

// tellLogin tells how we logged in, in the words that scripts look for
// (sshconnect2.c, ssh_userauth2).
func (a *sshArgs) tellLogin(c *adit.Client) {
	where := "via proxy"
	if tcp, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		where = fmt.Sprintf("[%s]:%d", tcp.AddrPort().Addr().Unmap(), tcp.Port)
	}
	a.sayAs("VERBOSE", fmt.Sprintf("Authenticated to %s (%s) using \"%s\".", a.Host, where, a.observer.loggedInBy()))
}
