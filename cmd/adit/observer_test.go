package main

import (
	"strings"
	"testing"
	"time"

	"github.com/adit-ssh/adit/trace"
)

func TestObserver(t *testing.T) {
	var out strings.Builder
	o := newObserver(&out, "INFO")
	now := time.Now()
	shows := func(what string, want bool) {
		t.Helper()
		if got := strings.Contains(out.String(), what); got != want {
			t.Errorf("%q is printed: %t, want %t; all that is:\n%s", what, got, want, out.String())
		}
		out.Reset()
	}
	o.Trace(now, trace.AuthAttempt{Method: "none", Result: "failure"})
	o.Trace(now, trace.AuthAttempt{Method: "publickey-hostbound-v00@openssh.com", Result: "success"})
	o.Trace(now, trace.KexDone{})
	shows("NEWKEYS", false)
	if got := o.loggedInBy(); got != "publickey" {
		t.Errorf("logged in by %q, want OpenSSH's name, publickey", got)
	}
	for _, want := range []string{"VERBOSE", "DEBUG"} {
		if got := o.louder(1); got != want {
			t.Errorf("~v: LogLevel %s, want %s", got, want)
		}
	}
	o.Trace(now, trace.KexDone{})
	shows("debug1: SSH2_MSG_NEWKEYS sent\n", true)
	o.Trace(now, trace.ChannelOpened{Local: 1, Type: "direct-tcpip", Target: "web\x1b:80", Originator: "127.0.0.1:5"})
	o.Trace(now, trace.ChannelOpened{Type: "session"})
	shows("rwindow", false)
	if got, want := o.open(), "  #0 session\n  #1 direct-tcpip to web:80 from 127.0.0.1:5\n"; got != want {
		t.Errorf("open are\n%swant\n%s", got, want)
	}
	o.louder(1)
	o.Trace(now, trace.ChannelOpened{Local: 2})
	o.Trace(now, trace.ChannelClosed{Local: 2})
	shows("debug2: channel 2: open confirm rwindow", true)
	o.Trace(now, trace.ChannelClosed{})
	shows("channel 0: free: , nchannels 1", true)
	if got := o.open(); strings.Contains(got, "session") {
		t.Errorf("after its end there is still\n%s", got)
	}
	for range 20 {
		o.louder(-1)
	}
	if got := o.louder(0); got != "QUIET" {
		t.Errorf("as quiet as can be is %s, want QUIET", got)
	}
	for level, want := range map[string]trace.Level{"QUIET": trace.LevelChannel, "DEBUG3": trace.LevelPacket} {
		if got := newObserver(&out, level).Level(); got != want {
			t.Errorf("LogLevel %s sees level %d, want %d", level, got, want)
		}
	}
}

// Lines stay lines in a raw terminal.
func TestMessages(t *testing.T) {
	var out strings.Builder
	raw := true
	m := &messageWriter{w: &out}
	m.onTerminal(func() bool { return raw })
	m.Write([]byte("to a file\n"))
	if got := out.String(); got != "to a file\n" {
		t.Errorf("a file gets %q", got)
	}
	if !m.elsewhere() {
		t.Error("a file is taken for standard error")
	}
}
