package wire

import "fmt"

// Message numbers of RFC 4252, section 6, and RFC 4256, section 5.
const (
	NumUserauthRequest      = 50
	NumUserauthFailure      = 51
	NumUserauthSuccess      = 52
	NumUserauthBanner       = 53
	NumUserauthPKOK         = 60
	NumUserauthPasswdChange = 60
	NumUserauthInfoRequest  = 60
	NumUserauthInfoResponse = 61
)

// Names of services and authentication methods.
const (
	ServiceUserauth   = "ssh-userauth"
	ServiceConnection = "ssh-connection"

	MethodNone                = "none"
	MethodPublickey           = "publickey"
	MethodHostbound           = "publickey-hostbound-v00@openssh.com"
	MethodPassword            = "password"
	MethodKeyboardInteractive = "keyboard-interactive"
)

// UserauthRequest asks to log in (RFC 4252, section 5). Body holds the
// method's own fields: PublickeyBody, PasswordBody, KbdintBody, or nothing.
type UserauthRequest struct {
	User    string
	Service string
	Method  string
	Body    []byte
}

// Num implements Msg.
func (*UserauthRequest) Num() byte { return NumUserauthRequest }

// Append implements Msg.
func (m *UserauthRequest) Append(b []byte) []byte {
	b = AppendString(append(b, NumUserauthRequest), m.User)
	b = AppendString(b, m.Service)
	b = AppendString(b, m.Method)
	return append(b, m.Body...)
}

func (m *UserauthRequest) parse(p *Parser) {
	m.User, m.Service, m.Method, m.Body = p.String(), p.String(), p.String(), p.Rest()
}

// Redacted implements Redactor: passwords are dropped, and so is the body of a
// method that is not known.
func (m *UserauthRequest) Redacted() Msg {
	r := *m
	switch m.Method {
	case MethodNone, MethodPublickey, MethodHostbound, MethodKeyboardInteractive:
	case MethodPassword:
		r.Body = nil
		if b, err := ParsePasswordBody(m.Body); err == nil {
			r.Body = (&PasswordBody{Change: b.Change}).Append(nil)
		}
	default:
		r.Body = nil
	}
	return &r
}

// PublickeyBody is the body of method publickey (RFC 4252, section 7) and, with
// HostKey, of publickey-hostbound-v00@openssh.com (OpenSSH PROTOCOL, 3.1).
// Without Signature it is a probe.
type PublickeyBody struct {
	HasSignature bool
	Algorithm    string
	Key          []byte
	Hostbound    bool
	HostKey      []byte
	Signature    []byte
}

// Append appends the body. What precedes the signature is what is signed.
func (m *PublickeyBody) Append(b []byte) []byte {
	b = m.AppendUnsigned(b)
	if m.HasSignature {
		b = AppendString(b, m.Signature)
	}
	return b
}

// AppendUnsigned appends the body up to the signature.
func (m *PublickeyBody) AppendUnsigned(b []byte) []byte {
	b = AppendBool(b, m.HasSignature)
	b = AppendString(b, m.Algorithm)
	b = AppendString(b, m.Key)
	if m.Hostbound {
		b = AppendString(b, m.HostKey)
	}
	return b
}

// ParsePublickeyBody parses the body of a publickey request, or of a hostbound
// one.
func ParsePublickeyBody(body []byte, hostbound bool) (*PublickeyBody, error) {
	p := NewParser(body)
	m := &PublickeyBody{Hostbound: hostbound}
	m.HasSignature, m.Algorithm, m.Key = p.Bool(), p.String(), p.Bytes()
	if hostbound {
		m.HostKey = p.Bytes()
	}
	if m.HasSignature {
		m.Signature = p.Bytes()
	}
	return m, p.Done()
}

// PasswordBody is the body of method password (RFC 4252, section 8).
type PasswordBody struct {
	Change   bool
	Password []byte
	New      []byte // set when Change
}

// Append appends the body.
func (m *PasswordBody) Append(b []byte) []byte {
	b = AppendString(AppendBool(b, m.Change), m.Password)
	if m.Change {
		b = AppendString(b, m.New)
	}
	return b
}

// ParsePasswordBody parses the body of a password request.
func ParsePasswordBody(body []byte) (*PasswordBody, error) {
	p := NewParser(body)
	m := &PasswordBody{Change: p.Bool(), Password: p.Bytes()}
	if m.Change {
		m.New = p.Bytes()
	}
	return m, p.Done()
}

// KbdintBody is the body of method keyboard-interactive (RFC 4256, section 3.1).
type KbdintBody struct {
	Language   string
	Submethods string
}

// Append appends the body.
func (m *KbdintBody) Append(b []byte) []byte {
	return AppendString(AppendString(b, m.Language), m.Submethods)
}

// ParseKbdintBody parses the body of a keyboard-interactive request.
func ParseKbdintBody(body []byte) (*KbdintBody, error) {
	p := NewParser(body)
	m := &KbdintBody{Language: p.String(), Submethods: p.String()}
	return m, p.Done()
}

// UserauthFailure refuses a request (RFC 4252, section 5.1).
type UserauthFailure struct {
	Methods []string
	Partial bool
}

// Num implements Msg.
func (*UserauthFailure) Num() byte { return NumUserauthFailure }

// Append implements Msg.
func (m *UserauthFailure) Append(b []byte) []byte {
	return AppendBool(AppendNameList(append(b, NumUserauthFailure), m.Methods), m.Partial)
}

func (m *UserauthFailure) parse(p *Parser) { m.Methods, m.Partial = p.NameList(), p.Bool() }

// UserauthSuccess ends authentication.
type UserauthSuccess struct{}

// Num implements Msg.
func (*UserauthSuccess) Num() byte { return NumUserauthSuccess }

// Append implements Msg.
func (*UserauthSuccess) Append(b []byte) []byte { return append(b, NumUserauthSuccess) }

func (*UserauthSuccess) parse(*Parser) {}

// UserauthBanner is a text for the person (RFC 4252, section 5.4). It comes
// from the peer as it is: clean it before a terminal sees it.
type UserauthBanner struct {
	Message  string
	Language string
}

// Num implements Msg.
func (*UserauthBanner) Num() byte { return NumUserauthBanner }

// Append implements Msg.
func (m *UserauthBanner) Append(b []byte) []byte {
	return AppendString(AppendString(append(b, NumUserauthBanner), m.Message), m.Language)
}

func (m *UserauthBanner) parse(p *Parser) { m.Message, m.Language = p.String(), p.String() }

// UserauthPKOK says that a probed key would be accepted (RFC 4252, section 7).
type UserauthPKOK struct {
	Algorithm string
	Key       []byte
}

// Num implements Msg.
func (*UserauthPKOK) Num() byte { return NumUserauthPKOK }

// Append implements Msg.
func (m *UserauthPKOK) Append(b []byte) []byte {
	return AppendString(AppendString(append(b, NumUserauthPKOK), m.Algorithm), m.Key)
}

func (m *UserauthPKOK) parse(p *Parser) { m.Algorithm, m.Key = p.String(), p.Bytes() }

// UserauthPasswdChange asks for a new password (RFC 4252, section 8).
type UserauthPasswdChange struct {
	Prompt   string
	Language string
}

// Num implements Msg.
func (*UserauthPasswdChange) Num() byte { return NumUserauthPasswdChange }

// Append implements Msg.
func (m *UserauthPasswdChange) Append(b []byte) []byte {
	return AppendString(AppendString(append(b, NumUserauthPasswdChange), m.Prompt), m.Language)
}

func (m *UserauthPasswdChange) parse(p *Parser) { m.Prompt, m.Language = p.String(), p.String() }

// Prompt is one question of UserauthInfoRequest.
type Prompt struct {
	Text string
	Echo bool
}

// MaxPrompts is the greatest number of prompts, and of answers, in one
// keyboard-interactive round.
const MaxPrompts = 100

// UserauthInfoRequest asks questions (RFC 4256, section 3.2).
type UserauthInfoRequest struct {
	Name        string
	Instruction string
	Language    string
	Prompts     []Prompt
}

// Num implements Msg.
func (*UserauthInfoRequest) Num() byte { return NumUserauthInfoRequest }

// Append implements Msg.
func (m *UserauthInfoRequest) Append(b []byte) []byte {
	b = AppendString(append(b, NumUserauthInfoRequest), m.Name)
	b = AppendString(b, m.Instruction)
	b = AppendString(b, m.Language)
	b = AppendUint32(b, uint32(len(m.Prompts)))
	for _, q := range m.Prompts {
		b = AppendBool(AppendString(b, q.Text), q.Echo)
	}
	return b
}

func (m *UserauthInfoRequest) parse(p *Parser) {
	m.Name, m.Instruction, m.Language, m.Prompts = p.String(), p.String(), p.String(), nil
	n := p.Uint32()
	if n > MaxPrompts {
		p.fail(fmt.Errorf("%d prompts: %w (%d)", n, errTooLong, MaxPrompts))
		return
	}
	for range n {
		q := Prompt{Text: p.String(), Echo: p.Bool()}
		if p.Err() != nil {
			return
		}
		m.Prompts = append(m.Prompts, q)
	}
}

// UserauthInfoResponse answers them (RFC 4256, section 3.4).
type UserauthInfoResponse struct{ Answers []string }

// Num implements Msg.
func (*UserauthInfoResponse) Num() byte { return NumUserauthInfoResponse }

// Append implements Msg.
func (m *UserauthInfoResponse) Append(b []byte) []byte {
	b = AppendUint32(append(b, NumUserauthInfoResponse), uint32(len(m.Answers)))
	for _, a := range m.Answers {
		b = AppendString(b, a)
	}
	return b
}

func (m *UserauthInfoResponse) parse(p *Parser) {
	m.Answers = nil
	n := p.Uint32()
	if n > MaxPrompts {
		p.fail(fmt.Errorf("%d answers: %w (%d)", n, errTooLong, MaxPrompts))
		return
	}
	for range n {
		a := p.String()
		if p.Err() != nil {
			return
		}
		m.Answers = append(m.Answers, a)
	}
}

// Redacted implements Redactor: answers are dropped, their number is kept.
func (m *UserauthInfoResponse) Redacted() Msg {
	return &UserauthInfoResponse{Answers: make([]string, len(m.Answers))}
}
