package ssmsession

import (
	"context"
	"encoding/binary"
	"testing"
	"time"

	"github.com/adit-ssh/adit/internal/ssmwire"
)

// still is a session whose goroutines do not run: frames are fed to it by hand, and
// its reader waits for nobody.
func still() *Session {
	s := &Session{o: Options{StallTimeout: stallTimeout}, now: time.Now, ready: make(chan struct{}), done: make(chan struct{}), wake: make(chan struct{}, 1), cut: true}
	s.changed.L = &s.mu
	s.lifetime, s.stop = context.WithCancel(context.Background())
	s.in.ahead, s.out.acking = map[int64]early{}, map[int64]bool{}
	s.out.window, s.out.chunk, s.out.chunkLimit = newWindow(), chunkLeast, chunkDefault
	s.ackTimer = time.AfterFunc(time.Hour, s.wakeWriter)
	return s
}

// Whatever a gateway sends, a session neither panics nor keeps more than it may.
// The input is messages: a byte that says which, a byte of the sequence number, the
// length of the payload in two bytes, and the payload. One of the kinds is raw.
func FuzzFrames(f *testing.F) {
	message := func(kind, sequence byte, payload string) []byte {
		return append(binary.BigEndian.AppendUint16([]byte{kind, sequence}, uint16(len(payload))), payload...)
	}
	hello := message(5, 0, greeting)
	complete := message(7, 1, `{"CustomerMessage":"x"}`)
	f.Add(append(hello, complete...))
	f.Add(append(append(hello, complete...), message(1, 2, "data")...))
	f.Add(append(append(hello, complete...), message(1, 9, "ahead")...))
	f.Add(append(hello, message(201, 0, `{"AcknowledgedMessageType":"input_stream_data","AcknowledgedMessageSequenceNumber":0}`)...))
	f.Add(append(hello, message(202, 0, `{"Output":"gone"}`)...))
	f.Add(append(message(203, 0, ""), message(204, 0, "")...))
	f.Add(message(255, 0, "raw"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := still()
		defer s.ackTimer.Stop()
		defer s.stop()
		s.out.queue.put(make([]byte, 100))
		for len(b) >= 4 && s.state != stateEnded {
			kind, sequence, size := b[0], int64(int8(b[1])), int(binary.BigEndian.Uint16(b[2:]))
			if sequence < 0 {
				sequence = -sequence << 50 // far away
			}
			b = b[4:]
			size = min(size, len(b))
			frame := ssmwire.Frame{Type: ssmwire.Output, Created: 1, Sequence: sequence, PayloadType: uint32(kind), Payload: b[:size]}
			switch kind {
			case 201:
				frame.Type = ssmwire.Acknowledge
			case 202:
				frame.Type = ssmwire.ChannelClosed
			case 203:
				frame.Type = ssmwire.PausePublication
			case 204:
				frame.Type = ssmwire.StartPublication
			}
			raw := frame.Append(nil)
			if kind == 255 {
				raw = b[:size]
			}
			b = b[size:]
			if err := s.frame(raw); err != nil {
				break
			}
			s.mu.Lock()
			s.out.expireLocked(s.now())
			s.out.pickLocked(s.now(), s.state == stateOpen)
			if s.in.held > reorderLimit || len(s.out.acks) > maxAcks || s.out.window.size < windowLeast || s.out.window.size > windowMost {
				t.Errorf("%d bytes behind a gap, %d acks, a window of %d bytes", s.in.held, len(s.out.acks), s.out.window.size)
			}
			s.mu.Unlock()
		}
	})
}
