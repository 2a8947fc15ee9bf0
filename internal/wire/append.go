package wire

import "encoding/binary"

// AppendBool appends a boolean.
func AppendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

// AppendUint32 appends a uint32.
func AppendUint32(b []byte, v uint32) []byte { return binary.BigEndian.AppendUint32(b, v) }

// AppendUint64 appends a uint64.
func AppendUint64(b []byte, v uint64) []byte { return binary.BigEndian.AppendUint64(b, v) }

// AppendString appends a string: its length and its bytes. It serves mpint
// bodies too, which are framed alike.
func AppendString[S ~string | ~[]byte](b []byte, s S) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
	return append(b, s...)
}

// AppendNameList appends a name-list.
func AppendNameList(b []byte, names []string) []byte {
	at := len(b)
	b = append(b, 0, 0, 0, 0)
	for i, n := range names {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, n...)
	}
	binary.BigEndian.PutUint32(b[at:], uint32(len(b)-at-4))
	return b
}

// MpintBody returns the body of the mpint whose absolute value is the
// big-endian number v: leading zeros stripped, one zero byte put in front when
// the top bit is set. The result may share v's memory.
func MpintBody(v []byte) []byte {
	for len(v) > 0 && v[0] == 0 {
		v = v[1:]
	}
	if len(v) > 0 && v[0]&0x80 != 0 {
		return append([]byte{0}, v...)
	}
	return v
}

// AppendMpint appends the non-negative number whose big-endian bytes are v.
func AppendMpint(b, v []byte) []byte { return AppendString(b, MpintBody(v)) }
