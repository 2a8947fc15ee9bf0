package wire

import "fmt"

// Message numbers of RFC 4253, section 12, RFC 8308 and RFC 4419.
const (
	NumDisconnect     = 1
	NumIgnore         = 2
	NumUnimplemented  = 3
	NumDebug          = 4
	NumServiceRequest = 5
	NumServiceAccept  = 6
	NumExtInfo        = 7
	NumNewCompress    = 8
	NumKexInit        = 20
	NumNewKeys        = 21
	NumKexShareInit   = 30 // KEXDH_INIT, KEX_ECDH_INIT, KEX_HYBRID_INIT
	NumKexShareReply  = 31
	NumKexGexGroup    = 31
	NumKexGexInit     = 32
	NumKexGexReply    = 33
	NumKexGexRequest  = 34
)

// Disconnect reason codes (RFC 4253, section 11.1).
const (
	DisconnectHostNotAllowedToConnect     = 1
	DisconnectProtocolError               = 2
	DisconnectKeyExchangeFailed           = 3
	DisconnectReserved                    = 4
	DisconnectMACError                    = 5
	DisconnectCompressionError            = 6
	DisconnectServiceNotAvailable         = 7
	DisconnectProtocolVersionNotSupported = 8
	DisconnectHostKeyNotVerifiable        = 9
	DisconnectConnectionLost              = 10
	DisconnectByApplication               = 11
	DisconnectTooManyConnections          = 12
	DisconnectAuthCancelledByUser         = 13
	DisconnectNoMoreAuthMethodsAvailable  = 14
	DisconnectIllegalUserName             = 15
)

// Disconnect ends the connection (RFC 4253, section 11.1).
type Disconnect struct {
	Reason      uint32
	Description string
	Language    string
}

// Num implements Msg.
func (*Disconnect) Num() byte { return NumDisconnect }

// Append implements Msg.
func (m *Disconnect) Append(b []byte) []byte {
	b = AppendUint32(append(b, NumDisconnect), m.Reason)
	b = AppendString(b, m.Description)
	return AppendString(b, m.Language)
}

func (m *Disconnect) parse(p *Parser) {
	m.Reason, m.Description, m.Language = p.Uint32(), p.String(), ""
	// Old peers leave the language tag out; nothing is lost by taking that.
	if p.Err() == nil && p.Len() > 0 {
		m.Language = p.String()
	}
}

// Ignore is padding (RFC 4253, section 11.2).
type Ignore struct{ Data []byte }

// Num implements Msg.
func (*Ignore) Num() byte { return NumIgnore }

// Append implements Msg.
func (m *Ignore) Append(b []byte) []byte { return AppendString(append(b, NumIgnore), m.Data) }

func (m *Ignore) parse(p *Parser) {
	m.Data = nil
	// Some peers send IGNORE without its string.
	if p.Len() > 0 {
		m.Data = p.Bytes()
	}
	p.Rest()
}

// Unimplemented answers a message whose number is not known
// (RFC 4253, section 11.4).
type Unimplemented struct{ Seq uint32 }

// Num implements Msg.
func (*Unimplemented) Num() byte { return NumUnimplemented }

// Append implements Msg.
func (m *Unimplemented) Append(b []byte) []byte {
	return AppendUint32(append(b, NumUnimplemented), m.Seq)
}

func (m *Unimplemented) parse(p *Parser) { m.Seq = p.Uint32() }

// Debug carries a text for developers (RFC 4253, section 11.3).
type Debug struct {
	AlwaysDisplay bool
	Message       string
	Language      string
}

// Num implements Msg.
func (*Debug) Num() byte { return NumDebug }

// Append implements Msg.
func (m *Debug) Append(b []byte) []byte {
	b = AppendBool(append(b, NumDebug), m.AlwaysDisplay)
	b = AppendString(b, m.Message)
	return AppendString(b, m.Language)
}

func (m *Debug) parse(p *Parser) {
	m.AlwaysDisplay, m.Message, m.Language = p.Bool(), p.String(), p.String()
}

// ServiceRequest asks for ssh-userauth or ssh-connection (RFC 4253, section 10).
type ServiceRequest struct{ Service string }

// Num implements Msg.
func (*ServiceRequest) Num() byte { return NumServiceRequest }

// Append implements Msg.
func (m *ServiceRequest) Append(b []byte) []byte {
	return AppendString(append(b, NumServiceRequest), m.Service)
}

func (m *ServiceRequest) parse(p *Parser) { m.Service = p.String() }

// ServiceAccept grants a ServiceRequest (RFC 4253, section 10).
type ServiceAccept struct{ Service string }

// Num implements Msg.
func (*ServiceAccept) Num() byte { return NumServiceAccept }

// Append implements Msg.
func (m *ServiceAccept) Append(b []byte) []byte {
	return AppendString(append(b, NumServiceAccept), m.Service)
}

func (m *ServiceAccept) parse(p *Parser) {
	m.Service = ""
	// Some old servers leave the name out.
	if p.Len() > 0 {
		m.Service = p.String()
	}
}

// Extension is one entry of ExtInfo.
type Extension struct {
	Name  string
	Value []byte
}

// MaxExtensions is the greatest number of entries accepted in one ExtInfo.
// OpenSSH accepts 1024.
const MaxExtensions = 1024

// ExtInfo announces extensions (RFC 8308, section 2.3).
type ExtInfo struct{ Extensions []Extension }

// Num implements Msg.
func (*ExtInfo) Num() byte { return NumExtInfo }

// Append implements Msg.
func (m *ExtInfo) Append(b []byte) []byte {
	b = AppendUint32(append(b, NumExtInfo), uint32(len(m.Extensions)))
	for _, e := range m.Extensions {
		b = AppendString(b, e.Name)
		b = AppendString(b, e.Value)
	}
	return b
}

func (m *ExtInfo) parse(p *Parser) {
	m.Extensions = nil
	n := p.Uint32()
	if n > MaxExtensions {
		p.fail(fmt.Errorf("%d extensions: %w (%d)", n, errTooLong, MaxExtensions))
		return
	}
	for range n {
		e := Extension{Name: p.String(), Value: p.Bytes()}
		if p.Err() != nil {
			return
		}
		m.Extensions = append(m.Extensions, e)
	}
}

// NewCompress switches the sender's direction to the compression agreed by the
// delay-compression extension (RFC 8308, section 3.2).
type NewCompress struct{}

// Num implements Msg.
func (*NewCompress) Num() byte { return NumNewCompress }

// Append implements Msg.
func (*NewCompress) Append(b []byte) []byte { return append(b, NumNewCompress) }

func (*NewCompress) parse(*Parser) {}

// KexInit opens a key exchange (RFC 4253, section 7.1).
type KexInit struct {
	Cookie            [16]byte
	Kex               []string
	HostKey           []string
	CipherClient      []string // encryption, client to server
	CipherServer      []string // encryption, server to client
	MACClient         []string
	MACServer         []string
	CompressionClient []string
	CompressionServer []string
	LanguageClient    []string
	LanguageServer    []string
	FirstKexFollows   bool
	Reserved          uint32
}

// Num implements Msg.
func (*KexInit) Num() byte { return NumKexInit }

func (m *KexInit) lists() [10]*[]string {
	return [10]*[]string{&m.Kex, &m.HostKey, &m.CipherClient, &m.CipherServer, &m.MACClient, &m.MACServer,
		&m.CompressionClient, &m.CompressionServer, &m.LanguageClient, &m.LanguageServer}
}

// Append implements Msg.
func (m *KexInit) Append(b []byte) []byte {
	b = append(append(b, NumKexInit), m.Cookie[:]...)
	for _, l := range m.lists() {
		b = AppendNameList(b, *l)
	}
	return AppendUint32(AppendBool(b, m.FirstKexFollows), m.Reserved)
}

func (m *KexInit) parse(p *Parser) {
	copy(m.Cookie[:], p.Fixed(16))
	for _, l := range m.lists() {
		*l = p.NameList()
	}
	m.FirstKexFollows, m.Reserved = p.Bool(), p.Uint32()
}

// NewKeys switches the sender's direction to the new keys
// (RFC 4253, section 7.3).
type NewKeys struct{}

// Num implements Msg.
func (*NewKeys) Num() byte { return NumNewKeys }

// Append implements Msg.
func (*NewKeys) Append(b []byte) []byte { return append(b, NumNewKeys) }

func (*NewKeys) parse(*Parser) {}

// KexShareInit carries the client's public value: KEXDH_INIT (RFC 4253,
// section 8), KEX_ECDH_INIT (RFC 5656) and the hybrids' INIT are alike on the
// wire, since mpint and string are framed alike. Share is the body without its
// length.
type KexShareInit struct{ Share []byte }

// Num implements Msg.
func (*KexShareInit) Num() byte { return NumKexShareInit }

// Append implements Msg.
func (m *KexShareInit) Append(b []byte) []byte {
	return AppendString(append(b, NumKexShareInit), m.Share)
}

func (m *KexShareInit) parse(p *Parser) { m.Share = p.Bytes() }

// KexShareReply answers KexShareInit.
type KexShareReply struct {
	HostKey   []byte
	Share     []byte
	Signature []byte
}

// Num implements Msg.
func (*KexShareReply) Num() byte { return NumKexShareReply }

// Append implements Msg.
func (m *KexShareReply) Append(b []byte) []byte {
	b = AppendString(append(b, NumKexShareReply), m.HostKey)
	b = AppendString(b, m.Share)
	return AppendString(b, m.Signature)
}

func (m *KexShareReply) parse(p *Parser) {
	m.HostKey, m.Share, m.Signature = p.Bytes(), p.Bytes(), p.Bytes()
}

// KexGexRequest asks for a group (RFC 4419, section 3). Sizes are in bits.
type KexGexRequest struct{ Min, N, Max uint32 }

// Num implements Msg.
func (*KexGexRequest) Num() byte { return NumKexGexRequest }

// Append implements Msg.
func (m *KexGexRequest) Append(b []byte) []byte {
	b = AppendUint32(append(b, NumKexGexRequest), m.Min)
	return AppendUint32(AppendUint32(b, m.N), m.Max)
}

func (m *KexGexRequest) parse(p *Parser) { m.Min, m.N, m.Max = p.Uint32(), p.Uint32(), p.Uint32() }

// KexGexGroup is the server's safe prime and generator, as mpint bodies.
type KexGexGroup struct{ P, G []byte }

// Num implements Msg.
func (*KexGexGroup) Num() byte { return NumKexGexGroup }

// Append implements Msg.
func (m *KexGexGroup) Append(b []byte) []byte {
	return AppendString(AppendString(append(b, NumKexGexGroup), m.P), m.G)
}

func (m *KexGexGroup) parse(p *Parser) { m.P, m.G = p.Mpint(), p.Mpint() }

// KexGexInit is the client's public value in a group exchange.
type KexGexInit struct{ Share []byte }

// Num implements Msg.
func (*KexGexInit) Num() byte { return NumKexGexInit }

// Append implements Msg.
func (m *KexGexInit) Append(b []byte) []byte { return AppendString(append(b, NumKexGexInit), m.Share) }

func (m *KexGexInit) parse(p *Parser) { m.Share = p.Mpint() }

// KexGexReply ends a group exchange.
type KexGexReply struct {
	HostKey   []byte
	Share     []byte
	Signature []byte
}

// Num implements Msg.
func (*KexGexReply) Num() byte { return NumKexGexReply }

// Append implements Msg.
func (m *KexGexReply) Append(b []byte) []byte {
	b = AppendString(append(b, NumKexGexReply), m.HostKey)
	b = AppendString(b, m.Share)
	return AppendString(b, m.Signature)
}

func (m *KexGexReply) parse(p *Parser) {
	m.HostKey, m.Share, m.Signature = p.Bytes(), p.Mpint(), p.Bytes()
}
