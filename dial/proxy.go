package dial

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/adit-ssh/adit/socks"
)

// Proxy dials through a SOCKS or an HTTP proxy. Names are looked up by the
// proxy, except with SOCKS4, which knows none.
type Proxy struct {
	// Address is the proxy's host:port.
	Address string
	// Protocol is what it speaks, and User and Password its login (see
	// socks.Client).
	Protocol       socks.Version
	User, Password string
	// TLS, if it is not nil, is the configuration of TLS to the proxy itself. An
	// empty ServerName is the host of Address.
	TLS *tls.Config
	// Timeout bounds Dial (ConnectTimeout). 0 leaves it to the system and to
	// socks.AnswerTimeout.
	Timeout time.Duration
	// Forward connects to the proxy; nil is TCP{}.
	Forward func(ctx context.Context, address string) (net.Conn, error)
}

// The stages of Proxy.
const (
	StageProxy Stage = "connect to proxy"
	StageTLS   Stage = "start TLS with proxy"
)

// Dial connects to host:port. The connection is the socket to the proxy itself,
// from which nothing was read that the far side has sent; with TLS it is a
// *tls.Conn. Errors are *Error: with StageProxy or StageTLS the proxy is not
// there, with StageConnect it does not get to address, or does not want to.
func (d Proxy) Dial(ctx context.Context, address string) (net.Conn, error) {
	host, service, err := net.SplitHostPort(address)
	port, portErr := strconv.ParseUint(service, 10, 16)
	if err = errors.Join(err, portErr); err != nil {
		return nil, &Error{Stage: StageConnect, Address: address, Through: d.String(), Err: errors.New("host:port is due, with a port from 0 to 65535")}
	}
	limited := ctx
	if d.Timeout > 0 {
		var cancel context.CancelFunc
		limited, cancel = context.WithTimeout(ctx, d.Timeout)
		defer cancel()
	}
	fail := func(e *Error) error {
		if d, ok := limited.Deadline(); ok && time.Until(d) <= 0 {
			<-limited.Done() // a socket's deadline may come a moment before
		}
		switch {
		case ctx.Err() != nil:
			e.Err = context.Cause(ctx)
		case limited.Err() != nil:
			e.Err = fmt.Errorf("no answer within %v: %w", d.Timeout, os.ErrDeadlineExceeded)
		}
		return e
	}
	if d.Protocol == socks.SOCKS4 {
		if host, err = ipv4(limited, host); err != nil {
			return nil, fail(&Error{Stage: StageResolve, Address: address, Err: plain(err)})
		}
	}
	forward := d.Forward
	if forward == nil {
		forward = TCP{}.Dial
	}
	c, err := forward(limited, d.Address)
	if err != nil {
		e := &Error{Stage: StageProxy, Address: d.Address, Err: err}
		if inner, ok := errors.AsType[*Error](err); ok && inner.Stage == StageConnect {
			e.Tried, e.Err = inner.Tried, inner.Err
		}
		return nil, fail(e)
	}
	if d.TLS != nil {
		step := begin(ctx, StageTLS, d.Address)
		secure := tls.Client(c, d.tlsConfig())
		err := secure.HandshakeContext(limited)
		if step.end(err); err != nil {
			c.Close()
			return nil, fail(&Error{Stage: StageTLS, Address: d.Address, Err: plainTLS(err)})
		}
		c = secure
	}
	ask := socks.Client{Version: d.Protocol, User: d.User, Password: d.Password}
	step := begin(ctx, StageProxy, d.String())
	err = ask.Connect(limited, c, host, uint16(port))
	if step.end(err); err != nil {
		c.Close()
		return nil, fail(&Error{Stage: StageConnect, Address: address, Through: d.String(), Err: plain(err)})
	}
	return c, nil
}

// String is the proxy in words: "SOCKS5 proxy HOST:PORT". It has no password.
func (d Proxy) String() string {
	if d.TLS != nil {
		return "HTTPS proxy " + d.Address
	}
	if d.Protocol == socks.HTTPConnect {
		return "HTTP proxy " + d.Address
	}
	return d.Protocol.String() + " proxy " + d.Address
}

func (d Proxy) tlsConfig() *tls.Config {
	c := d.TLS.Clone()
	if c.ServerName == "" {
		c.ServerName, _, _ = net.SplitHostPort(d.Address)
	}
	// A proxy that would rather speak HTTP/2 must be told.
	c.NextProtos = []string{"http/1.1"}
	return c
}

// ipv4 is what SOCKS4 can say of a host.
func ipv4(ctx context.Context, host string) (string, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return a.Unmap().String(), nil
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip4", host)
	if err != nil {
		return "", err
	}
	return addrs[0].Unmap().String(), nil
}

// plainTLS makes of what listens without TLS a sentence.
func plainTLS(err error) error {
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return fmt.Errorf("what listens there does not speak TLS: %w", err)
	}
	if err = plain(err); printable(err.Error()) != err.Error() {
		return &cleanError{err}
	}
	return err
}

// cleanError is an error that quotes what others sent, such as the names in a
// certificate, made printable.
type cleanError struct{ err error }

func (e *cleanError) Error() string { return printable(e.err.Error()) }
func (e *cleanError) Unwrap() error { return e.err }

// proxyHint is Error.Hint for what proxies answer.
func proxyHint(e *Error) string {
	if r, ok := errors.AsType[*socks.ReplyError](e.Err); ok {
		switch {
		case r.Login && r.Version < socks.SOCKS5:
			return "SOCKS4 proxies know users only by identd: does the proxy speak SOCKS5?"
		case r.Login:
			return "give the proxy's user and password; with adit connect: -P USER, or USER:PASSWORD@ before the proxy's host"
		case r.Version < socks.SOCKS5:
			return "SOCKS4 does not say why: try SOCKS5, and look into the proxy's log"
		case r.Version == socks.SOCKS5 && socks.Reply(r.Code) == socks.NotAllowed, r.Code == 403, r.Code == 405:
			return "the proxy's rules forbid that host or port: many allow only 443; ask who runs it"
		case r.Version == socks.SOCKS5 && socks.Reply(r.Code) == socks.ConnectionRefused:
			return "the proxy works, but nothing listens on that port of the target"
		}
		return "the proxy works, but does not get to the target: check its name and port, and whether the proxy may go there"
	}
	if p, ok := errors.AsType[*socks.ProtocolError](e.Err); ok {
		if p.Speaks != 0 {
			return "name the protocol that it speaks; with adit connect: -X 4, 5 or connect"
		}
		return "check the proxy's port, and its protocol"
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](e.Err); ok {
		if _, ok := errors.AsType[x509.UnknownAuthorityError](e.Err); ok {
			return "the proxy's certificate is of an authority that is not known here; with adit connect: --proxy-ca FILE"
		}
		return "the proxy's certificate is not one for that name or time"
	}
	if e.Through != "" && errors.Is(e.Err, io.ErrUnexpectedEOF) {
		return "check the proxy's port, and whether it wants another protocol, or TLS (https://)"
	}
	if e.Stage == StageTLS {
		return "does the proxy want TLS? If not, its address begins with http://, not https://"
	}
	if e.Stage == StageProxy && errors.Is(e.Err, refusedErrno) {
		return "the host is there but nothing listens on that port: check the proxy's port, and that it runs"
	}
	return ""
}

// ParseProxy reads [scheme://][user[:password]@]host[:port]. The schemes are
// socks4, socks4a, socks5, socks5h and socks (which are the same here: names are
// looked up by the proxy), http and https (TLS to the proxy, the system's
// authorities); none is socks5. The port is 1080 by default, of http 3128, as
// for nc, and of https 443. A percent sign begins an escape, as in URLs.
//
// Errors do not quote the password.
func ParseProxy(s string) (Proxy, error) {
	if !strings.Contains(s, "://") {
		s = "socks5://" + s
	}
	scheme, rest, _ := strings.Cut(s, "://")
	d, port := Proxy{}, "1080"
	switch strings.ToLower(scheme) {
	case "socks4":
		d.Protocol = socks.SOCKS4
	case "socks4a":
		d.Protocol = socks.SOCKS4a
	case "socks", "socks5", "socks5h":
		d.Protocol = socks.SOCKS5
	case "http":
		d.Protocol, port = socks.HTTPConnect, "3128"
	case "https":
		d.Protocol, port, d.TLS = socks.HTTPConnect, "443", &tls.Config{}
	default:
		if strings.ContainsAny(scheme, ":@") { // part of a login, more likely
			scheme = "…"
		}
		return Proxy{}, fmt.Errorf("proxy: unknown scheme %q: socks4, socks4a, socks5, http or https is due", scheme)
	}
	at := strings.LastIndexByte(rest, '@')
	address := strings.TrimSuffix(rest[at+1:], "/")
	u, err := url.Parse("//" + address)
	if err != nil || u.Hostname() == "" || u.Host != address || strings.Contains(u.Hostname(), ":") && address[0] != '[' || strings.ContainsAny(address, " \t\r\n") {
		return Proxy{}, fmt.Errorf("proxy: bad address %q: host:port is due, an IPv6 address in brackets", address)
	}
	if u.Port() != "" {
		port = u.Port()
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return Proxy{}, fmt.Errorf("proxy: bad port %q: a number from 1 to 65535 is due", port)
	}
	d.Address = net.JoinHostPort(u.Hostname(), port)
	if at >= 0 {
		user, password, _ := strings.Cut(rest[:at], ":")
		var userErr, passwordErr error
		d.User, userErr = url.PathUnescape(user)
		d.Password, passwordErr = url.PathUnescape(password)
		if userErr != nil || passwordErr != nil {
			return Proxy{}, errors.New("proxy: the user or the password has a percent sign that begins no escape: write it as %25")
		}
	}
	return d, nil
}
