package transport

import (
	"encoding/binary"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/adit-ssh/adit/internal/testnet"
	"github.com/adit-ssh/adit/internal/wire"
)

// What the handshake says of the round trip holds the peer's arithmetic as well. A
// PING's answer does not, and who has not announced that it answers gets none.
func TestMeasureRTT(t *testing.T) {
	const rtt, computed = 10 * time.Millisecond, time.Second
	announced := []wire.Extension{{Name: wire.ExtPing, Value: []byte("0")}}
	for _, c := range []struct {
		name       string
		extensions []wire.Extension
		pong       func(asked uint64) []byte // from the peer, ahead of the true one
		want       time.Duration
	}{
		{"announced", announced, nil, rtt},
		{"not announced", nil, nil, computed},
		{"a PONG that nobody asked for", nil, func(asked uint64) []byte { return make([]byte, 8) }, computed},
		{"an empty PONG", announced, func(uint64) []byte { return nil }, rtt},
		{"another's PONG", announced, func(asked uint64) []byte { return binary.BigEndian.AppendUint64(nil, asked+1) }, rtt},
		{"a longer PONG", announced, func(asked uint64) []byte { return binary.BigEndian.AppendUint64(make([]byte, 1), asked) }, rtt},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := testnet.Pipe(testnet.Options{Latency: rtt / 2})
				peer, server := connect(t, a, b, Config{Extensions: c.extensions}, Config{})
				var readers sync.WaitGroup
				for _, end := range []*Conn{peer, server} {
					readers.Go(func() { readAll(t, end) })
				}
				if got := server.RTT(); got != rtt {
					t.Errorf("the handshake took %v to and fro, want %v", got, rtt)
				}
				server.trip.least.Store(int64(computed))
				<-time.After(pingPause) // EXT_INFO is here
				server.MeasureRTT()
				asked := server.trip.ping.Load()
				if c.pong != nil {
					inject(peer, (&wire.Pong{Data: c.pong(uint64(asked))}).Append(nil))
				}
				<-time.After(pingPause - 1)
				if got := server.RTT(); got != c.want {
					t.Errorf("the round trip is %v, want %v", got, c.want)
				}
				server.MeasureRTT()
				if server.trip.ping.Load() != asked {
					t.Errorf("two PINGs within %v", pingPause)
				}
				<-time.After(1)
				server.MeasureRTT()
				if server.trip.ping.Load() == asked {
					t.Errorf("no second PING after %v", pingPause)
				}
				peer.Close()
				server.Close()
				readers.Wait()
			})
		})
	}
}
