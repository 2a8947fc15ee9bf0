package wire

import "strconv"

var names = map[byte]string{
	NumDisconnect: "DISCONNECT", NumIgnore: "IGNORE", NumUnimplemented: "UNIMPLEMENTED", NumDebug: "DEBUG",
	NumServiceRequest: "SERVICE_REQUEST", NumServiceAccept: "SERVICE_ACCEPT", NumExtInfo: "EXT_INFO",
	NumNewCompress: "NEWCOMPRESS", NumKexInit: "KEXINIT", NumNewKeys: "NEWKEYS",
	NumUserauthRequest: "USERAUTH_REQUEST", NumUserauthFailure: "USERAUTH_FAILURE",
	NumUserauthSuccess: "USERAUTH_SUCCESS", NumUserauthBanner: "USERAUTH_BANNER",
	NumGlobalRequest: "GLOBAL_REQUEST", NumRequestSuccess: "REQUEST_SUCCESS", NumRequestFailure: "REQUEST_FAILURE",
	NumChannelOpen: "CHANNEL_OPEN", NumChannelOpenConfirmation: "CHANNEL_OPEN_CONFIRMATION",
	NumChannelOpenFailure: "CHANNEL_OPEN_FAILURE", NumChannelWindowAdjust: "CHANNEL_WINDOW_ADJUST",
	NumChannelData: "CHANNEL_DATA", NumChannelExtendedData: "CHANNEL_EXTENDED_DATA", NumChannelEOF: "CHANNEL_EOF",
	NumChannelClose: "CHANNEL_CLOSE", NumChannelRequest: "CHANNEL_REQUEST", NumChannelSuccess: "CHANNEL_SUCCESS",
	NumChannelFailure: "CHANNEL_FAILURE", NumPing: "PING", NumPong: "PONG",
}

var phaseNames = map[Phase]map[byte]string{
	PhaseKexShare: {NumKexShareInit: "KEX_ECDH_INIT", NumKexShareReply: "KEX_ECDH_REPLY"},
	PhaseKexGex: {NumKexGexRequest: "KEX_DH_GEX_REQUEST", NumKexGexGroup: "KEX_DH_GEX_GROUP",
		NumKexGexInit: "KEX_DH_GEX_INIT", NumKexGexReply: "KEX_DH_GEX_REPLY"},
	PhasePublickey: {NumUserauthPKOK: "USERAUTH_PK_OK"},
	PhasePassword:  {NumUserauthPasswdChange: "USERAUTH_PASSWD_CHANGEREQ"},
	PhaseKbdint:    {NumUserauthInfoRequest: "USERAUTH_INFO_REQUEST", NumUserauthInfoResponse: "USERAUTH_INFO_RESPONSE"},
}

// Name returns the RFCs' name of message number num, without "SSH_MSG_", or the
// number itself where it has no name.
func Name(phase Phase, num byte) string {
	if n, ok := names[num]; ok {
		return n
	}
	if n, ok := phaseNames[phase][num]; ok {
		return n
	}
	return "message " + strconv.Itoa(int(num))
}

// msgName is Name for a message that is already known by its type.
func msgName(m Msg) string {
	switch m.(type) {
	case *KexShareInit, *KexShareReply:
		return Name(PhaseKexShare, m.Num())
	case *KexGexRequest, *KexGexGroup, *KexGexInit, *KexGexReply:
		return Name(PhaseKexGex, m.Num())
	case *UserauthPKOK:
		return Name(PhasePublickey, m.Num())
	case *UserauthPasswdChange:
		return Name(PhasePassword, m.Num())
	case *UserauthInfoRequest, *UserauthInfoResponse:
		return Name(PhaseKbdint, m.Num())
	}
	return Name(PhaseAny, m.Num())
}

// MsgName returns the RFCs' name of m.
func MsgName(m Msg) string { return msgName(m) }
