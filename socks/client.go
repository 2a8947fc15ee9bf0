package socks

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"
)

// AnswerTimeout bounds Client.Connect when the context has no earlier deadline:
// the proxy itself may wait long for the target.
const AnswerTimeout = 2 * time.Minute

// Client is how a proxy is asked for a connection. It has no state and may be
// used at the same time for many.
type Client struct {
	Version Version
	// User and Password are for SOCKS5 (RFC 1929; 1 to 255 and 0 to 255 bytes)
	// and HTTP CONNECT (Basic, RFC 7617; no colon in User). SOCKS4 and SOCKS4a
	// send User as user id, which nobody verifies. "" is none: the proxy may
	// then ask for a login, which is a ReplyError with Login.
	//
	// SOCKS and plain HTTP send both readable for whoever is on the way.
	User, Password string
}

// Connect asks the proxy at the other end of conn for a connection to host and
// port. When it returns nil, conn is that connection. It has read no byte behind
// the proxy's answer: what the far side has sent waits on conn, so the socket can
// be handed to another process as it is.
//
// host is an IP address or a name, which the proxy resolves. SOCKS4 knows IPv4
// addresses only, SOCKS4a those and names; others are an error before anything
// was sent.
//
// Errors are a *ReplyError when the proxy refuses, a *ProtocolError when it
// answers in no way its protocol knows, io.ErrUnexpectedEOF when it closes
// before its answer is complete, or the connection's, wrapped. ctx bounds this
// call only, and so does AnswerTimeout; conn has no deadline afterwards. Connect
// never closes conn, of which after an error nothing is to be expected.
func (c Client) Connect(ctx context.Context, conn net.Conn, host string, port uint16) error {
	if err := checkHost(host); err != nil {
		return err
	}
	var ask func(*asker) error
	switch c.Version {
	case SOCKS4, SOCKS4a:
		ask = c.ask4
	case SOCKS5:
		ask = c.ask5
	case HTTPConnect:
		ask = c.askHTTP
	default:
		return fmt.Errorf("%v is no protocol of a proxy", c.Version)
	}
	// Not ctx's deadline: its cause is to be the error.
	return bounded(ctx, conn, time.Now().Add(AnswerTimeout), func() error {
		return ask(&asker{conn: conn, host: host, port: port})
	})
}

// ProtocolError is an answer that is none in the proxy's protocol: most likely
// something else listens there.
type ProtocolError struct {
	Version Version // as asked
	Text    string  // what is wrong, printable
	// Speaks is the protocol that the answer looks like, 0 if it is none of
	// these.
	Speaks Version
}

func (e *ProtocolError) Error() string { return e.Text }

// ReplyError is a proxy's refusal.
type ReplyError struct {
	Version Version
	// Code is SOCKS5's reply code (a Reply), SOCKS4's (91 to 93) or HTTP's
	// status. It is 0 when SOCKS5's login failed.
	Code int
	// Login says that the proxy wants a user and a password, or others than
	// those that it was given.
	Login bool
	Text  string // the code's meaning, or the proxy's words, made printable
}

func (e *ReplyError) Error() string { return e.Text }

// asker is one request on its way. It reads no byte more than it needs.
type asker struct {
	conn net.Conn
	host string
	port uint16
	seen int // bytes of the answer that were read
}

func (a *asker) write(what string, b []byte) error {
	if _, err := a.conn.Write(b); err != nil {
		return fmt.Errorf("send %s: %w", what, err)
	}
	return nil
}

// read reads exactly len(b) bytes. The end of the stream is
// io.ErrUnexpectedEOF.
func (a *asker) read(what string, b []byte) error {
	n, err := io.ReadFull(a.conn, b)
	a.seen += n
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		if a.seen == 0 {
			return fmt.Errorf("the proxy closed the connection without an answer: %w", io.ErrUnexpectedEOF)
		}
		return fmt.Errorf("the proxy closed the connection in the middle of %s: %w", what, io.ErrUnexpectedEOF)
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", what, err)
	}
	return nil
}

// ask4 is SOCKS4, and SOCKS4a for names.
func (c Client) ask4(a *asker) error {
	addr, err := netip.ParseAddr(a.host)
	addr = addr.Unmap()
	named := err != nil
	switch {
	case named && c.Version == SOCKS4:
		return errors.New("SOCKS4 knows no names, only IPv4 addresses: use SOCKS4a")
	case !named && !addr.Is4():
		return fmt.Errorf("%v knows no IPv6 addresses: use SOCKS5", c.Version)
	case len(c.User) > maxUser || !textual(c.User):
		return fmt.Errorf("a user id of %v has up to %d bytes and no control characters", c.Version, maxUser)
	case named:
		addr = netip.AddrFrom4([4]byte{0, 0, 0, 1})
	}
	b := binary.BigEndian.AppendUint16([]byte{4, cmdConnect}, a.port)
	b = append(append(b, addr.AsSlice()...), c.User...)
	b = append(b, 0)
	if named {
		b = append(append(b, a.host...), 0)
	}
	if err := a.write("the request", b); err != nil {
		return err
	}
	var reply [8]byte
	if err := a.read("its reply", reply[:2]); err != nil {
		return err
	}
	// The version is 0; some send 4.
	if reply[0] != 0 && reply[0] != 4 || reply[1] < granted4 || reply[1] > granted4+3 {
		return c.garbage(reply[:2])
	}
	if reply[1] != granted4 {
		e := &ReplyError{Version: c.Version, Code: int(reply[1]), Text: "request rejected or failed"}
		if e.Code > rejected4 {
			e.Text, e.Login = "the proxy does not know who we are (identd)", true
		}
		return e
	}
	return a.read("its reply", reply[2:])
}

// Methods of SOCKS5's login (RFC 1928, section 3).
const (
	methodNone     = 0
	methodPassword = 2
	methodRefused  = 0xff
)

// ask5 is RFC 1928.
func (c Client) ask5(a *asker) error {
	hello := []byte{5, 1, methodNone}
	if c.User != "" {
		if len(c.User) > 255 || len(c.Password) > 255 {
			return errors.New("SOCKS5 takes users and passwords of up to 255 bytes")
		}
		hello = []byte{5, 2, methodNone, methodPassword}
	}
	if err := a.write("the greeting", hello); err != nil {
		return err
	}
	var method [2]byte
	if err := a.read("its choice of a login", method[:]); err != nil {
		return err
	}
	switch {
	case method[0] != 5:
		return c.garbage(method[:])
	case method[1] == methodNone:
	case method[1] == methodPassword && c.User != "":
		if err := c.login5(a); err != nil {
			return err
		}
	case method[1] == methodRefused && c.User == "":
		return &ReplyError{Version: SOCKS5, Login: true, Text: "the proxy wants a login"}
	case method[1] == methodRefused:
		return &ReplyError{Version: SOCKS5, Login: true, Text: "the proxy wants another kind of login than user and password"}
	default:
		return &ProtocolError{SOCKS5, fmt.Sprintf("the proxy chose login method %d, which was not offered", method[1]), 0}
	}

	b := []byte{5, cmdConnect, 0}
	if addr, err := netip.ParseAddr(a.host); err != nil {
		b = append(append(b, atypName, byte(len(a.host))), a.host...)
	} else if addr = addr.Unmap(); addr.Is4() {
		b = append(append(b, atypIPv4), addr.AsSlice()...)
	} else {
		b = append(append(b, atypIPv6), addr.WithZone("").AsSlice()...)
	}
	if err := a.write("the request", binary.BigEndian.AppendUint16(b, a.port)); err != nil {
		return err
	}
	return c.reply5(a)
}

// login5 is RFC 1929.
func (c Client) login5(a *asker) error {
	b := append([]byte{1, byte(len(c.User))}, c.User...)
	b = append(append(b, byte(len(c.Password))), c.Password...)
	if err := a.write("the login", b); err != nil {
		return err
	}
	var status [2]byte
	if err := a.read("its answer to the login", status[:]); err != nil {
		return err
	}
	// The version is 1; some send 5.
	if status[0] != 1 && status[0] != 5 {
		return c.garbage(status[:])
	}
	if status[1] != 0 {
		return &ReplyError{Version: SOCKS5, Login: true, Text: "the proxy refuses the user or the password"}
	}
	return nil
}

// reply5 reads the reply of RFC 1928, section 6. The address in it says where
// the proxy connects from; nobody needs that.
func (c Client) reply5(a *asker) error {
	const what = "its reply"
	var head [5]byte
	if err := a.read(what, head[:2]); err != nil {
		return err
	}
	if head[0] != 5 {
		return c.garbage(head[:2])
	}
	if code := Reply(head[1]); code != Succeeded {
		return &ReplyError{Version: SOCKS5, Code: int(code), Text: code.String()} // the rest may be missing
	}
	if err := a.read(what, head[2:]); err != nil {
		return err
	}
	size := 0 // of the address, without the byte that was read
	switch head[3] {
	case atypIPv4:
		size = 3
	case atypIPv6:
		size = 15
	case atypName:
		size = int(head[4])
	default:
		return &ProtocolError{SOCKS5, fmt.Sprintf("the proxy's reply has an address of the unknown type %d", head[3]), 0}
	}
	return a.read(what, make([]byte, size+2))
}

// garbage says what an answer looks like that is none.
func (c Client) garbage(answer []byte) error {
	e := &ProtocolError{Version: c.Version}
	looks := ""
	switch {
	case answer[0] == 'H' || answer[0] == '<':
		e.Speaks, looks = HTTPConnect, ", which looks like HTTP"
	case answer[0] == 5 && c.Version != SOCKS5:
		e.Speaks, looks = SOCKS5, ", which looks like SOCKS5"
	case answer[0] == 0 && len(answer) > 1 && answer[1] >= granted4 && answer[1] <= granted4+3:
		e.Speaks, looks = SOCKS4, ", which looks like SOCKS4"
	case answer[0] == 'S':
		looks = ", as an SSH server does"
	case answer[0] == 0x15 || answer[0] == 0x16:
		looks = ", which looks like TLS"
	}
	e.Text = fmt.Sprintf("the proxy does not speak %v: its answer begins with %q%s", c.Version, answer, looks)
	return e
}

// textual reports whether s has no control characters.
func textual(s string) bool { return printable(s) == s }
