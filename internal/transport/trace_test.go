package transport

import (
	"testing"

	"github.com/adit-ssh/adit/internal/wire"
	"github.com/adit-ssh/adit/trace"
)

// An event tells neither a secret nor how long it is.
func TestTraceOfSecrets(t *testing.T) {
	login := func(password string) wire.Msg {
		return &wire.UserauthRequest{User: "u", Service: wire.ServiceConnection, Method: wire.MethodPassword,
			Body: (&wire.PasswordBody{Password: []byte(password)}).Append(nil)}
	}
	sizes := map[int]bool{}
	for _, m := range []wire.Msg{login("a"), login("correct horse battery staple"), &wire.ChannelData{Data: make([]byte, 1000)}} {
		recorder := trace.NewRecorder(trace.LevelPacket, 1)
		c := &Conn{cfg: &Config{Tracer: recorder}}
		c.tracePacket(true, 3, m.Append(nil))
		e := recorder.Records()[0].Event.(trace.Packet)
		if _, data := m.(*wire.ChannelData); data && e.Size != len(m.Append(nil)) {
			t.Errorf("data of %d bytes of payload has size %d", len(m.Append(nil)), e.Size)
		} else if !data {
			sizes[e.Size] = true
		}
	}
	if len(sizes) != 1 {
		t.Errorf("passwords of different lengths have sizes %v", sizes)
	}
}
