package dial

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http/httptest"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/adit-ssh/adit/internal/relay"
	"github.com/adit-ssh/adit/internal/testnet/dialtest"
	"github.com/adit-ssh/adit/socks"
)

// proxyServer is a proxy for all protocols, over TLS if wanted. early is sent
// with its answer, as a far side does that speaks first.
func proxyServer(t *testing.T, config *tls.Config, early string) (address string) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	wg.Add(1)
	go func() { // and not wg.Go, so that a census counts it from the start
		defer wg.Done()
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { serveProxied(ctx, c, config, early) })
		}
	}()
	t.Cleanup(func() { l.Close(); cancel(); wg.Wait() })
	return l.Addr().String()
}

func serveProxied(ctx context.Context, c net.Conn, config *tls.Config, early string) {
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	client := c.(relay.Conn)
	if config != nil {
		client = tls.Server(c, config)
	}
	defer client.Close()
	r, err := socks.Accept(ctx, client)
	if err != nil {
		return
	}
	far, err := net.Dial("tcp", net.JoinHostPort(r.Host, strconv.Itoa(int(r.Port))))
	if err != nil {
		o := relay.OutcomeOf(err)
		r.Refuse(socks.Refusal{Reply: socks.Reply(o.SOCKS()), Status: o.HTTP(), Text: err.Error()})
		return
	}
	r.Grant(netip.AddrPort{})
	io.WriteString(client, early)
	relay.Pipe(ctx, client, far.(*net.TCPConn), r.Rest())
}

// certificate is httptest's, which is for example.com and 127.0.0.1, and roots
// that trust it.
func certificate(t *testing.T) (*tls.Config, *x509.CertPool) {
	t.Helper()
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return &tls.Config{Certificates: s.TLS.Certificates}, roots
}

func TestProxy(t *testing.T) {
	for _, v := range []socks.Version{socks.SOCKS4, socks.SOCKS4a, socks.SOCKS5, socks.HTTPConnect} {
		t.Run(v.String(), func(t *testing.T) {
			dialtest.Run(t, Proxy{Address: proxyServer(t, nil, ""), Protocol: v, Timeout: time.Minute}.Dial)
		})
	}
	t.Run("HTTPS", func(t *testing.T) {
		config, roots := certificate(t)
		d := Proxy{Address: proxyServer(t, config, ""), Protocol: socks.HTTPConnect, TLS: &tls.Config{RootCAs: roots}}
		dialtest.Run(t, d.Dial)
	})
}

// What comes in one piece with the proxy's answer is read from the connection.
func TestProxyEarlyBytes(t *testing.T) {
	const early = "SSH-2.0-early\r\n"
	address, target := proxyServer(t, nil, early), listenLoopback(t)
	for _, v := range []socks.Version{socks.SOCKS4, socks.SOCKS4a, socks.SOCKS5, socks.HTTPConnect} {
		c, err := Proxy{Address: address, Protocol: v}.Dial(t.Context(), target)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, ok := c.(*net.TCPConn); !ok {
			t.Errorf("%v: a %T, want the socket itself", v, c)
		}
		b := make([]byte, len(early))
		c.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.ReadFull(c, b); err != nil || string(b) != early {
			t.Errorf("%v: read %q, %v", v, b, err)
		}
	}
}

func TestProxyErrors(t *testing.T) {
	config, roots := certificate(t)
	plainProxy, tlsProxy := proxyServer(t, nil, ""), proxyServer(t, config, "")
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused := l.Addr().String()
	l.Close()
	for _, tt := range []struct {
		name        string
		proxy       Proxy
		stage       Stage
		text, hints string
		is          error
	}{
		{"proxy not there", Proxy{Address: refused, Protocol: socks.SOCKS5}, StageProxy, "connect to proxy " + refused + ": connection refused", "check the proxy's port", syscall.ECONNREFUSED},
		{"proxy unknown", Proxy{Address: "no-such-host.invalid:1080", Protocol: socks.SOCKS5}, StageProxy, "look up no-such-host.invalid", "no host of that name", nil},
		{"target refused", Proxy{Address: plainProxy, Protocol: socks.SOCKS5}, StageConnect, "connect to " + refused + " through SOCKS5 proxy " + plainProxy + ": connection refused", "nothing listens on that port of the target", nil},
		{"target refused, SOCKS4", Proxy{Address: plainProxy, Protocol: socks.SOCKS4}, StageConnect, "rejected", "try SOCKS5", nil},
		{"target refused, HTTP", Proxy{Address: plainProxy, Protocol: socks.HTTPConnect}, StageConnect, "HTTP status 502", "does not get to the target", nil},
		{"authority unknown", Proxy{Address: tlsProxy, Protocol: socks.HTTPConnect, TLS: &tls.Config{}}, StageTLS, "start TLS with proxy " + tlsProxy, "--proxy-ca", nil},
		{"name wrong", Proxy{Address: tlsProxy, Protocol: socks.HTTPConnect, TLS: &tls.Config{RootCAs: roots, ServerName: "other.example"}}, StageTLS, "other.example", "not one for that name", nil},
		{"no TLS there", Proxy{Address: plainProxy, Protocol: socks.HTTPConnect, TLS: &tls.Config{RootCAs: roots}}, StageTLS, "start TLS", "begins with http://", nil},
		{"TLS there", Proxy{Address: tlsProxy, Protocol: socks.HTTPConnect}, StageConnect, "closed the connection without an answer", "https://", io.ErrUnexpectedEOF},
		{"silent", Proxy{Address: listenLoopback(t), Protocol: socks.SOCKS5, Timeout: 50 * time.Millisecond}, StageConnect, "no answer within 50ms", "nothing came back", os.ErrDeadlineExceeded},
		{"silent, TLS", Proxy{Address: listenLoopback(t), Protocol: socks.HTTPConnect, TLS: &tls.Config{}, Timeout: 50 * time.Millisecond}, StageTLS, "no answer within 50ms", "", os.ErrDeadlineExceeded},
	} {
		c, err := tt.proxy.Dial(t.Context(), refused)
		if err == nil {
			c.Close()
			t.Errorf("%s: connected", tt.name)
			continue
		}
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Stage != tt.stage || !strings.Contains(err.Error(), tt.text) || !strings.Contains(e.Hint(), tt.hints) || tt.is != nil && !errors.Is(err, tt.is) {
			t.Errorf("%s: got %v, hint %q; want stage %q with %q, hint %q", tt.name, err, e.Hint(), tt.stage, tt.text, tt.hints)
		}
	}
}

// A caller that gives up is told its own reason, at each step.
func TestProxyCause(t *testing.T) {
	reason := errors.New("shutting down")
	for _, secure := range []*tls.Config{nil, {}} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			ours, proxys := net.Pipe()
			defer proxys.Close()
			go func() { // ends when it is cancelled
				io.Copy(io.Discard, proxys)
			}()
			time.AfterFunc(time.Second, func() { cancel(reason) })
			d := Proxy{Address: "proxy:1", Protocol: socks.HTTPConnect, TLS: secure,
				Forward: func(context.Context, string) (net.Conn, error) { return ours, nil }}
			if _, err := d.Dial(ctx, "db:22"); !errors.Is(err, reason) {
				t.Errorf("%v, want %v", err, reason)
			}
		})
	}
}

func TestParseProxy(t *testing.T) {
	for _, tt := range []struct {
		in, address    string
		protocol       socks.Version
		user, password string
		tls            bool
	}{
		{"proxy", "proxy:1080", socks.SOCKS5, "", "", false},
		{"proxy:99", "proxy:99", socks.SOCKS5, "", "", false},
		{"[::1]", "[::1]:1080", socks.SOCKS5, "", "", false},
		{"socks5h://[2001:db8::1]:99", "[2001:db8::1]:99", socks.SOCKS5, "", "", false},
		{"SOCKS4://p", "p:1080", socks.SOCKS4, "", "", false},
		{"socks4a://joe@p", "p:1080", socks.SOCKS4a, "joe", "", false},
		{"http://p/", "p:3128", socks.HTTPConnect, "", "", false},
		{"https://joe:a%40b%3Ac@p", "p:443", socks.HTTPConnect, "joe", "a@b:c", true},
		{"http://joe:p@ss:word@p:8080", "p:8080", socks.HTTPConnect, "joe", "p@ss:word", false},
	} {
		d, err := ParseProxy(tt.in)
		if err != nil || d.Address != tt.address || d.Protocol != tt.protocol || d.User != tt.user || d.Password != tt.password || (d.TLS != nil) != tt.tls {
			t.Errorf("%q: %+v, %v", tt.in, d, err)
		}
	}
	for _, bad := range []string{"", "http://", "ftp://p", "socks5://::1", "p:0", "p:65536", "p:x", "p/path", "p q", "http://joe:s%zecret@p", "http://joe:secret@p:x", "http://joe:secret@"} {
		d, err := ParseProxy(bad)
		if err == nil {
			t.Errorf("%q: %+v, want an error", bad, d)
		} else if strings.Contains(err.Error(), "ecret") {
			t.Errorf("%q: the error tells the password: %v", bad, err)
		}
	}
}

func FuzzParseProxy(f *testing.F) {
	for _, s := range []string{"socks5://joe:x@[::1]:99", "https://p", "p:1", "http://%41@p"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseProxy(s)
		if err != nil {
			return
		}
		if host, port, err := net.SplitHostPort(d.Address); err != nil || host == "" || port == "" {
			t.Errorf("%q: address %q", s, d.Address)
		}
	})
}

func TestProxyFromEnv(t *testing.T) {
	for _, tt := range []struct {
		env, host, want string
	}{
		{"", "db", ""},
		{"ALL_PROXY=socks5://p:1", "db", "socks5://p:1"},
		{"all_proxy=p:1", "db", "http://p:1"},
		{"HTTP_PROXY=http://p", "db", ""},
		{"ALL_PROXY=p;NO_PROXY=*", "db", ""},
		{"ALL_PROXY=p;NO_PROXY=x, DB.internal", "db.internal.", ""},
		{"ALL_PROXY=p;no_proxy=internal", "db.internal", ""},
		{"ALL_PROXY=p;NO_PROXY=.internal", "db.internal", ""},
		{"ALL_PROXY=p;NO_PROXY=*.internal:22", "db.internal", ""},
		{"ALL_PROXY=p;NO_PROXY=ternal,,.", "db.internal", "http://p"},
		{"ALL_PROXY=p;NO_PROXY=10.0.0.0/8", "10.1.2.3", ""},
		{"ALL_PROXY=p;NO_PROXY=10.0.0.0/8,3", "11.1.2.3", "http://p"},
		{"ALL_PROXY=p;NO_PROXY=fd00::/8", "fd00::1", ""},
	} {
		getenv := func(name string) string {
			for v := range strings.SplitSeq(tt.env, ";") {
				if k, v, _ := strings.Cut(v, "="); k == name {
					return v
				}
			}
			return ""
		}
		if got := ProxyFromEnv(getenv, tt.host); got != tt.want {
			t.Errorf("%s, %s: %q, want %q", tt.env, tt.host, got, tt.want)
		}
	}
}

// What a proxy's certificate says does not reach a terminal as it is.
func TestProxyCertificateText(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"a\x1b[2J\x1b]0;title\a.test"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	address := proxyServer(t, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, "")
	_, err = Proxy{Address: address, Protocol: socks.HTTPConnect, TLS: &tls.Config{ServerName: "proxy.test"}}.Dial(t.Context(), "db:22")
	if err == nil || strings.ContainsRune(err.Error(), '\x1b') || !strings.Contains(err.Error(), "a[2J") {
		t.Errorf("got %q, want the certificate's name without control characters", err)
	}
	if e, ok := errors.AsType[*Error](err); !ok || !strings.Contains(e.Hint(), "not one for that name") {
		t.Errorf("%v has not the hint for a certificate", err)
	}
}

// A login stands in no error, however the URL is broken.
func TestParseProxyHidesLogins(t *testing.T) {
	for _, s := range []string{"joe:s3cret://x@proxy:1080", "joe:s3cret@proxy:x", "socks5://joe:s3cret%@proxy", "ftp://joe:s3cret@proxy", "joe:s3cret@", "http:/joe:s3cret@proxy:1:2"} {
		if _, err := ParseProxy(s); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: got %v, want an error without the password", s, err)
		}
	}
}
