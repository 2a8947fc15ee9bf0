package mux

import (
	"bytes"
	"testing"
)

// narrowSink takes so many bytes and no more, as a socket whose peer is slow.
type narrowSink struct {
	room int
	got  []byte
}

func (s *narrowSink) tryWrite(bufs [][]byte) (n int64, err error) {
	for _, b := range bufs {
		k := min(len(b), s.room)
		s.got, s.room, n = append(s.got, b[:k]...), s.room-k, n+int64(k)
	}
	return n, nil
}

// Data keeps its order wherever a sink stops to take it: within what is
// collected, at its end, and when more packets come at once than are collected.
func TestSinkKeepsTheOrder(t *testing.T) {
	const packets = 3*maxSlices + 5
	for _, room := range []int{0, 1, maxSlices / 2, maxSlices - 1, maxSlices, maxSlices + 1, 2*maxSlices - 1, 2 * maxSlices, packets} {
		for _, ended := range []int{-1, 0, maxSlices / 2, maxSlices} { // WriteTo ends after so many packets
			m := &Mux{pc: &hurriedConn{}, cfg: Config{Window: DefaultWindow}, slices: make([][]byte, 0, maxSlices)}
			c := m.newChannel("test", Options{})
			sink := &narrowSink{room: room}
			c.state, c.sink, c.direct = stateOpen, sink, true
			var want []byte
			for i := range packets {
				if i == ended {
					c.direct = false
				}
				want = append(want, byte(i))
				if err := m.data(c, []byte{byte(i)}); err != nil {
					t.Fatal(err)
				}
			}
			m.flushDirect()
			got := make([]byte, packets)
			n := copy(got, sink.got)
			n += c.queue.read(got[n:])
			if !bytes.Equal(got[:n], want) {
				t.Errorf("a sink that takes %d packets, direct until %d: got %d bytes in the order %v", room, ended, n, got[:n])
			}
		}
	}
}
