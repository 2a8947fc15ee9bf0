package algo

import (
	"encoding/binary"
	"fmt"
	"io"
)

// Plain returns the packet cipher "none" with the MAC "none", which serves the
// packets before the first NEWKEYS (RFC 4253, section 6). One value may serve
// both directions.
func Plain() PacketCipher { return plain{frame{block: 8}} }

type plain struct{ frame }

func (c plain) Seal(_ uint32, slot []byte, n int, pad io.Reader) []byte {
	return slot[:c.layOut(slot, n, pad)]
}

func (plain) Prefix() int { return lengthSize }

func (c plain) Length(_ uint32, b []byte) (int, error) {
	n := binary.BigEndian.Uint32(b)
	whole, err := c.length(n)
	if err != nil {
		// Nothing is secret yet, and the number tells a peer that does not
		// speak SSH at all (0x48545450 is "HTTP").
		return 0, fmt.Errorf("%w %#x", err, n)
	}
	return whole, nil
}

func (c plain) Open(_ uint32, b []byte) ([]byte, error) {
	end, err := c.split(b)
	if err != nil {
		return nil, err
	}
	return payload(b[:end])
}
