package transport

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/adit-ssh/adit/trace"
)

// A server that does not begin as one does is named for what it is, at once
// where it can't become one, and at its end or ours otherwise.
func TestGreetings(t *testing.T) {
	const patience = 10 * time.Second
	line := func(n int) string { return strings.Repeat("x", n) + "\r\n" }
	for _, c := range []struct {
		name   string
		sends  string
		closes bool // and then it closes, else it is silent
		want   Greeting
		text   string        // in the error
		took   time.Duration // until the error
	}{
		{"silent", "", false, GreetingSilence, "did not come in time: patience has an end", patience},
		{"closes", "", true, GreetingClosed, "closed the connection", 0},
		{"closes after text", "ssh: connect to host db: no route\r\n", true, GreetingCut, `it sent "ssh: connect to host db: no route"`, 0},
		{"closes in a line", "channel 0: open fai", true, GreetingCut, `it sent "channel 0: open fai"`, 0},
		{"login", "Welcome to Jump\r\n\r\nLast login: today\r\n$ ", false, GreetingText, `"Welcome to Jump |  | Last login: today | $ "`, patience},
		{"many lines", strings.Repeat("hello\r\n", 500), false, GreetingText, "and more, 500 lines in all", patience},
		{"terminal codes", "\x1b[2J\x07hi\x9b\r\n", true, GreetingCut, `"?[2J?hi?"`, 0},
		{"echo behind a prompt", "$ ours\r\n", true, GreetingEcho, "our own version line came back", 0},
		{"shell", "Welcome\r\nbash: line 1: ours: command not found\r\n", false, GreetingEcho, "our own version line came back", patience},
		{"HTML that quotes us", "<!DOCTYPE HTML>\n<p>Bad request syntax ('ours')\n", true, GreetingHTTP, "as a web server", 0},
		{"HTTP 400", "HTTP/1.1 400 Bad Request\r\nConnection: keep-alive\r\n", false, GreetingHTTP, "as a web server", 0},
		{"HTTP 407", "HTTP/1.0 407 Proxy Authentication Required\r\n\r\n", false, GreetingHTTP, "as a web server", 0},
		{"HTTP 200", "HTTP/1.1 200 OK\r\n\r\n", false, GreetingHTTP, "as a web server", patience},
		{"HTML", "<!DOCTYPE html>\n<html><body>no</body></html>\n", true, GreetingHTTP, "as a web server", 0},
		{"TLS handshake", "\x16\x03\x01\x02", false, GreetingTLS, "TLS records", 0},
		{"TLS alert", "\x15\x03\x03\x00\x02\x02\x46", true, GreetingTLS, "TLS records", 0},
		{"Telnet", "\xff\xfd\x18\xff\xfd\x20", false, GreetingTelnet, "as Telnet does", 0},
		{"FTP", "220 (vsFTPd 3.0.3)\r\n530 Please login with USER and PASS.\r\n", false, GreetingMail, "SMTP and FTP", 0},
		{"SMTP that waits", "220 mx ESMTP Postfix\r\n", false, GreetingMail, "SMTP and FTP", patience},
		{"MySQL", "\x4a\x00\x00\x00\x0a8.0.36\x00", false, GreetingOther, "a MySQL server", 0},
		{"MariaDB that refuses", "\x45\x00\x00\x00\xff\x6a\x04Host is not allowed", true, GreetingOther, "a MySQL server", 0},
		{"Redis", "-ERR unknown command 'ours'\r\n", true, GreetingEcho, "ours", 0},
		{"VNC", "RFB 003.008\n", false, GreetingOther, "a VNC server", patience},
		{"MaxStartups", "Exceeded MaxStartups\r\n", true, GreetingRefusal, "Exceeded MaxStartups", 0},
		{"penalty", "Not allowed at this time\r\n", true, GreetingRefusal, "Not allowed", 0},
		{"SSH 1", "SSH-1.5-old\r\n", false, GreetingSSH1, "only protocol version 2.0", 0},
		{"null byte in a line", "a\x00b\r\n", false, GreetingFlood, "null byte", 0},
		{"line too long", line(8193), false, GreetingFlood, "longer than 8192", 0},
		{"line without end", strings.Repeat("x", 9000), false, GreetingFlood, "longer than 8192", 0},
		{"too many lines", strings.Repeat(line(1), 1024), false, GreetingFlood, "first 1024 lines", 0},
		{"longest lines", line(8192) + line(8192), true, GreetingCut, "closed", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				go func() { // ends when either side closes
					if c.sends != "" {
						io.WriteString(theirs, strings.ReplaceAll(c.sends, "ours", DefaultVersion))
					}
					if c.closes {
						theirs.Close()
					}
				}()
				go io.Copy(io.Discard, theirs) // ends with theirs
				defer theirs.Close()
				ctx, cancel := context.WithTimeoutCause(t.Context(), patience, errors.New("patience has an end"))
				defer cancel()
				began := time.Now()
				_, err := Client(ctx, ours, &Config{CheckHostKey: accept})
				e, ok := errors.AsType[*VersionError](err)
				if !ok {
					t.Fatalf("got %v, want a VersionError", err)
				}
				if e.Greeting != c.want || !strings.Contains(e.Error(), strings.ReplaceAll(c.text, "ours", DefaultVersion)) {
					t.Errorf("got %s: %v\nwant %s, with %q", e.Greeting, e, c.want, c.text)
				}
				if took := time.Since(began); took != c.took {
					t.Errorf("took %v, want %v", took, c.took)
				}
				if e.Hint() == "" && e.Greeting != GreetingOther {
					t.Errorf("%s has no hint", e.Greeting)
				}
				if strings.ContainsAny(e.Error(), "\x1b\x07\x00\n") {
					t.Errorf("the text is not fit for a terminal: %q", e.Error())
				}
			})
		})
	}
}

// A connection that ends because its caller has enough of it says so: silence of
// the peer has nothing to do with it.
func TestGreetingInterrupted(t *testing.T) {
	a, _ := tcpPipe(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("interrupt"))
	if _, err := Client(ctx, a, &Config{CheckHostKey: accept}); err == nil || err.Error() != "interrupt" {
		t.Errorf("got %v, want the context's cause alone", err)
	}
}

// All that OpenSSH bears before a version line is borne, and told: 1023 lines, of
// 8192 bytes each.
func TestBannerLimits(t *testing.T) {
	a, b := tcpPipe(t)
	events := trace.NewRecorder(trace.LevelConn, 2000)
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		io.WriteString(b, strings.Repeat(strings.Repeat("x", 8192)+"\r\n", 1023)+"SSH-2.0-x\r\n")
		b.(*net.TCPConn).CloseWrite()
		io.Copy(io.Discard, b)
	}()
	_, err := Client(t.Context(), a, &Config{CheckHostKey: accept, Tracer: events})
	<-sent
	if _, ok := errors.AsType[*VersionError](err); ok || err == nil {
		t.Fatalf("got %v, want an error behind the version line", err)
	}
	var lines []trace.BannerLine
	version := false
	for _, r := range events.Records() {
		switch e := r.Event.(type) {
		case trace.BannerLine:
			lines = append(lines, e)
		case trace.Version:
			version = e.Peer == "SSH-2.0-x"
		}
	}
	if len(lines) != 1023 || !version {
		t.Fatalf("got %d lines, version %v, want 1023 and the version", len(lines), version)
	}
	if l := lines[1022]; l.Number != 1023 || l.Size != 8192 || len(l.Text) > 260 {
		t.Errorf("the last line is %d with %d bytes, shown as %q", l.Number, l.Size, l.Text)
	}
}

// What comes back from an echo service or a terminal is no server, although its
// version line is one that another adit has.
func TestEcho(t *testing.T) {
	for name, echo := range map[string]func([]byte) string{
		"service": func(b []byte) string { return string(b) },
		"terminal": func(b []byte) string {
			return strings.NewReplacer("\x00", "^@", "\r\n", "\r\n", "\x14", "^T").Replace(string(b))
		},
		"terminal behind a prompt": func(b []byte) string { return "$ " + string(b) },
	} {
		t.Run(name, func(t *testing.T) {
			a, b := tcpPipe(t)
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				buf := make([]byte, 1<<16)
				for {
					n, err := b.Read(buf)
					if err != nil {
						return
					}
					io.WriteString(b, echo(buf[:n]))
				}
			}()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := Client(ctx, a, &Config{CheckHostKey: accept})
			b.Close()
			<-ended
			if e, ok := errors.AsType[*VersionError](err); !ok || e.Greeting != GreetingEcho {
				t.Errorf("got %v, want a VersionError about an echo", err)
			}
		})
	}
}

// FuzzGreeting: whatever comes before a version line is told in printable text,
// and the line is found if it is within the limits.
func FuzzGreeting(f *testing.F) {
	for _, s := range []string{"", "hello\r\n", "SSH-2.0-x\r\n", "a\nb\nSSH-1.99-y\n", "220 x\r\n500 y\r\n", "HTTP/1.1 400 x\r\n", "\x16\x03\x01", "\xff\xfb\x01",
		"SSH-2.0-" + strings.Repeat("v", 300), DefaultVersion + "\r\n^@^@^C", "\x4a\x00\x00\x00\x0a8\x00"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		_, err := Client(t.Context(), &streamConn{in: sent}, &Config{CheckHostKey: accept, Tracer: everything()})
		if err == nil {
			t.Fatal("a client without a server")
		}
		e, ok := errors.AsType[*VersionError](err)
		if !ok {
			if !strings.Contains(string(sent), "SSH-") {
				t.Errorf("%q: got %v, want a VersionError", sent, err)
			}
			return
		}
		if e.Greeting == "" || e.Text == "" {
			t.Errorf("%q: nothing is said about it: %#v", sent, e)
		}
		for _, r := range e.Error() + e.Hint() {
			if r < ' ' || r == 0x7f {
				t.Fatalf("%q: %q is not fit for a terminal", sent, e.Error())
			}
		}
	})
}
