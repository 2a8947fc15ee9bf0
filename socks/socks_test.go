package socks

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// duplex is a connection whose client sent everything it ever will, and whose
// answers are kept.
type duplex struct {
	net.Conn
	in  io.Reader
	out bytes.Buffer
}

func (d *duplex) Read(p []byte) (int, error)       { return d.in.Read(p) }
func (d *duplex) Write(p []byte) (int, error)      { return d.out.Write(p) }
func (d *duplex) SetDeadline(time.Time) error      { return nil }
func (d *duplex) SetWriteDeadline(time.Time) error { return nil }

// oneByte makes a duplex of a client that sends a byte at a time.
type oneByte struct{ r io.Reader }

func (o oneByte) Read(p []byte) (int, error) { return o.r.Read(p[:min(1, len(p))]) }

const longName = "a.name.of.255.bytes"

func name255() string { return longName + strings.Repeat("x", 255-len(longName)) }

var good = []struct {
	what string
	send string
	want Request
	// sent by us: before the answer, when granted, when refused with 5.
	before, granted, refused string
}{
	{"SOCKS4", "\x04\x01\x00\x50\x0a\x01\x02\x03me\x00", Request{Version: SOCKS4, Host: "10.1.2.3", Port: 80, User: "me"},
		"", "\x00\x5a\x1f\x90\x7f\x00\x00\x01", "\x00\x5b\x00\x00\x00\x00\x00\x00"},
	{"SOCKS4 to 0.0.0.0 is no SOCKS4a", "\x04\x01\x00\x50\x00\x00\x00\x00\x00", Request{Version: SOCKS4, Host: "0.0.0.0", Port: 80},
		"", "\x00\x5a\x1f\x90\x7f\x00\x00\x01", "\x00\x5b\x00\x00\x00\x00\x00\x00"},
	{"SOCKS4a", "\x04\x01\x15\x38\x00\x00\x00\x01\x00db.internal\x00", Request{Version: SOCKS4a, Host: "db.internal", Port: 5432},
		"", "\x00\x5a\x1f\x90\x7f\x00\x00\x01", "\x00\x5b\x00\x00\x00\x00\x00\x00"},
	{"SOCKS5 name", "\x05\x02\x02\x00\x05\x01\x00\x03\x0bdb.internal\x15\x38", Request{Version: SOCKS5, Host: "db.internal", Port: 5432},
		"\x05\x00", "\x05\x00\x00\x01\x7f\x00\x00\x01\x1f\x90", "\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00"},
	{"SOCKS5 longest name", "\x05\x01\x00\x05\x01\x00\x03\xff" + name255() + "\x00\x01", Request{Version: SOCKS5, Host: name255(), Port: 1},
		"\x05\x00", "\x05\x00\x00\x01\x7f\x00\x00\x01\x1f\x90", "\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00"},
	{"SOCKS5 IPv4", "\x05\x01\x00\x05\x01\x00\x01\x0a\x01\x02\x03\xff\xff", Request{Version: SOCKS5, Host: "10.1.2.3", Port: 65535},
		"\x05\x00", "\x05\x00\x00\x01\x7f\x00\x00\x01\x1f\x90", "\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00"},
	{"SOCKS5 IPv6", "\x05\x01\x00\x05\x01\x00\x04\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) + "\x01\x00\x16", Request{Version: SOCKS5, Host: "2001:db8::1", Port: 22},
		"\x05\x00", "\x05\x00\x00\x01\x7f\x00\x00\x01\x1f\x90", "\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00"},
	{"CONNECT", "CONNECT db.internal:5432 HTTP/1.1\r\nHost: db.internal:5432\r\nUser-Agent: x\r\n\r\n", Request{Version: HTTPConnect, Host: "db.internal", Port: 5432},
		"", "HTTP/1.1 200 Connection established\r\n\r\n",
		"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\nContent-Length: 25\r\n\r\nadit: connection refused\n"},
	{"CONNECT, IPv6 and bare line feeds", "CONNECT [2001:db8::1]:22 HTTP/1.0\n\n", Request{Version: HTTPConnect, Host: "2001:db8::1", Port: 22},
		"", "HTTP/1.1 200 Connection established\r\n\r\n",
		"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\nContent-Length: 25\r\n\r\nadit: connection refused\n"},
}

func TestAccept(t *testing.T) {
	const behind = "sent without waiting"
	for _, tt := range good {
		for _, slow := range []bool{false, true} {
			name := tt.what
			var in io.Reader = strings.NewReader(tt.send + behind)
			if slow {
				name += ", a byte at a time"
				in = oneByte{in}
			}
			t.Run(name, func(t *testing.T) {
				d := &duplex{in: in}
				r, err := Accept(context.Background(), d)
				if err != nil {
					t.Fatal(err)
				}
				if got := (Request{Version: r.Version, Host: r.Host, Port: r.Port, User: r.User}); got.Version != tt.want.Version || got.Host != tt.want.Host || got.Port != tt.want.Port || got.User != tt.want.User {
					t.Errorf("request %+v, want %+v", got, tt.want)
				}
				if got := d.out.String(); got != tt.before {
					t.Errorf("sent %q before the caller answered, want %q", got, tt.before)
				}
				left, _ := io.ReadAll(d.in)
				if got := string(r.Rest()) + string(left); got != behind {
					t.Errorf("%q is left of what was sent behind the request, want %q", got, behind)
				}

				d.out.Reset()
				if err := r.Grant(netip.MustParseAddrPort("127.0.0.1:8080")); err != nil {
					t.Error(err)
				}
				if got := d.out.String(); got != tt.granted {
					t.Errorf("granted with %q, want %q", got, tt.granted)
				}
				d.out.Reset()
				if err := r.Refuse(Refusal{Reply: ConnectionRefused, Status: 502}); err != nil {
					t.Error(err)
				}
				if got := d.out.String(); got != tt.refused {
					t.Errorf("refused with %q, want %q", got, tt.refused)
				}
			})
		}
	}
}

func TestAcceptRefuses(t *testing.T) {
	http := func(status string) string { return "HTTP/1.1 " + status + "\r\n" }
	for _, tt := range []struct {
		what, send string
		want       string // how the answer begins; all of it unless HTTP
		err        string
	}{
		{"SOCKS4 BIND", "\x04\x02\x00\x50\x0a\x01\x02\x03\x00", "\x00\x5b\x00\x00\x00\x00\x00\x00", "command 2"},
		{"SOCKS4a without a name", "\x04\x01\x00\x50\x00\x00\x00\x01\x00\x00", "\x00\x5b\x00\x00\x00\x00\x00\x00", "empty host"},
		{"SOCKS4 endless user", "\x04\x01\x00\x50\x0a\x01\x02\x03" + strings.Repeat("u", 1<<20), "\x00\x5b\x00\x00\x00\x00\x00\x00", "more than 255"},
		{"SOCKS4a endless name", "\x04\x01\x00\x50\x00\x00\x00\x01\x00" + strings.Repeat("n", 1<<20), "\x00\x5b\x00\x00\x00\x00\x00\x00", "more than 255"},
		{"SOCKS4a name of 256", "\x04\x01\x00\x50\x00\x00\x00\x01\x00" + strings.Repeat("n", 256) + "\x00", "\x00\x5b\x00\x00\x00\x00\x00\x00", "more than 255"},
		{"SOCKS5 with a password only", "\x05\x01\x02", "\x05\xff", "authenticate"},
		{"SOCKS5 without methods", "\x05\x00", "\x05\xff", "authenticate"},
		{"SOCKS5 BIND", "\x05\x01\x00\x05\x02\x00\x01\x0a\x01\x02\x03\x00\x50", "\x05\x00\x05\x07\x00\x01\x00\x00\x00\x00\x00\x00", "command 2"},
		{"SOCKS5 UDP ASSOCIATE", "\x05\x01\x00\x05\x03\x00\x03\x01a\x00\x50", "\x05\x00\x05\x07\x00\x01\x00\x00\x00\x00\x00\x00", "command 3"},
		{"SOCKS5 unknown address type", "\x05\x01\x00\x05\x01\x00\x02\x0a\x01\x02\x03\x00\x50", "\x05\x00\x05\x08\x00\x01\x00\x00\x00\x00\x00\x00", "address type 2"},
		{"SOCKS5 empty name", "\x05\x01\x00\x05\x01\x00\x03\x00\x00\x50", "\x05\x00\x05\x01\x00\x01\x00\x00\x00\x00\x00\x00", "empty host"},
		{"SOCKS5 name with NUL", "\x05\x01\x00\x05\x01\x00\x03\x03a\x00b\x00\x50", "\x05\x00\x05\x01\x00\x01\x00\x00\x00\x00\x00\x00", "control character"},
		{"SOCKS5 name with line feed", "\x05\x01\x00\x05\x01\x00\x03\x03a\nb\x00\x50", "\x05\x00\x05\x01\x00\x01\x00\x00\x00\x00\x00\x00", "control character"},
		{"SOCKS5, then version 4", "\x05\x01\x00\x04\x01\x00\x01\x0a\x01\x02\x03\x00\x50", "\x05\x00\x05\x01\x00\x01\x00\x00\x00\x00\x00\x00", "version 4"},
		{"GET", "GET http://a/ HTTP/1.1\r\n", http("405 Method Not Allowed"), "not GET"},
		{"POST as a browser might be made to", "POST / HTTP/1.1\r\n", http("405 Method Not Allowed"), "not POST"},
		{"CONNECT without port", "CONNECT a HTTP/1.1\r\n\r\n", http("400 Bad Request"), "host:port"},
		{"CONNECT without host", "CONNECT :80 HTTP/1.1\r\n\r\n", http("400 Bad Request"), "empty host"},
		{"CONNECT to a large port", "CONNECT a:65536 HTTP/1.1\r\n\r\n", http("400 Bad Request"), "port"},
		{"CONNECT to a long name", "CONNECT " + strings.Repeat("a", 256) + ":80 HTTP/1.1\r\n\r\n", http("400 Bad Request"), "256 bytes"},
		{"CONNECT with a control character", "CONNECT a\x1b2J:80 HTTP/1.1\r\n\r\n", http("400 Bad Request"), "control"},
		{"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", http("400 Bad Request"), "HTTP/1"},
		{"SSH", "SSH-2.0-OpenSSH_9.2\r\n", http("400 Bad Request"), "HTTP/1"},
		{"endless line", "CONNECT " + strings.Repeat("a", 1<<20), http("431 Request Header Fields Too Large"), "too long"},
		{"endless header", "CONNECT a:1 HTTP/1.1\r\n" + strings.Repeat("A: b\r\n", 1<<17), http("431 Request Header Fields Too Large"), "too long"},
		{"endless empty header line", "CONNECT a:1 HTTP/1.1\r\nA: " + strings.Repeat("b", 1<<20), http("431 Request Header Fields Too Large"), "too long"},
		{"TLS", "\x16\x03\x01\x02\x00", "", "TLS"},
		{"version 6", "\x06\x01\x00", "", "0x06"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			in := strings.NewReader(tt.send)
			d := &duplex{in: in}
			_, err := Accept(context.Background(), d)
			if err == nil {
				t.Fatal("accepted")
			}
			if !strings.Contains(err.Error(), tt.err) {
				t.Errorf("error %q does not say %q", err, tt.err)
			}
			if strings.ContainsAny(err.Error(), "\x1b\x00\r") {
				t.Errorf("error %q carries control characters", err)
			}
			got := d.out.String()
			if strings.HasPrefix(tt.want, "HTTP") && !strings.HasPrefix(got, tt.want) || !strings.HasPrefix(tt.want, "HTTP") && got != tt.want {
				t.Errorf("answered %q, want %q", got, tt.want)
			}
			if read := len(tt.send) - in.Len(); read > 64<<10 {
				t.Errorf("%d bytes were read before giving up", read)
			}
		})
	}
}

// Every request cut short is an error, none a panic or a wait, and nobody is
// told of a success.
func TestAcceptTruncated(t *testing.T) {
	for _, tt := range good {
		for n := range tt.send {
			d := &duplex{in: strings.NewReader(tt.send[:n])}
			_, err := Accept(context.Background(), d)
			want := io.ErrUnexpectedEOF
			if n == 0 {
				want = io.EOF
			}
			if !errors.Is(err, want) {
				t.Errorf("%s cut after %d bytes: %v, want %v", tt.what, n, err, want)
			}
			if out := d.out.String(); !strings.HasPrefix(tt.before, out) {
				t.Errorf("%s cut after %d bytes: answered %q", tt.what, n, out)
			}
		}
	}
}

func TestAcceptSilentClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		defer client.Close()
		start := time.Now()
		_, err := Accept(t.Context(), server)
		if ne, ok := errors.AsType[net.Error](err); !ok || !ne.Timeout() {
			t.Errorf("silent client: %v, want a timeout", err)
		}
		if took := time.Since(start); took != HandshakeTimeout {
			t.Errorf("gave up after %v, want %v", took, HandshakeTimeout)
		}
	})
}

func TestAcceptSlowClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		defer client.Close()
		var wg sync.WaitGroup
		defer wg.Wait()
		wg.Go(func() {
			client.Write([]byte("\x04\x01\x00\x50\x0a\x01\x02\x03"))
			for {
				<-time.After(time.Second)
				if _, err := client.Write([]byte("u")); err != nil {
					return
				}
			}
		})
		if _, err := Accept(t.Context(), server); err == nil {
			t.Error("a client that never finishes was accepted")
		}
		server.Close()
	})
}

func TestAcceptCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		defer client.Close()
		ctx, cancel := context.WithCancelCause(t.Context())
		reason := errors.New("shutting down")
		time.AfterFunc(time.Second, func() { cancel(reason) })
		if _, err := Accept(ctx, server); err != reason {
			t.Errorf("cancelled: %v, want %v", err, reason)
		}
	})
}

// Accept leaves no deadline behind.
func TestAcceptClearsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		defer client.Close()
		var wg sync.WaitGroup
		defer wg.Wait()
		wg.Go(func() {
			client.Write([]byte("\x04\x01\x00\x50\x0a\x01\x02\x03\x00"))
			<-time.After(2 * HandshakeTimeout)
			client.Write([]byte("x"))
		})
		if _, err := Accept(t.Context(), server); err != nil {
			t.Fatal(err)
		}
		if _, err := server.Read(make([]byte, 1)); err != nil {
			t.Errorf("read long after the handshake: %v", err)
		}
	})
}

func TestRefusalTextIsPrintable(t *testing.T) {
	got := string(appendHTTPError(nil, 0, "bad\x1b[31m\r\nX: y\u009b"))
	if strings.Contains(got, "\x1b") || !strings.HasSuffix(got, "\r\n\r\nadit: bad?[31m??X: y?\n") {
		t.Errorf("a peer's text reaches the terminal as %q", got)
	}
}

func FuzzAccept(f *testing.F) {
	for _, tt := range good {
		f.Add([]byte(tt.send + "rest"))
	}
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Add([]byte("\x05\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		in := bytes.NewReader(data)
		d := &duplex{in: in}
		r, err := Accept(context.Background(), d)
		slow := &duplex{in: oneByte{bytes.NewReader(data)}}
		r2, err2 := Accept(context.Background(), slow)
		if (err == nil) != (err2 == nil) {
			t.Fatalf("in one piece: %v; a byte at a time: %v", err, err2)
		}
		if err != nil {
			return
		}
		if r.Host != r2.Host || r.Port != r2.Port || r.Version != r2.Version || r.User != r2.User {
			t.Fatalf("in one piece %+v, a byte at a time %+v", r, r2)
		}
		if checkHost(r.Host) != nil {
			t.Fatalf("accepted host %q", r.Host)
		}
		taken := len(data) - in.Len() - len(r.Rest())
		if !bytes.Equal(r.Rest(), data[taken:len(data)-in.Len()]) {
			t.Fatalf("rest %q is not what followed the request", r.Rest())
		}
		if err := r.Grant(netip.AddrPort{}); err != nil {
			t.Fatal(err)
		}
	})
}
