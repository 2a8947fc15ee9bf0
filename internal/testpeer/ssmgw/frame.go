package ssmgw

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"
)

// headSize is where a frame's payload begins.
const headSize = 120

// frame is a binary message: what a simulated agent needs of it.
type frame struct {
	typ      string
	sequence int64
	id       []byte // as on the wire, halves swapped
	kind     uint32 // payload type
	payload  []byte
}

func parseFrame(b []byte) (f frame, ok bool) {
	if len(b) < headSize || binary.BigEndian.Uint32(b) != headSize-4 || binary.BigEndian.Uint64(b[40:]) == 0 {
		return f, false
	}
	f.typ = string(bytes.TrimRight(b[4:36], " \x00"))
	f.sequence = int64(binary.BigEndian.Uint64(b[48:]))
	f.id = b[64:80]
	f.kind = binary.BigEndian.Uint32(b[112:])
	f.payload = b[headSize:]
	digest := sha256.Sum256(f.payload)
	return f, f.typ != "" && bytes.Equal(digest[:], b[80:112]) && int(binary.BigEndian.Uint32(b[116:])) == len(f.payload)
}

func makeFrame(typ string, sequence int64, flags uint64, kind uint32, payload []byte) []byte {
	b := make([]byte, headSize+len(payload))
	binary.BigEndian.PutUint32(b, headSize-4)
	copy(b[4:36], fmt.Sprintf("%-32s", typ))
	binary.BigEndian.PutUint32(b[36:], 1)
	binary.BigEndian.PutUint64(b[40:], uint64(time.Now().UnixMilli()))
	binary.BigEndian.PutUint64(b[48:], uint64(sequence))
	binary.BigEndian.PutUint64(b[56:], flags)
	rand.Read(b[64:80])
	digest := sha256.Sum256(payload)
	copy(b[80:], digest[:])
	binary.BigEndian.PutUint32(b[112:], kind)
	binary.BigEndian.PutUint32(b[116:], uint32(len(payload)))
	copy(b[headSize:], payload)
	return b
}

// idText is a frame's UUID as text.
func idText(wire []byte) string {
	h := hex.EncodeToString(wire[8:16]) + hex.EncodeToString(wire[:8])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// ackPayload is what acknowledge messages hold, both ways.
type ackPayload struct {
	AcknowledgedMessageType           string
	AcknowledgedMessageID             string `json:"AcknowledgedMessageId"`
	AcknowledgedMessageSequenceNumber int64
	IsSequentialMessage               bool
}

func ackFrame(of *frame) []byte {
	b, err := json.Marshal(ackPayload{of.typ, idText(of.id), of.sequence, true})
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return makeFrame("acknowledge", 0, 3, 0, b)
}

// stall is longer than any test.
const stall = 24 * time.Hour
