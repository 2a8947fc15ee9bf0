package wire

// Message numbers of RFC 4254, section 9.
const (
	NumGlobalRequest           = 80
	NumRequestSuccess          = 81
	NumRequestFailure          = 82
	NumChannelOpen             = 90
	NumChannelOpenConfirmation = 91
	NumChannelOpenFailure      = 92
	NumChannelWindowAdjust     = 93
	NumChannelData             = 94
	NumChannelExtendedData     = 95
	NumChannelEOF              = 96
	NumChannelClose            = 97
	NumChannelRequest          = 98
	NumChannelSuccess          = 99
	NumChannelFailure          = 100
)

// Reasons of ChannelOpenFailure (RFC 4254, section 5.1).
const (
	OpenAdministrativelyProhibited = 1
	OpenConnectFailed              = 2
	OpenUnknownChannelType         = 3
	OpenResourceShortage           = 4
)

// ExtendedDataStderr is the only data type of ChannelExtendedData that
// RFC 4254, section 5.2, defines.
const ExtendedDataStderr = 1

// GlobalRequest asks something of the connection (RFC 4254, section 4).
type GlobalRequest struct {
	Type      string
	WantReply bool
	Data      []byte
}

// Num implements Msg.
func (*GlobalRequest) Num() byte { return NumGlobalRequest }

// Append implements Msg.
func (m *GlobalRequest) Append(b []byte) []byte {
	b = AppendBool(AppendString(append(b, NumGlobalRequest), m.Type), m.WantReply)
	return append(b, m.Data...)
}

func (m *GlobalRequest) parse(p *Parser) {
	m.Type, m.WantReply, m.Data = p.String(), p.Bool(), p.Rest()
}

// RequestSuccess grants a GlobalRequest.
type RequestSuccess struct{ Data []byte }

// Num implements Msg.
func (*RequestSuccess) Num() byte { return NumRequestSuccess }

// Append implements Msg.
func (m *RequestSuccess) Append(b []byte) []byte {
	return append(append(b, NumRequestSuccess), m.Data...)
}

func (m *RequestSuccess) parse(p *Parser) { m.Data = p.Rest() }

// RequestFailure refuses a GlobalRequest.
type RequestFailure struct{}

// Num implements Msg.
func (*RequestFailure) Num() byte { return NumRequestFailure }

// Append implements Msg.
func (*RequestFailure) Append(b []byte) []byte { return append(b, NumRequestFailure) }

func (*RequestFailure) parse(*Parser) {}

// ChannelOpen opens a channel (RFC 4254, section 5.1). Data holds the type's
// own fields, such as DirectTCPIP. Window and packet sizes are in bytes.
type ChannelOpen struct {
	Type          string
	SenderChannel uint32
	InitialWindow uint32
	MaxPacket     uint32
	Data          []byte
}

// Num implements Msg.
func (*ChannelOpen) Num() byte { return NumChannelOpen }

// Append implements Msg.
func (m *ChannelOpen) Append(b []byte) []byte {
	b = AppendString(append(b, NumChannelOpen), m.Type)
	b = AppendUint32(b, m.SenderChannel)
	b = AppendUint32(b, m.InitialWindow)
	b = AppendUint32(b, m.MaxPacket)
	return append(b, m.Data...)
}

func (m *ChannelOpen) parse(p *Parser) {
	m.Type, m.SenderChannel = p.String(), p.Uint32()
	m.InitialWindow, m.MaxPacket, m.Data = p.Uint32(), p.Uint32(), p.Rest()
}

// ChannelOpenConfirmation accepts a ChannelOpen.
type ChannelOpenConfirmation struct {
	RecipientChannel uint32
	SenderChannel    uint32
	InitialWindow    uint32
	MaxPacket        uint32
	Data             []byte
}

// Num implements Msg.
func (*ChannelOpenConfirmation) Num() byte { return NumChannelOpenConfirmation }

// Append implements Msg.
func (m *ChannelOpenConfirmation) Append(b []byte) []byte {
	b = AppendUint32(append(b, NumChannelOpenConfirmation), m.RecipientChannel)
	b = AppendUint32(b, m.SenderChannel)
	b = AppendUint32(b, m.InitialWindow)
	b = AppendUint32(b, m.MaxPacket)
	return append(b, m.Data...)
}

func (m *ChannelOpenConfirmation) parse(p *Parser) {
	m.RecipientChannel, m.SenderChannel = p.Uint32(), p.Uint32()
	m.InitialWindow, m.MaxPacket, m.Data = p.Uint32(), p.Uint32(), p.Rest()
}

// ChannelOpenFailure refuses a ChannelOpen.
type ChannelOpenFailure struct {
	RecipientChannel uint32
	Reason           uint32
	Description      string
	Language         string
}

// Num implements Msg.
func (*ChannelOpenFailure) Num() byte { return NumChannelOpenFailure }

// Append implements Msg.
func (m *ChannelOpenFailure) Append(b []byte) []byte {
	b = AppendUint32(append(b, NumChannelOpenFailure), m.RecipientChannel)
	b = AppendUint32(b, m.Reason)
	return AppendString(AppendString(b, m.Description), m.Language)
}

func (m *ChannelOpenFailure) parse(p *Parser) {
	m.RecipientChannel, m.Reason = p.Uint32(), p.Uint32()
	m.Description, m.Language = "", ""
	// Some servers leave both texts out.
	if p.Err() == nil && p.Len() > 0 {
		m.Description = p.String()
	}
	if p.Err() == nil && p.Len() > 0 {
		m.Language = p.String()
	}
}

// ChannelWindowAdjust lets the peer send Bytes more (RFC 4254, section 5.2).
type ChannelWindowAdjust struct {
	RecipientChannel uint32
	Bytes            uint32
}

// Num implements Msg.
func (*ChannelWindowAdjust) Num() byte { return NumChannelWindowAdjust }

// Append implements Msg.
func (m *ChannelWindowAdjust) Append(b []byte) []byte {
	return AppendUint32(AppendUint32(append(b, NumChannelWindowAdjust), m.RecipientChannel), m.Bytes)
}

func (m *ChannelWindowAdjust) parse(p *Parser) { m.RecipientChannel, m.Bytes = p.Uint32(), p.Uint32() }

// ChannelData carries data (RFC 4254, section 5.2).
type ChannelData struct {
	RecipientChannel uint32
	Data             []byte
}

// Num implements Msg.
func (*ChannelData) Num() byte { return NumChannelData }

// Append implements Msg.
func (m *ChannelData) Append(b []byte) []byte {
	return AppendString(AppendUint32(append(b, NumChannelData), m.RecipientChannel), m.Data)
}

func (m *ChannelData) parse(p *Parser) { m.RecipientChannel, m.Data = p.Uint32(), p.Bytes() }

// ChannelExtendedData carries data of another kind, such as stderr.
type ChannelExtendedData struct {
	RecipientChannel uint32
	DataType         uint32
	Data             []byte
}

// Num implements Msg.
func (*ChannelExtendedData) Num() byte { return NumChannelExtendedData }

// Append implements Msg.
func (m *ChannelExtendedData) Append(b []byte) []byte {
	b = AppendUint32(append(b, NumChannelExtendedData), m.RecipientChannel)
	return AppendString(AppendUint32(b, m.DataType), m.Data)
}

func (m *ChannelExtendedData) parse(p *Parser) {
	m.RecipientChannel, m.DataType, m.Data = p.Uint32(), p.Uint32(), p.Bytes()
}

// ChannelEOF says that the sender has no more data (RFC 4254, section 5.3).
type ChannelEOF struct{ RecipientChannel uint32 }

// Num implements Msg.
func (*ChannelEOF) Num() byte { return NumChannelEOF }

// Append implements Msg.
func (m *ChannelEOF) Append(b []byte) []byte {
	return AppendUint32(append(b, NumChannelEOF), m.RecipientChannel)
}

func (m *ChannelEOF) parse(p *Parser) { m.RecipientChannel = p.Uint32() }

// ChannelClose ends a channel (RFC 4254, section 5.3).
type ChannelClose struct{ RecipientChannel uint32 }

// Num implements Msg.
func (*ChannelClose) Num() byte { return NumChannelClose }

// Append implements Msg.
func (m *ChannelClose) Append(b []byte) []byte {
	return AppendUint32(append(b, NumChannelClose), m.RecipientChannel)
}

func (m *ChannelClose) parse(p *Parser) { m.RecipientChannel = p.Uint32() }

// ChannelRequest asks something of a channel (RFC 4254, section 5.4).
type ChannelRequest struct {
	RecipientChannel uint32
	Type             string
	WantReply        bool
	Data             []byte
}

// Num implements Msg.
func (*ChannelRequest) Num() byte { return NumChannelRequest }

// Append implements Msg.
func (m *ChannelRequest) Append(b []byte) []byte {
	b = AppendUint32(append(b, NumChannelRequest), m.RecipientChannel)
	b = AppendBool(AppendString(b, m.Type), m.WantReply)
	return append(b, m.Data...)
}

func (m *ChannelRequest) parse(p *Parser) {
	m.RecipientChannel, m.Type, m.WantReply, m.Data = p.Uint32(), p.String(), p.Bool(), p.Rest()
}

// Redacted implements Redactor: values of environment variables and X11's
// authentication cookie are dropped, and so is the data of a request that is
// not known.
func (m *ChannelRequest) Redacted() Msg {
	r := *m
	r.Data = nil
	body := RequestBody(m.Type)
	if body == nil || ParseBody(m.Data, body) != nil {
		return &r
	}
	switch body := body.(type) {
	case *Env:
		body.Value = ""
	case *X11Req:
		body.Cookie = ""
	}
	r.Data = body.Append(nil)
	return &r
}

// ChannelSuccess grants a ChannelRequest.
type ChannelSuccess struct{ RecipientChannel uint32 }

// Num implements Msg.
func (*ChannelSuccess) Num() byte { return NumChannelSuccess }

// Append implements Msg.
func (m *ChannelSuccess) Append(b []byte) []byte {
	return AppendUint32(append(b, NumChannelSuccess), m.RecipientChannel)
}

func (m *ChannelSuccess) parse(p *Parser) { m.RecipientChannel = p.Uint32() }

// ChannelFailure refuses a ChannelRequest.
type ChannelFailure struct{ RecipientChannel uint32 }

// Num implements Msg.
func (*ChannelFailure) Num() byte { return NumChannelFailure }

// Append implements Msg.
func (m *ChannelFailure) Append(b []byte) []byte {
	return AppendUint32(append(b, NumChannelFailure), m.RecipientChannel)
}

func (m *ChannelFailure) parse(p *Parser) { m.RecipientChannel = p.Uint32() }
