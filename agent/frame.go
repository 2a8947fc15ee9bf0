package agent

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// MaxFrame is the longest message that is sent or taken, in bytes, without the
// four of its length (OpenSSH, ssh-agent.c, AGENT_MAX_LEN).
const MaxFrame = 256 << 10

// errFrame is a length that no agent sends.
var errFrame = errors.New("malformed message length")

// readFrame reads one message: its number and what follows. An end of stream
// before the first byte is io.EOF, one later io.ErrUnexpectedEOF. The memory is
// the caller's.
func readFrame(r io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n == 0 || n > MaxFrame {
		return nil, fmt.Errorf("%w %d: 1 to %d is due", errFrame, n, MaxFrame)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		clear(b)
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return b, nil
}

// writeFrame writes one message with one Write: some agents take what one read
// returns for one message.
func writeFrame(w io.Writer, b []byte) error {
	if len(b) == 0 || len(b) > MaxFrame {
		return fmt.Errorf("a message of %d bytes: 1 to %d is due", len(b), MaxFrame)
	}
	p := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(b)), uint32(len(b)))
	p = append(p, b...)
	_, err := w.Write(p)
	clear(p) // it may hold a private key
	return err
}
