package trace

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/adit-ssh/adit/internal/wire"
)

func TestLadder(t *testing.T) {
	open := &wire.ChannelOpen{Type: wire.ChannelDirectTCPIP, SenderChannel: 3, InitialWindow: 100, MaxPacket: 50,
		Data: (&wire.DirectTCPIP{Host: "db", Port: 5432, OriginatorAddr: "127.0.0.1", OriginatorPort: 4000}).Append(nil)}
	var out strings.Builder
	l := NewLadder(&out, LevelPacket, "client", "server")
	for _, e := range []Event{
		Version{Local: "SSH-2.0-a", Peer: "SSH-2.0-b"},
		Packet{Out: true, Num: wire.NumChannelOpen, Msg: open},
		Packet{Num: wire.NumChannelOpenFailure, Msg: &wire.ChannelOpenFailure{RecipientChannel: 3, Reason: 2, Description: "no\x1b[2Jway"}},
		Packet{Num: wire.NumChannelEOF, Err: errors.New("too short")},
		Packet{Out: true, Num: wire.NumDisconnect, Msg: &wire.Disconnect{Reason: 11, Description: "bye"}},
		ChannelClosed{},
	} {
		l.Trace(time.Now(), e)
	}
	want := `client ───> server  90 CHANNEL_OPEN channel type=direct-tcpip sender channel=3 initial window size=100 maximum packet size=50 host to connect=db port to connect=5432 originator IP address=127.0.0.1 originator port=4000
client <─── server  92 CHANNEL_OPEN_FAILURE recipient channel=3 reason code=2 description="no\x1b[2Jway"
client <─── server  96 CHANNEL_EOF (too short)
client ───> server   1 DISCONNECT reason code=11 description=bye
`
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
	if l.Level() != LevelPacket {
		t.Errorf("level %d, want %d", l.Level(), LevelPacket)
	}
}
