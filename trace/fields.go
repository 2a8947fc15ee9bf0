package trace

import (
	"encoding/base64"
	"encoding/hex"
	"slices"

	"github.com/adit-ssh/adit/internal/wire"
)

// Field is one field of a message or an event. Its Name is the RFC's, with
// underscores between the words: sender_channel, initial_window_size. The Value
// is a string, an int64, a bool or a []string. Texts are as the peer sent them:
// whoever shows them to a person cleans them (Text does).
type Field struct {
	Name  string
	Value any
}

// fieldData is the name of the field with channel data.
const fieldData = "data_base64"

// fieldTook is the name of the field with a duration, in microseconds.
const fieldTook = "took_us"

// fields is a list in the making.
type fields []Field

func (f *fields) text(name, v string) { *f = append(*f, Field{name, v}) }
func (f *fields) num(name string, v uint32) {
	*f = append(*f, Field{name, int64(v)})
}
func (f *fields) size(name string, n int)      { *f = append(*f, Field{name, int64(n)}) }
func (f *fields) flag(name string, v bool)     { *f = append(*f, Field{name, v}) }
func (f *fields) list(name string, v []string) { *f = append(*f, Field{name, slices.Clone(v)}) }
func (f *fields) optional(name, v string)      { f.add(v != "", Field{name, v}) }
func (f *fields) add(when bool, more ...Field) {
	if when {
		*f = append(*f, more...)
	}
}

// MessageFields returns what a message says, without its secrets: in the order
// of the RFC, keys and signatures as their lengths. Channel data is its length;
// with data, the bytes follow in base64.
func MessageFields(m wire.Msg, data bool) []Field {
	var f fields
	switch m := wire.Redact(m).(type) {
	case *wire.Disconnect:
		f.num("reason_code", m.Reason)
		f.text("description", m.Description)
	case *wire.Ignore:
		f.size("length", len(m.Data))
	case *wire.Unimplemented:
		f.num("packet_sequence_number", m.Seq)
	case *wire.Debug:
		f.flag("always_display", m.AlwaysDisplay)
		f.text("message", m.Message)
	case *wire.ServiceRequest:
		f.text("service_name", m.Service)
	case *wire.ServiceAccept:
		f.text("service_name", m.Service)
	case *wire.ExtInfo:
		for _, e := range m.Extensions {
			f.text(e.Name, string(e.Value))
		}
	case *wire.KexInit:
		f.kexInit(m)
	case *wire.KexShareInit:
		f.size("share_length", len(m.Share))
	case *wire.KexShareReply:
		f.kexReply(m.HostKey, m.Share, m.Signature)
	case *wire.KexGexRequest:
		f.num("min", m.Min)
		f.num("n", m.N)
		f.num("max", m.Max)
	case *wire.KexGexGroup:
		f.size("p_length", len(m.P))
		f.size("g_length", len(m.G))
	case *wire.KexGexInit:
		f.size("share_length", len(m.Share))
	case *wire.KexGexReply:
		f.kexReply(m.HostKey, m.Share, m.Signature)
	case *wire.Ping:
		f.size("length", len(m.Data))
	case *wire.Pong:
		f.size("length", len(m.Data))
	default:
		f.userauth(m)
		f.connection(m, data)
	}
	return f
}

func (f *fields) kexInit(m *wire.KexInit) {
	f.text("cookie", hex.EncodeToString(m.Cookie[:]))
	f.list("kex_algorithms", m.Kex)
	f.list("server_host_key_algorithms", m.HostKey)
	f.list("encryption_algorithms_client_to_server", m.CipherClient)
	f.list("encryption_algorithms_server_to_client", m.CipherServer)
	f.list("mac_algorithms_client_to_server", m.MACClient)
	f.list("mac_algorithms_server_to_client", m.MACServer)
	f.list("compression_algorithms_client_to_server", m.CompressionClient)
	f.list("compression_algorithms_server_to_client", m.CompressionServer)
	f.flag("first_kex_packet_follows", m.FirstKexFollows)
}

func (f *fields) kexReply(hostKey, share, signature []byte) {
	f.text("host_key_type", keyType(hostKey))
	f.size("share_length", len(share))
	f.size("signature_length", len(signature))
}

// keyType is the name that a public key begins with.
func keyType(key []byte) string {
	p := wire.NewParser(key)
	name := p.String()
	if p.Err() != nil {
		return ""
	}
	return name
}

// userauth adds the fields of RFC 4252's and RFC 4256's messages.
func (f *fields) userauth(m wire.Msg) {
	switch m := m.(type) {
	case *wire.UserauthRequest:
		f.text("user_name", m.User)
		f.text("service_name", m.Service)
		f.text("method_name", m.Method)
		f.method(m)
	case *wire.UserauthFailure:
		f.list("authentications_that_can_continue", m.Methods)
		f.flag("partial_success", m.Partial)
	case *wire.UserauthBanner:
		f.text("message", m.Message)
	case *wire.UserauthPKOK:
		f.text("public_key_algorithm_name", m.Algorithm)
	case *wire.UserauthPasswdChange:
		f.text("prompt", m.Prompt)
	case *wire.UserauthInfoRequest:
		f.text("name", m.Name)
		f.text("instruction", m.Instruction)
		prompts := []string{}
		for _, p := range m.Prompts {
			prompts = append(prompts, p.Text)
		}
		f.list("prompts", prompts)
	case *wire.UserauthInfoResponse:
		f.size("num_responses", len(m.Answers))
	}
}

// method adds what a login request says besides its secrets.
func (f *fields) method(m *wire.UserauthRequest) {
	switch m.Method {
	case wire.MethodPublickey, wire.MethodHostbound:
		b, err := wire.ParsePublickeyBody(m.Body, m.Method == wire.MethodHostbound)
		if err != nil {
			f.flag("malformed", true)
			return
		}
		f.text("public_key_algorithm_name", b.Algorithm)
		f.flag("signature", b.HasSignature)
	case wire.MethodPassword:
		b, err := wire.ParsePasswordBody(m.Body)
		f.flag("change", err == nil && b.Change)
	case wire.MethodKeyboardInteractive:
		if b, err := wire.ParseKbdintBody(m.Body); err == nil {
			f.text("submethods", b.Submethods)
		}
	}
}

// connection adds the fields of RFC 4254's messages.
func (f *fields) connection(m wire.Msg, data bool) {
	switch m := m.(type) {
	case *wire.GlobalRequest:
		f.text("request_name", m.Type)
		f.flag("want_reply", m.WantReply)
		f.body(wire.GlobalBody(m.Type), m.Data)
	case *wire.RequestSuccess:
		f.size("length", len(m.Data))
	case *wire.ChannelOpen:
		f.text("channel_type", m.Type)
		f.num("sender_channel", m.SenderChannel)
		f.num("initial_window_size", m.InitialWindow)
		f.num("maximum_packet_size", m.MaxPacket)
		f.body(wire.OpenBody(m.Type), m.Data)
	case *wire.ChannelOpenConfirmation:
		f.num("recipient_channel", m.RecipientChannel)
		f.num("sender_channel", m.SenderChannel)
		f.num("initial_window_size", m.InitialWindow)
		f.num("maximum_packet_size", m.MaxPacket)
	case *wire.ChannelOpenFailure:
		f.num("recipient_channel", m.RecipientChannel)
		f.num("reason_code", m.Reason)
		f.text("description", m.Description)
	case *wire.ChannelWindowAdjust:
		f.num("recipient_channel", m.RecipientChannel)
		f.num("bytes_to_add", m.Bytes)
	case *wire.ChannelData:
		f.num("recipient_channel", m.RecipientChannel)
		f.data(m.Data, data)
	case *wire.ChannelExtendedData:
		f.num("recipient_channel", m.RecipientChannel)
		f.num("data_type_code", m.DataType)
		f.data(m.Data, data)
	case *wire.ChannelRequest:
		f.num("recipient_channel", m.RecipientChannel)
		f.text("request_type", m.Type)
		f.flag("want_reply", m.WantReply)
		f.body(wire.RequestBody(m.Type), m.Data)
	default:
		f.onlyRecipient(m)
	}
}

// data adds what a channel's message carries: its length, and the bytes if they
// are wanted.
func (f *fields) data(b []byte, whole bool) {
	f.size("data_length", len(b))
	if whole {
		f.base64(b)
	}
}

func (f *fields) base64(b []byte) { f.text(fieldData, base64.StdEncoding.EncodeToString(b)) }

func (f *fields) onlyRecipient(m wire.Msg) {
	switch m := m.(type) {
	case *wire.ChannelEOF:
		f.num("recipient_channel", m.RecipientChannel)
	case *wire.ChannelClose:
		f.num("recipient_channel", m.RecipientChannel)
	case *wire.ChannelSuccess:
		f.num("recipient_channel", m.RecipientChannel)
	case *wire.ChannelFailure:
		f.num("recipient_channel", m.RecipientChannel)
	}
}

// body adds the fields of an open's or a request's own data. body is nil when
// the type has none that we know.
func (f *fields) body(body wire.Body, data []byte) {
	if body == nil {
		f.add(len(data) > 0, Field{"data_length", int64(len(data))})
		return
	}
	if wire.ParseBody(data, body) != nil {
		f.flag("malformed", true)
		return
	}
	switch b := body.(type) {
	case *wire.DirectTCPIP:
		f.text("host_to_connect", b.Host)
		f.num("port_to_connect", b.Port)
		f.originator(b.OriginatorAddr, b.OriginatorPort)
	case *wire.ForwardedTCPIP:
		f.text("address_that_was_connected", b.Addr)
		f.num("port_that_was_connected", b.Port)
		f.originator(b.OriginatorAddr, b.OriginatorPort)
	case *wire.DirectStreamlocal:
		f.text("socket_path", b.Path)
	case *wire.ForwardedStreamlocal:
		f.text("socket_path", b.Path)
	case *wire.StreamlocalForward:
		f.text("socket_path", b.Path)
	case *wire.X11:
		f.originator(b.OriginatorAddr, b.OriginatorPort)
	case *wire.TCPIPForward:
		f.text("address_to_bind", b.Addr)
		f.num("port_number_to_bind", b.Port)
	case *wire.HostKeys:
		types := []string{}
		for _, k := range b.Keys {
			types = append(types, keyType(k))
		}
		f.list("host_keys", types)
	default:
		f.request(body)
	}
}

func (f *fields) originator(addr string, port uint32) {
	f.text("originator_ip_address", addr)
	f.num("originator_port", port)
}

// request adds the data of a channel request. The value of an environment
// variable and the X11 cookie are not there: wire.Redact took them.
func (f *fields) request(body wire.Body) {
	switch b := body.(type) {
	case *wire.PtyReq:
		f.text("term", b.Term)
		f.num("columns", b.Columns)
		f.num("rows", b.Rows)
	case *wire.WindowChange:
		f.num("columns", b.Columns)
		f.num("rows", b.Rows)
	case *wire.X11Req:
		f.flag("single_connection", b.SingleConnection)
		f.text("x11_authentication_protocol", b.Protocol)
		f.num("x11_screen_number", b.Screen)
	case *wire.XonXoff:
		f.flag("client_can_do", b.ClientCanDo)
	case *wire.Env:
		f.text("variable_name", b.Name)
	case *wire.Text:
		f.text("value", b.Value)
	case *wire.ExitStatus:
		f.num("exit_status", b.Status)
	case *wire.ExitSignal:
		f.text("signal_name", b.Signal)
		f.flag("core_dumped", b.CoreDumped)
		f.text("error_message", b.Message)
	}
}
