package packet

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/adit-ssh/adit/internal/wire"
)

// fill puts total bytes of a pattern into the data areas, in order.
func fill(b *Batch, recipient uint32, total int) (data []byte) {
	data = make([]byte, total)
	for i := range data {
		data[i] = byte(i>>8) ^ byte(i)
	}
	rest := data
	for i := 0; len(rest) > 0; i++ {
		rest = rest[copy(b.Data(i), rest):]
	}
	b.Fill(recipient, total)
	return data
}

// TestFill checks that the packets are CHANNEL_DATA, that they carry what was
// put in, and that sealing one to its full length leaves the others alone.
func TestFill(t *testing.T) {
	for _, tt := range []struct {
		name         string
		data, stride int
		total        int
		packets      int
		last         int
	}{
		{"one byte", MaxData, Head + 9 + MaxData + 32, 1, 1, 1},
		{"one full packet", MaxData, Head + 9 + MaxData + 32, MaxData, 1, MaxData},
		{"a byte more than one packet", MaxData, Head + 9 + MaxData + 32, MaxData + 1, 2, 1},
		{"all slots, the longest tail", MaxData, Head + 9 + MaxData + MaxTail, MaxSlots * MaxData, MaxSlots, MaxData},
		{"small packets, odd stride", 100, Head + 9 + 100 + 7, 1050, 11, 50},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := New(tt.data, tt.stride)
			defer b.Release()
			if b.Len() != 0 || b.Bytes() != 0 {
				t.Fatalf("a new batch holds %d packets, %d bytes", b.Len(), b.Bytes())
			}
			want := fill(b, 7, tt.total)
			if b.Len() != tt.packets || b.Bytes() != tt.total {
				t.Fatalf("got %d packets with %d bytes, want %d and %d", b.Len(), b.Bytes(), tt.packets, tt.total)
			}
			var got []byte
			for i := range b.Len() {
				slot, n := b.Packet(i)
				var m wire.ChannelData
				if err := wire.Parse(slot[Head:Head+n], &m); err != nil || m.RecipientChannel != 7 {
					t.Fatalf("packet %d: recipient %d, %v, want 7", i, m.RecipientChannel, err)
				}
				if size := len(m.Data); i < tt.packets-1 && size != tt.data || i == tt.packets-1 && size != tt.last {
					t.Errorf("packet %d has %d bytes of data", i, size)
				}
				got = append(got, m.Data...)
				// What sealing does: a head in front, padding and tag behind.
				clear(slot[:Head])
				clear(slot[Head+n : max(Head+n, min(len(slot), tt.stride))])
			}
			if !bytes.Equal(got, want) {
				t.Error("the packets' data differs from what was put in")
			}
		})
	}
}

// TestRoom checks the room that New promises, for strides from the shortest to
// the longest.
func TestRoom(t *testing.T) {
	for _, data := range []int{1, 1000, MaxData - 1, MaxData} {
		for _, tail := range []int{4, 32, MaxTail} {
			stride := Head + wire.ChannelDataHeader + data + tail
			b := New(data, stride)
			if b.Slots() != MaxSlots || b.DataCap() != data {
				t.Errorf("data %d, stride %d: %d slots of %d, want %d of %d", data, stride, b.Slots(), b.DataCap(), MaxSlots, data)
			}
			for i := range b.Slots() {
				if d := b.Data(i); len(d) != data || cap(d) != data {
					t.Fatalf("slot %d: length %d, capacity %d, want %d: it must not run into the next", i, len(d), cap(d), data)
				}
			}
			b.Fill(1, b.Slots()*data)
			for i := range b.Len() {
				slot, n := b.Packet(i)
				if want := Head + n + tail; len(slot) < want {
					t.Fatalf("slot %d of stride %d has %d bytes, want %d", i, stride, len(slot), want)
				}
			}
			if slot, n := b.Packet(b.Len() - 1); len(slot)-Head-n < MaxTail {
				t.Errorf("behind the last packet are %d bytes, want %d", len(slot)-Head-n, MaxTail)
			}
			b.Release()
		}
	}
}

// Full packets lie end to end, so that one write sends them all.
func TestFullPacketsAreContiguous(t *testing.T) {
	const tail = 16
	stride := Head + wire.ChannelDataHeader + MaxData + tail
	b := New(MaxData, stride)
	defer b.Release()
	fill(b, 1, 3*MaxData)
	first, _ := b.Packet(0)
	for i := range 3 {
		slot, n := b.Packet(i)
		if Head+n+tail != stride {
			t.Fatalf("packet %d is %d bytes long once sealed, want the stride %d", i, Head+n+tail, stride)
		}
		binary.BigEndian.PutUint32(slot, uint32(0xabc0+i))
		if got := binary.BigEndian.Uint32(first[:cap(first)][i*stride:]); got != uint32(0xabc0+i) {
			t.Errorf("packet %d does not begin %d bytes behind the first", i, i*stride)
		}
	}
}

// A batch comes back from the pool as new, whatever shape it had.
func TestReleaseAndNew(t *testing.T) {
	b := New(MaxData, Head+wire.ChannelDataHeader+MaxData+MaxTail)
	fill(b, 1, 5*MaxData)
	b.Release()
	for range 10 {
		b := New(10, Head+wire.ChannelDataHeader+10+4)
		if b.Len() != 0 || b.Bytes() != 0 || b.DataCap() != 10 {
			t.Fatalf("a batch from the pool has %d packets, %d bytes, slots of %d", b.Len(), b.Bytes(), b.DataCap())
		}
		fill(b, 2, 25)
		if _, n := b.Packet(2); b.Len() != 3 || n != wire.ChannelDataHeader+5 {
			t.Fatalf("%d packets, the last of %d bytes, want 3 and %d", b.Len(), n, wire.ChannelDataHeader+5)
		}
		b.Release()
	}
}
