package socks

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

const (
	maxHost    = 255      // a host name; RFC 1928 can't say more
	maxUser    = 255      // a SOCKS4 user id
	maxLine    = 4 << 10  // an HTTP request line
	maxHeader  = 16 << 10 // an HTTP request line with its header fields
	firstRead  = 512      // room for any SOCKS request, and for most of HTTP's
	cmdConnect = 1
	atypIPv4   = 1
	atypName   = 3
	atypIPv6   = 4
)

// read reads the request and, when it can't be served, answers it.
func (r *Request) read() error {
	in := &input{conn: r.conn}
	if err := in.need(1); err != nil {
		if err == io.ErrUnexpectedEOF {
			return io.EOF
		}
		return fmt.Errorf("socks: read the first byte: %w", err)
	}
	var err error
	switch first := in.data()[0]; {
	case first == 4:
		r.Version = SOCKS4
		err = r.read4(in)
	case first == 5:
		r.Version = SOCKS5
		err = r.read5(in)
	case first >= 'A' && first <= 'Z':
		r.Version = HTTPConnect
		err = r.readHTTP(in)
	case first == 0x16:
		return errors.New("socks: the client speaks TLS; this port speaks SOCKS and plain HTTP CONNECT")
	default:
		return fmt.Errorf("socks: first byte %#02x is neither SOCKS4, SOCKS5 nor HTTP", first)
	}
	if err != nil {
		return r.fail(err)
	}
	r.rest = in.data()
	return nil
}

// refused is an error that the client is told of.
type refused struct {
	Refusal
	raw []byte // sent instead of the Refusal, when set
}

func (e *refused) Error() string { return e.text() }

func refuse(reply Reply, status int, format string, args ...any) error {
	return &refused{Refusal: Refusal{reply, status, fmt.Sprintf(format, args...)}}
}

// fail answers the client where there is an answer, and says in which protocol
// it went wrong.
func (r *Request) fail(err error) error {
	if e, ok := errors.AsType[*refused](err); ok {
		var replyErr error
		if e.raw != nil {
			replyErr = r.reply(e.raw)
		} else {
			replyErr = r.Refuse(e.Refusal)
		}
		err = errors.Join(err, replyErr)
	}
	return fmt.Errorf("%v: %w", r.Version, err)
}

// read4 reads SOCKS4's VN, CD, DSTPORT, DSTIP, USERID, NUL, and SOCKS4a's name
// behind it, which an address of 0.0.0.x announces.
func (r *Request) read4(in *input) error {
	if err := in.need(8); err != nil {
		return err
	}
	b := in.take(8)
	command, port, ip := b[1], binary.BigEndian.Uint16(b[2:]), [4]byte(b[4:8])
	user, err := in.terminated(maxUser)
	if err != nil {
		return fmt.Errorf("user id: %w", err)
	}
	r.Host, r.Port, r.User = netip.AddrFrom4(ip).String(), port, printable(user)

	if ip[0] == 0 && ip[1] == 0 && ip[2] == 0 && ip[3] != 0 {
		r.Version = SOCKS4a
		if r.Host, err = in.terminated(maxHost); err != nil {
			return fmt.Errorf("host name: %w", err)
		}
	}
	if command != cmdConnect {
		return refuse(CommandNotSupported, 0, "command %d is not supported, only CONNECT", command)
	}
	return checkHost(r.Host)
}

// read5 reads the two messages of RFC 1928, sections 3 and 4.
func (r *Request) read5(in *input) error {
	if err := in.need(2); err != nil {
		return err
	}
	methods := int(in.take(2)[1])
	if err := in.need(methods); err != nil {
		return fmt.Errorf("methods: %w", err)
	}
	if !bytes.Contains(in.take(methods), []byte{0}) {
		return &refused{Refusal{Text: "the client wants to authenticate, which is not offered"}, []byte{5, 0xff}}
	}
	if err := r.reply([]byte{5, 0}); err != nil {
		return err
	}

	if err := in.need(5); err != nil { // The fifth byte is a name's length.
		return fmt.Errorf("request: %w", err)
	}
	b := in.take(4)
	version, command, kind := b[0], b[1], b[3]
	if version != 5 {
		return refuse(GeneralFailure, 0, "version %d in the request", version)
	}
	var err error
	switch kind {
	case atypIPv4:
		if err = in.need(4 + 2); err == nil {
			r.Host = netip.AddrFrom4([4]byte(in.take(4))).String()
		}
	case atypIPv6:
		if err = in.need(16 + 2); err == nil {
			r.Host = netip.AddrFrom16([16]byte(in.take(16))).String()
		}
	case atypName:
		n := int(in.take(1)[0])
		if err = in.need(n + 2); err == nil {
			r.Host = string(in.take(n))
		}
	default:
		return refuse(AddressTypeNotSupported, 0, "address type %d", kind)
	}
	if err != nil {
		return fmt.Errorf("address: %w", err)
	}
	r.Port = binary.BigEndian.Uint16(in.take(2))
	if command != cmdConnect {
		return refuse(CommandNotSupported, 0, "command %d is not supported, only CONNECT", command)
	}
	return checkHost(r.Host)
}

// readHTTP reads "CONNECT host:port HTTP/1.x" and header fields, of which none
// matters here. A request line that is no good is answered at once.
func (r *Request) readHTTP(in *input) error {
	line, err := in.line(maxLine)
	if err != nil {
		return err
	}
	method, rest, _ := strings.Cut(line, " ")
	target, version, _ := strings.Cut(rest, " ")
	if !strings.HasPrefix(version, "HTTP/1.") {
		return refuse(GeneralFailure, statusBadRequest, "not an HTTP/1 request")
	}
	if method != "CONNECT" {
		return refuse(CommandNotSupported, statusMethodNotAllowed,
			"this port takes CONNECT and SOCKS, not %.16s", printable(method))
	}
	for left := maxHeader - len(line); ; left -= len(line) {
		if line, err = in.line(left); err != nil {
			return err
		}
		if line == "" {
			break
		}
	}

	host, port, err := net.SplitHostPort(target)
	if err != nil {
		return refuse(GeneralFailure, statusBadRequest, "CONNECT wants host:port")
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return refuse(GeneralFailure, statusBadRequest, "CONNECT wants a port from 0 to 65535")
	}
	r.Host, r.Port = host, uint16(n)
	return checkHost(r.Host)
}

// checkHost refuses what can't be a name or an address and might do harm in a
// log or in whoever resolves it.
func checkHost(host string) error {
	if host == "" {
		return refuse(GeneralFailure, statusBadRequest, "empty host name")
	}
	if len(host) > maxHost {
		return refuse(GeneralFailure, statusBadRequest, "host name of %d bytes", len(host))
	}
	for i := range len(host) {
		if host[i] <= ' ' || host[i] == 0x7f {
			return refuse(GeneralFailure, statusBadRequest, "host name with a control character or a blank")
		}
	}
	return nil
}

// input collects what the client sends, in as few reads as the client makes
// possible. It may hold more than the request.
type input struct {
	conn net.Conn
	buf  []byte
	at   int // start of what wasn't taken yet
}

func (in *input) data() []byte { return in.buf[in.at:] }

// need reads until n bytes wait to be taken.
func (in *input) need(n int) error {
	for len(in.data()) < n {
		if err := in.more(); err != nil {
			return err
		}
	}
	return nil
}

// more reads once. The end of the stream is io.ErrUnexpectedEOF: nobody calls
// more who doesn't need more.
func (in *input) more() error {
	if len(in.buf) == cap(in.buf) {
		in.buf = append(make([]byte, 0, max(firstRead, 2*cap(in.buf))), in.buf...)
	}
	n, err := in.conn.Read(in.buf[len(in.buf):cap(in.buf)])
	in.buf = in.buf[:len(in.buf)+n]
	if n > 0 {
		return nil // An error comes again.
	}
	if err == nil || err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// take returns the next n bytes, for which need has asked.
func (in *input) take(n int) []byte {
	b := in.buf[in.at : in.at+n]
	in.at += n
	return b
}

// terminated reads up to limit bytes and the NUL behind them.
func (in *input) terminated(limit int) (string, error) {
	for seen := 0; ; {
		if i := bytes.IndexByte(in.data()[seen:], 0); i >= 0 && seen+i <= limit {
			s := string(in.take(seen + i))
			in.take(1)
			return s, nil
		}
		if seen = len(in.data()); seen > limit {
			return "", refuse(GeneralFailure, 0, "more than %d bytes", limit)
		}
		if err := in.more(); err != nil {
			return "", err
		}
	}
}

// line reads up to limit bytes and the LF or CR LF behind them.
func (in *input) line(limit int) (string, error) {
	for seen := 0; ; {
		if i := bytes.IndexByte(in.data()[seen:], '\n'); i >= 0 && seen+i <= limit {
			s := string(in.take(seen + i))
			in.take(1)
			return strings.TrimSuffix(s, "\r"), nil
		}
		if seen = len(in.data()); seen > limit {
			return "", refuse(GeneralFailure, statusHeaderTooLarge, "request header too long")
		}
		if err := in.more(); err != nil {
			return "", err
		}
	}
}
