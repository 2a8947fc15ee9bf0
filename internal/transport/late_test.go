package transport

import (
	"strings"
	"sync"
	"testing"

	"github.com/adit-ssh/adit/internal/wire"
)

// sendLate has s begin a key exchange and send messages after its KEXINIT,
// which RFC 4253, section 7.1, forbids: they go the way of kex messages.
func sendLate(s *Conn, msgs ...wire.Msg) {
	s.Rekey()
	for _, m := range msgs {
		s.out.queueKex(kexMsg{payload: m.Append(nil)})
	}
	s.out.kick()
}

// asyncssh goes on sending during a key exchange, with an IGNORE before each
// message.
func TestMessagesDuringRekey(t *testing.T) {
	a, b := tcpPipe(t)
	c, s := connect(t, a, b, Config{}, Config{})
	var msgs []wire.Msg
	const n = 2 * maxKexIgnored
	for i := range n {
		msgs = append(msgs, &wire.Ignore{}, &wire.GlobalRequest{Type: "late", Data: []byte{byte(i)}})
	}
	sendLate(s, msgs...)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer c.Close()
	wg.Go(func() { s.ReadPacket() })
	for i := range n {
		p, err := c.ReadPacket()
		if err != nil {
			t.Fatalf("message %d of %d: %v", i, n, err)
		}
		var m wire.GlobalRequest
		if err := wire.Parse(p, &m); err != nil || m.Type != "late" || m.Data[0] != byte(i) {
			t.Fatalf("message %d: got %+v, %v", i, m, err)
		}
	}
}

func TestNoiseDuringRekey(t *testing.T) {
	a, b := tcpPipe(t)
	c, s := connect(t, a, b, Config{}, Config{})
	msgs := []wire.Msg{&wire.GlobalRequest{Type: "late"}}
	for range maxKexIgnored {
		msgs = append(msgs, &wire.Ignore{})
	}
	sendLate(s, msgs...)
	_, err := c.ReadPacket()
	if err == nil {
		_, err = c.ReadPacket()
	}
	if err == nil || !strings.Contains(err.Error(), "without meaning") {
		t.Errorf("%d IGNOREs in a row: got %v, want the connection's end", maxKexIgnored, err)
	}
}

// What waits for more to come would wait in vain behind a message of the
// transport's own.
func TestReadBufferedEnds(t *testing.T) {
	a, b := tcpPipe(t)
	c, s := connect(t, a, b, Config{}, Config{})
	s.Cork()
	for _, m := range []wire.Msg{&wire.GlobalRequest{Type: "x"}, &wire.Ignore{}} {
		if err := s.QueuePacket(m.Append(nil)); err != nil {
			t.Fatal(err)
		}
	}
	s.Uncork()
	if p, err := c.ReadPacket(); err != nil || p[0] != wire.NumGlobalRequest {
		t.Fatalf("got %v, %v, want the request", p, err)
	}
	if p, err := c.ReadBuffered(); p != nil || err != nil {
		t.Errorf("behind it: got %v, %v, want nothing", p, err)
	}
}
