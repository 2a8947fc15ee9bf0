package socks

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"strings"
)

// Reply is a SOCKS5 reply code (RFC 1928, section 6).
type Reply uint8

// The reply codes.
const (
	Succeeded               Reply = 0
	GeneralFailure          Reply = 1
	NotAllowed              Reply = 2
	NetworkUnreachable      Reply = 3
	HostUnreachable         Reply = 4
	ConnectionRefused       Reply = 5
	TTLExpired              Reply = 6
	CommandNotSupported     Reply = 7
	AddressTypeNotSupported Reply = 8
)

var replyText = [...]string{
	Succeeded:               "succeeded",
	GeneralFailure:          "general failure",
	NotAllowed:              "not allowed",
	NetworkUnreachable:      "network unreachable",
	HostUnreachable:         "host unreachable",
	ConnectionRefused:       "connection refused",
	TTLExpired:              "timed out",
	CommandNotSupported:     "command not supported",
	AddressTypeNotSupported: "address type not supported",
}

func (r Reply) String() string {
	if int(r) < len(replyText) {
		return replyText[r]
	}
	return "reply " + strconv.Itoa(int(r))
}

// Refusal is why a request is refused, in the words of each protocol. SOCKS4
// knows only one way to refuse and uses nothing of it.
type Refusal struct {
	Reply  Reply  // SOCKS5's code; Succeeded is sent as GeneralFailure
	Status int    // HTTP's status, 400 to 599; anything else is sent as 502
	Text   string // for the person at the HTTP client; Reply's text when empty
}

func (f Refusal) text() string {
	if f.Text == "" {
		return f.Reply.String()
	}
	return f.Text
}

// SOCKS4's reply codes. 92 and 93 are about identd, which nobody asks.
const (
	granted4  = 90
	rejected4 = 91
)

// appendReply4 appends a SOCKS4 reply: version 0, code, port, IPv4 address.
func appendReply4(b []byte, code byte, bound netip.AddrPort) []byte {
	addr := bound.Addr().Unmap()
	if !addr.Is4() {
		addr = netip.IPv4Unspecified()
	}
	b = append(b, 0, code)
	b = binary.BigEndian.AppendUint16(b, bound.Port())
	return append(b, addr.AsSlice()...)
}

// appendReply5 appends a SOCKS5 reply (RFC 1928, section 6).
func appendReply5(b []byte, code Reply, bound netip.AddrPort) []byte {
	addr := bound.Addr().Unmap()
	if !addr.IsValid() {
		addr = netip.IPv4Unspecified()
	}
	kind := byte(atypIPv4)
	if addr.Is6() {
		kind = atypIPv6
	}
	b = append(b, 5, byte(code), 0, kind)
	b = append(b, addr.AsSlice()...)
	return binary.BigEndian.AppendUint16(b, bound.Port())
}

// The statuses (RFC 9110, section 15) that are sent here or make sense in a
// Refusal. Written out since net/http would weigh more than this package.
const (
	statusBadRequest       = 400
	statusMethodNotAllowed = 405
	statusHeaderTooLarge   = 431
	statusBadGateway       = 502
)

func statusText(status int) string {
	switch status {
	case statusBadRequest:
		return "Bad Request"
	case 403:
		return "Forbidden"
	case statusMethodNotAllowed:
		return "Method Not Allowed"
	case statusHeaderTooLarge:
		return "Request Header Fields Too Large"
	case statusBadGateway:
		return "Bad Gateway"
	case 503:
		return "Service Unavailable"
	case 504:
		return "Gateway Timeout"
	}
	return "Refused"
}

// appendHTTPError appends a response with text as its body.
func appendHTTPError(b []byte, status int, text string) []byte {
	if status < 400 || status > 599 {
		status = statusBadGateway
	}
	body := "adit: " + printable(text) + "\n"
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, ' ')
	b = append(b, statusText(status)...)
	if status == statusMethodNotAllowed {
		b = append(b, "\r\nAllow: CONNECT"...) // RFC 9110, section 15.5.6: MUST.
	}
	b = append(b, "\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\nContent-Length: "...)
	b = strconv.AppendInt(b, int64(len(body)), 10)
	b = append(b, "\r\n\r\n"...)
	return append(b, body...)
}

// printable replaces what may not reach a terminal: text may be an SSH
// server's word.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) {
			return '?'
		}
		return r
	}, s)
}
