package trace

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/adit-ssh/adit/internal/wire"
)

// Describe returns a message's fields in the RFCs' words, on one line. Peer text
// is quoted, long values are cut, and secrets are not there.
func Describe(m wire.Msg) string {
	switch m := wire.Redact(m).(type) {
	case *wire.Disconnect:
		return fmt.Sprintf("reason=%d %s", m.Reason, quote(m.Description))
	case *wire.Ignore:
		return fmt.Sprintf("length=%d", len(m.Data))
	case *wire.Unimplemented:
		return fmt.Sprintf("packet=%d", m.Seq)
	case *wire.Debug:
		return quote(m.Message)
	case *wire.ServiceRequest:
		return m.Service
	case *wire.ServiceAccept:
		return m.Service
	case *wire.ExtInfo:
		var names []string
		for _, e := range m.Extensions {
			names = append(names, quote(e.Name))
		}
		return strings.Join(names, " ")
	case *wire.KexInit:
		return fmt.Sprintf("kex=%s hostkey=%s cipher=%s", firstOf(m.Kex), firstOf(m.HostKey), firstOf(m.CipherClient))
	case *wire.KexShareInit:
		return fmt.Sprintf("share=%d bytes", len(m.Share))
	case *wire.KexShareReply:
		return fmt.Sprintf("hostkey=%d bytes share=%d bytes", len(m.HostKey), len(m.Share))
	case *wire.KexGexRequest:
		return fmt.Sprintf("min=%d n=%d max=%d", m.Min, m.N, m.Max)
	case *wire.UserauthRequest:
		return fmt.Sprintf("user=%s service=%s method=%s%s", quote(m.User), quote(m.Service), quote(m.Method), describeKey(m))
	case *wire.UserauthFailure:
		return fmt.Sprintf("can continue=%s partial=%v", strings.Join(m.Methods, ","), m.Partial)
	case *wire.UserauthBanner:
		return quote(m.Message)
	case *wire.UserauthPKOK:
		return quote(m.Algorithm)
	case *wire.UserauthInfoRequest:
		return fmt.Sprintf("prompts=%d", len(m.Prompts))
	case *wire.UserauthInfoResponse:
		return fmt.Sprintf("answers=%d", len(m.Answers))
	}
	return describeConnection(m)
}

func describeKey(m *wire.UserauthRequest) string {
	if m.Method != wire.MethodPublickey && m.Method != wire.MethodHostbound {
		return ""
	}
	b, err := wire.ParsePublickeyBody(m.Body, m.Method == wire.MethodHostbound)
	if err != nil {
		return " malformed"
	}
	return fmt.Sprintf(" algorithm=%s signature=%v", quote(b.Algorithm), b.HasSignature)
}

func describeConnection(m wire.Msg) string {
	switch m := m.(type) {
	case *wire.GlobalRequest:
		return fmt.Sprintf("%s want reply=%v", quote(m.Type), m.WantReply)
	case *wire.ChannelOpen:
		return fmt.Sprintf("%s sender=%d window=%d max packet=%d%s", quote(m.Type), m.SenderChannel, m.InitialWindow, m.MaxPacket, describeOpen(m))
	case *wire.ChannelOpenConfirmation:
		return fmt.Sprintf("recipient=%d sender=%d window=%d max packet=%d", m.RecipientChannel, m.SenderChannel, m.InitialWindow, m.MaxPacket)
	case *wire.ChannelOpenFailure:
		return fmt.Sprintf("recipient=%d reason=%d %s", m.RecipientChannel, m.Reason, quote(m.Description))
	case *wire.ChannelWindowAdjust:
		return fmt.Sprintf("recipient=%d bytes=%d", m.RecipientChannel, m.Bytes)
	case *wire.ChannelData:
		return fmt.Sprintf("recipient=%d length=%d", m.RecipientChannel, len(m.Data))
	case *wire.ChannelExtendedData:
		return fmt.Sprintf("recipient=%d type=%d length=%d", m.RecipientChannel, m.DataType, len(m.Data))
	case *wire.ChannelEOF:
		return fmt.Sprintf("recipient=%d", m.RecipientChannel)
	case *wire.ChannelClose:
		return fmt.Sprintf("recipient=%d", m.RecipientChannel)
	case *wire.ChannelRequest:
		return fmt.Sprintf("recipient=%d %s want reply=%v", m.RecipientChannel, quote(m.Type), m.WantReply)
	case *wire.ChannelSuccess:
		return fmt.Sprintf("recipient=%d", m.RecipientChannel)
	case *wire.ChannelFailure:
		return fmt.Sprintf("recipient=%d", m.RecipientChannel)
	}
	return ""
}

// describeOpen tells what a direct-tcpip or forwarded-tcpip open is for.
func describeOpen(m *wire.ChannelOpen) string {
	switch m.Type {
	case wire.ChannelDirectTCPIP:
		var d wire.DirectTCPIP
		if wire.ParseBody(m.Data, &d) == nil {
			return fmt.Sprintf(" host to connect=%s port=%d originator=%s", quote(d.Host), d.Port, hostPort(d.OriginatorAddr, d.OriginatorPort))
		}
	case wire.ChannelForwardedTCPIP:
		var d wire.ForwardedTCPIP
		if wire.ParseBody(m.Data, &d) == nil {
			return fmt.Sprintf(" connected address=%s port=%d originator=%s", quote(d.Addr), d.Port, hostPort(d.OriginatorAddr, d.OriginatorPort))
		}
	case wire.ChannelDirectStreamlocal:
		var d wire.DirectStreamlocal
		if wire.ParseBody(m.Data, &d) == nil {
			return " path=" + quote(d.Path)
		}
	default:
		return ""
	}
	return " malformed data"
}

func hostPort(host string, port uint32) string {
	return quote(net.JoinHostPort(host, strconv.FormatUint(uint64(port), 10)))
}

func firstOf(names []string) string {
	if len(names) == 0 {
		return "-"
	}
	return quote(names[0])
}

// maxText is how much of a text is shown, in bytes.
const maxText = 200

// quote leaves plain words alone and makes everything else safe to print.
func quote(s string) string {
	cut := ""
	if len(s) > maxText {
		s, cut = s[:maxText], "…"
	}
	plain := s != ""
	for i := 0; i < len(s) && plain; i++ {
		plain = s[i] > ' ' && s[i] < 0x7f && s[i] != '"' && s[i] != '\\'
	}
	if plain {
		return s + cut
	}
	return strconv.QuoteToASCII(s) + cut
}
