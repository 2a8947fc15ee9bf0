// Package pcapng writes a trace as a capture that Wireshark opens and decodes
// with its own SSH dissector, whatever algorithms the connection used.
//
// No dissector reads SSH without its encryption, so the capture is made up: each
// connection is played again as one of curve25519-sha256 and
// aes128-gcm@openssh.com, between the same addresses (the server's port is 22,
// which Wireshark takes for SSH), with keys of its own, and these keys stand in
// the file (a Decryption Secrets Block). What is real are the version lines, the
// KEXINITs behind the names that were put first, the host key, and every message
// after NEWKEYS, with its time. Each message is a TCP segment of its own. The
// connection's real keys are nowhere in the file, and neither are passwords:
// messages are redacted as in every trace.
//
// Messages of later key exchanges are shown as DEBUG messages that name them, and
// channel data below trace.LevelData as a text that tells its length. The entry is
// Format.
package pcapng

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/adit-ssh/adit/trace"
)

// Types of blocks and options (draft-ietf-opsawg-pcapng, section 4).
const (
	blockSection   = 0x0a0d0d0a
	blockInterface = 1
	blockPacket    = 6
	blockSecrets   = 10
	secretsSSH     = 0x5353484b
	linkRaw        = 101 // LINKTYPE_RAW: an IP header comes first
	optComment     = 1
	optUserAppl    = 4
	optName        = 2
)

// Format is a trace.Format for levels packet and data. Its zero value is ready.
type Format struct {
	began time.Time
	level trace.Level
	conns map[int]*session
}

// Begin implements trace.Format.
func (f *Format) Begin(b []byte, h trace.Header) []byte {
	*f = Format{began: h.Began, level: h.Level, conns: map[int]*session{}}
	section := le32(nil, 0x1a2b3c4d)
	section = le16(section, 1) // version 1.0
	section = le16(section, 0)
	section = append(section, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff) // length not known
	section = option(section, optComment, "Made up by "+h.Program+" from its trace: the messages are real, their encryption is not. See adit's TRACE.md.")
	section = option(section, optUserAppl, h.Program)
	b = block(b, blockSection, append(section, 0, 0, 0, 0))
	iface := le16(nil, linkRaw)
	iface = le16(iface, 0)
	iface = le32(iface, 0) // no limit of length
	iface = option(iface, optName, "adit")
	return block(b, blockInterface, append(iface, 0, 0, 0, 0))
}

// Event implements trace.Format.
func (f *Format) Event(b []byte, conn int, at time.Time, e trace.Event) []byte {
	if conn == 0 {
		return b
	}
	s := f.conns[conn]
	if s == nil {
		s = newSession(conn, f.level)
		f.conns[conn] = s
	}
	b = s.event(b, at, e)
	if _, over := e.(trace.ConnEnd); over {
		delete(f.conns, conn)
	}
	return b
}

// End implements trace.Format.
func (f *Format) End(b []byte, _ int64) []byte { return b }

// flow is a TCP connection in the capture.
type flow struct {
	client, server netip.AddrPort
	seq            [2]uint32 // next byte: of the client, of the server
}

// segmentSize is the most of a message that goes into one IP packet, which holds
// 65535 bytes.
const segmentSize = 60000

// send appends packets with data from one side.
func (f *flow) send(b []byte, at time.Time, fromServer bool, data []byte, comment string) []byte {
	from, to, side := f.client, f.server, 0
	if fromServer {
		from, to, side = f.server, f.client, 1
	}
	for len(data) > 0 {
		n := min(len(data), segmentSize)
		ip := ipHeader(from.Addr(), to.Addr(), 20+n)
		ip = be16(be16(ip, from.Port()), to.Port())
		ip = be32(be32(ip, f.seq[side]), f.seq[1-side])
		ip = append(ip, 5<<4, 0x18, 0xff, 0xff, 0, 0, 0, 0) // PSH and ACK, window, no checksum
		ip = append(ip, data[:n]...)
		f.seq[side] += uint32(n)
		data = data[n:]
		b = packetBlock(b, at, ip, comment)
		comment = ""
	}
	return b
}

func ipHeader(from, to netip.Addr, payload int) []byte {
	if from.Is6() || to.Is6() {
		h := be16([]byte{6 << 4, 0, 0, 0}, uint16(payload))
		h = append(h, 6, 64)
		f, t := from.As16(), to.As16()
		return append(append(h, f[:]...), t[:]...)
	}
	h := be16([]byte{4<<4 | 5, 0}, uint16(20+payload))
	h = append(h, 0, 0, 0x40, 0, 64, 6, 0, 0)
	f, t := from.As4(), to.As4()
	h = append(append(h, f[:]...), t[:]...)
	sum := uint32(0)
	for i := 0; i < len(h); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(h[i:]))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	binary.BigEndian.PutUint16(h[10:], ^uint16(sum))
	return h
}

// packetBlock appends an Enhanced Packet Block.
func packetBlock(b []byte, at time.Time, ip []byte, comment string) []byte {
	us := uint64(at.UnixMicro())
	p := le32(nil, 0) // interface
	p = le32(le32(p, uint32(us>>32)), uint32(us))
	p = le32(le32(p, uint32(len(ip))), uint32(len(ip)))
	p = pad(append(p, ip...))
	if comment != "" {
		p = append(option(p, optComment, comment), 0, 0, 0, 0)
	}
	return block(b, blockPacket, p)
}

// secretsBlock appends a key log.
func secretsBlock(b []byte, log string) []byte {
	p := le32(le32(nil, secretsSSH), uint32(len(log)))
	return block(b, blockSecrets, pad(append(p, log...)))
}

func block(b []byte, typ uint32, body []byte) []byte {
	n := uint32(12 + len(body))
	b = le32(le32(b, typ), n)
	return le32(append(b, body...), n)
}

func option(b []byte, code uint16, value string) []byte {
	value = value[:min(len(value), 60000)]
	b = le16(le16(b, code), uint16(len(value)))
	return pad(append(b, value...))
}

// pad fills up to 32 bits; what comes before a body's options has that length
// already.
func pad(b []byte) []byte {
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func le16(b []byte, v uint16) []byte { return binary.LittleEndian.AppendUint16(b, v) }
func le32(b []byte, v uint32) []byte { return binary.LittleEndian.AppendUint32(b, v) }
func be16(b []byte, v uint16) []byte { return binary.BigEndian.AppendUint16(b, v) }
func be32(b []byte, v uint32) []byte { return binary.BigEndian.AppendUint32(b, v) }
