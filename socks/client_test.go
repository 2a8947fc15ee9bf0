package socks

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

// scripted is a connection on which the proxy's answers are there from the start.
type scripted struct {
	net.Conn
	answers io.Reader
	sent    bytes.Buffer
}

func (s *scripted) Read(b []byte) (int, error)       { return s.answers.Read(b) }
func (s *scripted) Write(b []byte) (int, error)      { return s.sent.Write(b) }
func (s *scripted) SetDeadline(time.Time) error      { return nil }
func (s *scripted) SetWriteDeadline(time.Time) error { return nil }

const early = "SSH-2.0-early\r\n" // what the far side sends at once

func TestClientSends(t *testing.T) {
	basic := base64.StdEncoding.EncodeToString([]byte("joe:se:cret"))
	for _, tt := range []struct {
		client        Client
		host, answers string
		want          string
	}{
		{Client{Version: SOCKS4, User: "joe"}, "10.1.2.3", "\x00\x5a\x00\x00\x00\x00\x00\x00", "\x04\x01\x00\x16\x0a\x01\x02\x03joe\x00"},
		{Client{Version: SOCKS4a}, "db.internal", "\x00\x5a\x00\x00\x00\x00\x00\x00", "\x04\x01\x00\x16\x00\x00\x00\x01\x00db.internal\x00"},
		{Client{Version: SOCKS4a}, "::ffff:10.1.2.3", "\x04\x5a\x00\x00\x00\x00\x00\x00", "\x04\x01\x00\x16\x0a\x01\x02\x03\x00"},
		{Client{Version: SOCKS5}, "db.internal", "\x05\x00" + "\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50", "\x05\x01\x00" + "\x05\x01\x00\x03\x0bdb.internal\x00\x16"},
		{Client{Version: SOCKS5}, "10.1.2.3", "\x05\x00" + "\x05\x00\x00\x03\x04name\x00\x50", "\x05\x01\x00" + "\x05\x01\x00\x01\x0a\x01\x02\x03\x00\x16"},
		{Client{Version: SOCKS5}, "2001:db8::1", "\x05\x00" + "\x05\x00\x00\x04" + strings.Repeat("\x00", 18),
			"\x05\x01\x00" + "\x05\x01\x00\x04\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) + "\x01\x00\x16"},
		{Client{Version: SOCKS5, User: "joe", Password: "secret"}, "10.1.2.3", "\x05\x02" + "\x01\x00" + "\x05\x00\x00\x01" + strings.Repeat("\x00", 6),
			"\x05\x02\x00\x02" + "\x01\x03joe\x06secret" + "\x05\x01\x00\x01\x0a\x01\x02\x03\x00\x16"},
		{Client{Version: SOCKS5, User: "joe"}, "10.1.2.3", "\x05\x00" + "\x05\x00\x00\x03\x00" + "\x00\x00",
			"\x05\x02\x00\x02" + "\x05\x01\x00\x01\x0a\x01\x02\x03\x00\x16"},
		{Client{Version: HTTPConnect}, "2001:db8::1", "HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n", "CONNECT [2001:db8::1]:22 HTTP/1.1\r\nHost: [2001:db8::1]:22\r\n\r\n"},
		{Client{Version: HTTPConnect, User: "joe", Password: "se:cret"}, "db.internal", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 299 fine\n\n",
			"CONNECT db.internal:22 HTTP/1.1\r\nHost: db.internal:22\r\nProxy-Authorization: Basic " + basic + "\r\n\r\n"},
	} {
		for _, slow := range []bool{false, true} {
			all := strings.NewReader(tt.answers + early)
			conn := &scripted{answers: all}
			if slow {
				conn.answers = iotest.OneByteReader(all)
			}
			if err := tt.client.Connect(t.Context(), conn, tt.host, 22); err != nil {
				t.Errorf("%v %s: %v", tt.client.Version, tt.host, err)
			}
			if got := conn.sent.String(); got != tt.want {
				t.Errorf("%v %s: sent %q, want %q", tt.client.Version, tt.host, got, tt.want)
			}
			// Not a byte of the far side's is read.
			if rest, _ := io.ReadAll(all); string(rest) != early {
				t.Errorf("%v %s: left %q on the connection, want %q", tt.client.Version, tt.host, rest, early)
			}
		}
	}
}

func TestClientRefused(t *testing.T) {
	login := Client{Version: SOCKS5, User: "joe", Password: "secret"}
	for _, tt := range []struct {
		client  Client
		answers string
		want    ReplyError
	}{
		{Client{Version: SOCKS4}, "\x00\x5b\x00\x00\x00\x00\x00\x00", ReplyError{Code: 91, Text: "request rejected or failed"}},
		{Client{Version: SOCKS4a}, "\x00\x5d", ReplyError{Code: 93, Login: true, Text: "the proxy does not know who we are (identd)"}},
		{Client{Version: SOCKS5}, "\x05\x00\x05\x05", ReplyError{Code: 5, Text: "connection refused"}},
		{Client{Version: SOCKS5}, "\x05\x00\x05\x02\x00\x01", ReplyError{Code: 2, Text: "not allowed"}},
		{Client{Version: SOCKS5}, "\x05\x00\x05\x63", ReplyError{Code: 99, Text: "reply 99"}},
		{Client{Version: SOCKS5}, "\x05\xff", ReplyError{Login: true, Text: "the proxy wants a login"}},
		{login, "\x05\xff", ReplyError{Login: true, Text: "the proxy wants another kind of login than user and password"}},
		{login, "\x05\x02\x01\x01", ReplyError{Login: true, Text: "the proxy refuses the user or the password"}},
		{Client{Version: HTTPConnect}, "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"x\"\r\n\r\n",
			ReplyError{Code: 407, Login: true, Text: "HTTP status 407 Proxy Authentication Required: the proxy wants a login"}},
		{Client{Version: HTTPConnect, User: "joe"}, "HTTP/1.1 407 no\r\nproxy-authenticate:basic\r\nProxy-Authenticate: NTLM\r\n\r\n",
			ReplyError{Code: 407, Login: true, Text: "HTTP status 407 no: the proxy refuses the user or the password"}},
		{Client{Version: HTTPConnect, User: "joe"}, "HTTP/1.1 407 no\r\nProxy-Authenticate: Negotiate\r\nProxy-Authenticate: NTLM x\r\n\r\n",
			ReplyError{Code: 407, Login: true, Text: "HTTP status 407 no: the proxy wants a login by Negotiate or NTLM, and only Basic is known here"}},
		{Client{Version: HTTPConnect, User: "joe"}, "HTTP/1.1 401 Unauthorized\r\n\r\n",
			ReplyError{Code: 401, Login: true, Text: "HTTP status 401 Unauthorized: the proxy refuses the user or the password"}},
		{Client{Version: HTTPConnect}, "HTTP/1.1 403 \x1b[2Jgone\r\n\r\n", ReplyError{Code: 403, Text: "HTTP status 403 ?[2Jgone"}},
		{Client{Version: HTTPConnect}, "HTTP/1.1 503\r\n\r\n", ReplyError{Code: 503, Text: "HTTP status 503"}},
	} {
		err := tt.client.Connect(t.Context(), &scripted{answers: strings.NewReader(tt.answers)}, "10.1.2.3", 22)
		e, ok := errors.AsType[*ReplyError](err)
		if tt.want.Version = tt.client.Version; !ok || *e != tt.want {
			t.Errorf("%v, answer %q: got %#v, want %#v", tt.client.Version, tt.answers, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("the error tells the password: %v", err)
		}
	}
}

func TestClientBadAnswers(t *testing.T) {
	all := []Version{SOCKS4, SOCKS4a, SOCKS5, HTTPConnect}
	for _, tt := range []struct {
		versions []Version
		answers  string
		want     string // of the error's text
	}{
		{all, "", "closed the connection without an answer"},
		{all, "SSH-2.0-OpenSSH_9.2\r\n", "as an SSH server does"},
		{all, "\x15\x03\x01\x00\x02\x02\x16", "looks like TLS"},
		{all[:3], "HTTP/1.1 400 Bad Request\r\n\r\n", "looks like HTTP"},
		{all[:3], "<html>", "looks like HTTP"},
		{all[:2], "\x05\xff", "looks like SOCKS5"},
		{all[3:], "\x05\xff", "looks like SOCKS5"},
		{all[2:3], "\x00\x5b", "looks like SOCKS4"},
		{all[2:3], "\x05\x07", "login method 7, which was not offered"},
		{all[2:3], "\x05\x02", "login method 2, which was not offered"},
		{all[2:3], "\x05\x00\x04\x00", "does not speak SOCKS5"},
		{all[2:3], "\x05\x00\x05\x00\x00\x09\x00", "unknown type 9"},
		{all[2:3], "\x05\x00\x05\x00\x00\x03\xffshort", "in the middle of its reply"},
		{all[:1], "\x00\x5a\x00", "in the middle of its reply"},
		{all[:1], "\x00\x42", "does not speak SOCKS4"},
		{all[3:], "HTTP/1.1 200 OK\r\nVia: x", "in the middle of the head"},
		{all[3:], "HTTP/2 200\r\n\r\n", "no HTTP status line"},
		{all[3:], "HTTP/1.1 99999 x\r\n\r\n", "no HTTP status line"},
		{all[3:], "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: y\r\n", 10000), "no end within 16384 bytes"},
		{all[3:], strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 10000), "no end within 16384 bytes"},
		{all[3:], "HTTP/1.1 " + strings.Repeat("x", 100000), "no end within 16384 bytes"},
	} {
		for _, v := range tt.versions {
			err := Client{Version: v}.Connect(t.Context(), &scripted{answers: strings.NewReader(tt.answers)}, "10.1.2.3", 22)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, answer %.40q: %v, want %q", v, tt.answers, err, tt.want)
			}
			if _, ok := errors.AsType[*ProtocolError](err); !ok && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%v, answer %.40q: a %T", v, tt.answers, err)
			}
		}
	}
}

// Nothing is sent that the protocol can't say, or that would say something else.
func TestClientCannotSay(t *testing.T) {
	long := strings.Repeat("x", 256)
	for _, tt := range []struct {
		client Client
		host   string
	}{
		{Client{Version: SOCKS4}, "db.internal"},
		{Client{Version: SOCKS4}, "::1"},
		{Client{Version: SOCKS4a}, "::1"},
		{Client{Version: SOCKS4, User: "a\x00b"}, "10.1.2.3"},
		{Client{Version: SOCKS5, User: long}, "10.1.2.3"},
		{Client{Version: SOCKS5, User: "x", Password: long}, "10.1.2.3"},
		{Client{Version: HTTPConnect, User: "a:b"}, "10.1.2.3"},
		{Client{Version: HTTPConnect, User: "a\r\nb"}, "10.1.2.3"},
		{Client{Version: HTTPConnect}, "db\r\nHost: evil"},
		{Client{Version: SOCKS5}, long},
		{Client{Version: SOCKS5}, ""},
		{Client{}, "10.1.2.3"},
	} {
		conn := &scripted{answers: strings.NewReader("")}
		if err := tt.client.Connect(t.Context(), conn, tt.host, 22); err == nil || conn.sent.Len() > 0 {
			t.Errorf("%#v %q: %v, sent %q; want an error and nothing sent", tt.client, tt.host, err, conn.sent.String())
		}
	}
}

// A proxy that says nothing, or stops in the middle, is waited for until the
// context's end or AnswerTimeout.
func TestClientSilence(t *testing.T) {
	for _, begin := range []string{"", "\x05", "\x05\x00\x05", "HTTP/1.1 200"} {
		for _, limit := range []time.Duration{time.Second, 0} {
			synctest.Test(t, func(t *testing.T) {
				ours, proxys := net.Pipe()
				defer ours.Close()
				defer proxys.Close()
				go io.Copy(io.Discard, proxys) // ends with the connection
				go io.WriteString(proxys, begin)
				ctx, cancel := t.Context(), context.CancelFunc(func() {})
				want := AnswerTimeout
				if limit > 0 {
					want = limit
					ctx, cancel = context.WithTimeout(ctx, limit)
				}
				defer cancel()
				c := Client{Version: SOCKS5}
				if strings.HasPrefix(begin, "H") {
					c.Version = HTTPConnect
				}
				start := time.Now()
				err := c.Connect(ctx, ours, "10.1.2.3", 22)
				if took := time.Since(start); err == nil || took != want {
					t.Errorf("after %q: %v after %v, want an error after %v", begin, err, took, want)
				}
			})
		}
	}
}

// Both sides of the package understand each other.
func TestClientAndServer(t *testing.T) {
	for _, v := range []Version{SOCKS4, SOCKS4a, SOCKS5, HTTPConnect} {
		for _, host := range []string{"10.1.2.3", "db.internal", "2001:db8::1"} {
			if v == SOCKS4 && host != "10.1.2.3" || v == SOCKS4a && host == "2001:db8::1" {
				continue
			}
			ours, theirs := net.Pipe()
			asked := make(chan string, 1)
			go func() { // ends with the connection
				defer theirs.Close()
				r, err := Accept(context.Background(), theirs)
				if err != nil {
					asked <- err.Error()
					return
				}
				asked <- fmt.Sprint(r.Host, " ", r.Port)
				r.Refuse(Refusal{Reply: ConnectionRefused, Status: 502, Text: "no"})
			}()
			err := Client{Version: v}.Connect(t.Context(), ours, host, 443)
			ours.Close()
			if got := <-asked; got != host+" 443" {
				t.Errorf("%v %s: the server has %q", v, host, got)
			}
			if _, ok := errors.AsType[*ReplyError](err); !ok {
				t.Errorf("%v %s: %v, want a refusal", v, host, err)
			}
		}
	}
}

func FuzzClient(f *testing.F) {
	for _, s := range []string{
		"\x00\x5a\x00\x00\x00\x00\x00\x00", "\x05\x02\x01\x00\x05\x00\x00\x03\x04name\x00\x50", "\x05\x00\x05\x05",
		"HTTP/1.1 200 OK\r\nVia: x\r\n\r\n", "HTTP/1.1 100 x\r\n\r\nHTTP/1.1 407 x\r\nProxy-Authenticate: Basic\r\n\r\n",
	} {
		f.Add(uint8(0), []byte(s))
		f.Add(uint8(2), []byte(s))
		f.Add(uint8(3), []byte(s))
	}
	f.Fuzz(func(t *testing.T, version uint8, answers []byte) {
		r := bytes.NewReader(append(answers, early...))
		c := Client{Version: SOCKS4 + Version(version%4), User: "joe", Password: "secret"}
		err := c.Connect(t.Context(), &scripted{answers: r}, "10.1.2.3", 22)
		read := len(answers) + len(early) - r.Len()
		if read > 3*maxHeader {
			t.Errorf("read %d bytes", read)
		}
		if err != nil && !textual(err.Error()) {
			t.Errorf("%q is not printable", err)
		}
	})
}
