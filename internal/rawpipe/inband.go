package rawpipe

import (
	"encoding/binary"
	"strings"

	"github.com/adit-ssh/adit/internal/wire"
)

// maxReason is the longest text of AppendDisconnect, in bytes. OpenSSH shows 400.
const maxReason = 400

// AppendDisconnect appends an SSH server's version line and a DISCONNECT that
// says why there is no server: what a client shows to the person as an error of
// the connection. It is plain, since no keys were exchanged (RFC 4253, sections
// 4.2, 6 and 11.1). program stands in the version line, text is made printable
// ASCII and cut to 400 bytes.
//
// No KEXINIT is sent: clients take a DISCONNECT in front of it.
func AppendDisconnect(b []byte, program, text string) []byte {
	b = append(b, "SSH-2.0-"+versionWord(program)+"\r\n"...)
	m := wire.Disconnect{Reason: wire.DisconnectConnectionLost, Description: ascii(text), Language: ""}
	payload := m.Append(nil)

	// RFC 4253, section 6: at least 4 bytes of padding, the whole a multiple of
	// 8. There is nothing that it could hide, so it is not random.
	const block, least = 8, 4
	padding := block - (4+1+len(payload))%block
	if padding < least {
		padding += block
	}
	b = binary.BigEndian.AppendUint32(b, uint32(1+len(payload)+padding))
	b = append(b, byte(padding))
	b = append(b, payload...)
	return append(b, make([]byte, padding)...)
}

// versionWord is a program's name as it may stand in a version line, which has
// neither blanks nor a minus sign there (RFC 4253, section 4.2).
func versionWord(program string) string {
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' || r == '-' {
			return '_'
		}
		return r
	}, program)
}

// ascii makes s one line of printable ASCII of at most maxReason bytes.
func ascii(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\n' || r == '\t':
			b.WriteString(" ")
		case r == '…':
			b.WriteString("...")
		case r < ' ' || r > '~':
			b.WriteByte('?')
		default:
			b.WriteRune(r)
		}
	}
	if b.Len() > maxReason {
		return b.String()[:maxReason-3] + "..."
	}
	return b.String()
}
