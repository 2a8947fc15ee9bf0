package wire

import "encoding/binary"

// ChannelDataHeader is the length of what stands before the data in a
// CHANNEL_DATA payload: number, recipient channel, length.
const ChannelDataHeader = 9

// PutChannelDataHeader writes the header of a CHANNEL_DATA payload with n bytes
// of data into b, which has ChannelDataHeader bytes.
func PutChannelDataHeader(b []byte, recipient uint32, n int) {
	_ = b[ChannelDataHeader-1]
	b[0] = NumChannelData
	binary.BigEndian.PutUint32(b[1:], recipient)
	binary.BigEndian.PutUint32(b[5:], uint32(n))
}

// ParseChannelData is the allocation-free twin of decoding ChannelData. data
// shares the payload's memory.
func ParseChannelData(payload []byte) (recipient uint32, data []byte, ok bool) {
	if len(payload) < ChannelDataHeader || payload[0] != NumChannelData ||
		uint64(binary.BigEndian.Uint32(payload[5:])) != uint64(len(payload)-ChannelDataHeader) {
		return 0, nil, false
	}
	return binary.BigEndian.Uint32(payload[1:]), payload[ChannelDataHeader:len(payload):len(payload)], true
}

// ParseChannelWindowAdjust is the allocation-free twin of decoding
// ChannelWindowAdjust.
func ParseChannelWindowAdjust(payload []byte) (recipient, n uint32, ok bool) {
	if len(payload) != 9 || payload[0] != NumChannelWindowAdjust {
		return 0, 0, false
	}
	return binary.BigEndian.Uint32(payload[1:]), binary.BigEndian.Uint32(payload[5:]), true
}
