package wire

import (
	"strings"
	"testing"
)

// The names of RFC 4250, section 4.1.2, RFC 4252, 4256, 4419, 5656, 8308, and of
// OpenSSH's PROTOCOL, without "SSH_MSG_" and "SSH2_MSG_".
func TestNames(t *testing.T) {
	for _, c := range []struct {
		m    Msg
		num  byte
		want string
	}{
		{&Disconnect{}, 1, "DISCONNECT"}, {&Ignore{}, 2, "IGNORE"}, {&Unimplemented{}, 3, "UNIMPLEMENTED"},
		{&Debug{}, 4, "DEBUG"}, {&ServiceRequest{}, 5, "SERVICE_REQUEST"}, {&ServiceAccept{}, 6, "SERVICE_ACCEPT"},
		{&ExtInfo{}, 7, "EXT_INFO"}, {&NewCompress{}, 8, "NEWCOMPRESS"}, {&KexInit{}, 20, "KEXINIT"}, {&NewKeys{}, 21, "NEWKEYS"},
		{&KexShareInit{}, 30, "KEX_ECDH_INIT"}, {&KexShareReply{}, 31, "KEX_ECDH_REPLY"},
		{&KexGexGroup{}, 31, "KEX_DH_GEX_GROUP"}, {&KexGexInit{}, 32, "KEX_DH_GEX_INIT"},
		{&KexGexReply{}, 33, "KEX_DH_GEX_REPLY"}, {&KexGexRequest{}, 34, "KEX_DH_GEX_REQUEST"},
		{&UserauthRequest{}, 50, "USERAUTH_REQUEST"}, {&UserauthFailure{}, 51, "USERAUTH_FAILURE"},
		{&UserauthSuccess{}, 52, "USERAUTH_SUCCESS"}, {&UserauthBanner{}, 53, "USERAUTH_BANNER"},
		{&UserauthPKOK{}, 60, "USERAUTH_PK_OK"}, {&UserauthPasswdChange{}, 60, "USERAUTH_PASSWD_CHANGEREQ"},
		{&UserauthInfoRequest{}, 60, "USERAUTH_INFO_REQUEST"}, {&UserauthInfoResponse{}, 61, "USERAUTH_INFO_RESPONSE"},
		{&GlobalRequest{}, 80, "GLOBAL_REQUEST"}, {&RequestSuccess{}, 81, "REQUEST_SUCCESS"}, {&RequestFailure{}, 82, "REQUEST_FAILURE"},
		{&ChannelOpen{}, 90, "CHANNEL_OPEN"}, {&ChannelOpenConfirmation{}, 91, "CHANNEL_OPEN_CONFIRMATION"},
		{&ChannelOpenFailure{}, 92, "CHANNEL_OPEN_FAILURE"}, {&ChannelWindowAdjust{}, 93, "CHANNEL_WINDOW_ADJUST"},
		{&ChannelData{}, 94, "CHANNEL_DATA"}, {&ChannelExtendedData{}, 95, "CHANNEL_EXTENDED_DATA"},
		{&ChannelEOF{}, 96, "CHANNEL_EOF"}, {&ChannelClose{}, 97, "CHANNEL_CLOSE"}, {&ChannelRequest{}, 98, "CHANNEL_REQUEST"},
		{&ChannelSuccess{}, 99, "CHANNEL_SUCCESS"}, {&ChannelFailure{}, 100, "CHANNEL_FAILURE"},
		{&Ping{}, 192, "PING"}, {&Pong{}, 193, "PONG"},
	} {
		if c.m.Num() != c.num || MsgName(c.m) != c.want {
			t.Errorf("%T is %d %s, want %d %s", c.m, c.m.Num(), MsgName(c.m), c.num, c.want)
		}
	}
}

func TestNameInEachPhase(t *testing.T) {
	seen := map[string]string{}
	for _, k := range allKinds(t) {
		name := MsgName(k.make())
		if Name(k.phase, k.num) != name {
			t.Errorf("%s: Name says %s, MsgName %s", k.name, Name(k.phase, k.num), name)
		}
		if strings.HasPrefix(name, "message") {
			t.Errorf("%s has no name", k.name)
		}
		if seen[name] != "" {
			t.Errorf("%s and %s are both called %s", seen[name], k.name, name)
		}
		seen[name] = k.name
	}
	for num := range 256 {
		for _, phase := range allPhases {
			known := newMsg(phase, byte(num)) != nil
			if named := !strings.HasPrefix(Name(phase, byte(num)), "message "); named != known {
				t.Errorf("phase %d, number %d: named is %v, decoded is %v", phase, num, named, known)
			}
		}
	}
	if got := Name(PhaseAny, 60); got != "message 60" {
		t.Errorf("a number without meaning is called %q", got)
	}
}
