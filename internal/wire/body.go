package wire

// Channel types and the data of their ChannelOpen.
const (
	ChannelSession              = "session"
	ChannelDirectTCPIP          = "direct-tcpip"
	ChannelForwardedTCPIP       = "forwarded-tcpip"
	ChannelDirectStreamlocal    = "direct-streamlocal@openssh.com"
	ChannelForwardedStreamlocal = "forwarded-streamlocal@openssh.com"
	ChannelAuthAgentOpenSSH     = "auth-agent@openssh.com"
	ChannelAgentConnect         = "agent-connect"
)

// Names of global requests.
const (
	GlobalTCPIPForward             = "tcpip-forward"
	GlobalCancelTCPIPForward       = "cancel-tcpip-forward"
	GlobalStreamlocalForward       = "streamlocal-forward@openssh.com"
	GlobalCancelStreamlocalForward = "cancel-streamlocal-forward@openssh.com"
	GlobalNoMoreSessions           = "no-more-sessions@openssh.com"
	GlobalHostKeys                 = "hostkeys-00@openssh.com"
	GlobalHostKeysProve            = "hostkeys-prove-00@openssh.com"
	GlobalKeepalive                = "keepalive@openssh.com"
)

// Names of channel requests.
const (
	RequestPty         = "pty-req"
	RequestEnv         = "env"
	RequestShell       = "shell"
	RequestExec        = "exec"
	RequestSubsystem   = "subsystem"
	RequestWindow      = "window-change"
	RequestXonXoff     = "xon-xoff"
	RequestSignal      = "signal"
	RequestExitStatus  = "exit-status"
	RequestExitSignal  = "exit-signal"
	RequestEOW         = "eow@openssh.com"
	RequestAgentFwd    = "auth-agent-req@openssh.com"
	RequestKeepalive   = "keepalive@openssh.com"
	RequestAgentFwdRFC = "agent-req"
)

// Names of extensions in ExtInfo (RFC 8308; OpenSSH PROTOCOL, section 1).
const (
	ExtServerSigAlgs = "server-sig-algs"
	ExtHostbound     = "publickey-hostbound@openssh.com"
	ExtPing          = "ping@openssh.com"
	ExtAgentForward  = "agent-forward"
)

// Body is the data of an open or of a request: no number of its own, appended
// behind the message's fixed fields.
type Body interface {
	Append(b []byte) []byte
	parse(p *Parser)
}

// ParseBody parses data, all of it, into body.
func ParseBody(data []byte, body Body) error {
	p := NewParser(data)
	body.parse(&p)
	return p.Done()
}

// DirectTCPIP is the data of a direct-tcpip open (RFC 4254, section 7.2).
type DirectTCPIP struct {
	Host           string
	Port           uint32
	OriginatorAddr string
	OriginatorPort uint32
}

// Append implements Body.
func (d *DirectTCPIP) Append(b []byte) []byte {
	b = AppendUint32(AppendString(b, d.Host), d.Port)
	return AppendUint32(AppendString(b, d.OriginatorAddr), d.OriginatorPort)
}

func (d *DirectTCPIP) parse(p *Parser) {
	d.Host, d.Port, d.OriginatorAddr, d.OriginatorPort = p.String(), p.Uint32(), p.String(), p.Uint32()
}

// ForwardedTCPIP is the data of a forwarded-tcpip open (RFC 4254, section 7.2).
type ForwardedTCPIP struct {
	Addr           string // the address that was asked to be forwarded
	Port           uint32
	OriginatorAddr string
	OriginatorPort uint32
}

// Append implements Body.
func (d *ForwardedTCPIP) Append(b []byte) []byte {
	b = AppendUint32(AppendString(b, d.Addr), d.Port)
	return AppendUint32(AppendString(b, d.OriginatorAddr), d.OriginatorPort)
}

func (d *ForwardedTCPIP) parse(p *Parser) {
	d.Addr, d.Port, d.OriginatorAddr, d.OriginatorPort = p.String(), p.Uint32(), p.String(), p.Uint32()
}

// DirectStreamlocal is the data of a direct-streamlocal open
// (OpenSSH PROTOCOL, section 2.4).
type DirectStreamlocal struct{ Path string }

// Append implements Body.
func (d *DirectStreamlocal) Append(b []byte) []byte {
	return AppendUint32(AppendString(AppendString(b, d.Path), ""), 0)
}

func (d *DirectStreamlocal) parse(p *Parser) { d.Path, _, _ = p.String(), p.Bytes(), p.Uint32() }

// ForwardedStreamlocal is the data of a forwarded-streamlocal open.
type ForwardedStreamlocal struct{ Path string }

// Append implements Body.
func (d *ForwardedStreamlocal) Append(b []byte) []byte {
	return AppendString(AppendString(b, d.Path), "")
}

func (d *ForwardedStreamlocal) parse(p *Parser) { d.Path, _ = p.String(), p.Bytes() }

// TCPIPForward is the data of tcpip-forward and cancel-tcpip-forward
// (RFC 4254, section 7.1).
type TCPIPForward struct {
	Addr string
	Port uint32
}

// Append implements Body.
func (d *TCPIPForward) Append(b []byte) []byte { return AppendUint32(AppendString(b, d.Addr), d.Port) }

func (d *TCPIPForward) parse(p *Parser) { d.Addr, d.Port = p.String(), p.Uint32() }

// TCPIPForwardReply is the data of the success of a tcpip-forward for port 0.
type TCPIPForwardReply struct{ Port uint32 }

// Append implements Body.
func (d *TCPIPForwardReply) Append(b []byte) []byte { return AppendUint32(b, d.Port) }

func (d *TCPIPForwardReply) parse(p *Parser) { d.Port = p.Uint32() }

// StreamlocalForward is the data of streamlocal-forward and its cancel.
type StreamlocalForward struct{ Path string }

// Append implements Body.
func (d *StreamlocalForward) Append(b []byte) []byte { return AppendString(b, d.Path) }

func (d *StreamlocalForward) parse(p *Parser) { d.Path = p.String() }

// HostKeys is the data of hostkeys-00 and hostkeys-prove-00, and of the success
// of the latter, where the entries are signatures (OpenSSH PROTOCOL, 2.5).
type HostKeys struct{ Keys [][]byte }

// Append implements Body.
func (d *HostKeys) Append(b []byte) []byte {
	for _, k := range d.Keys {
		b = AppendString(b, k)
	}
	return b
}

func (d *HostKeys) parse(p *Parser) {
	for p.Err() == nil && p.Len() > 0 {
		d.Keys = append(d.Keys, p.Bytes())
	}
}

// PtyReq is the data of pty-req (RFC 4254, section 6.2).
type PtyReq struct {
	Term                         string
	Columns, Rows, Width, Height uint32
	Modes                        []byte
}

// Append implements Body.
func (d *PtyReq) Append(b []byte) []byte {
	b = AppendString(b, d.Term)
	for _, v := range [...]uint32{d.Columns, d.Rows, d.Width, d.Height} {
		b = AppendUint32(b, v)
	}
	return AppendString(b, d.Modes)
}

func (d *PtyReq) parse(p *Parser) {
	d.Term, d.Columns, d.Rows = p.String(), p.Uint32(), p.Uint32()
	d.Width, d.Height, d.Modes = p.Uint32(), p.Uint32(), p.Bytes()
}

// WindowChange is the data of window-change (RFC 4254, section 6.7).
type WindowChange struct{ Columns, Rows, Width, Height uint32 }

// Append implements Body.
func (d *WindowChange) Append(b []byte) []byte {
	for _, v := range [...]uint32{d.Columns, d.Rows, d.Width, d.Height} {
		b = AppendUint32(b, v)
	}
	return b
}

func (d *WindowChange) parse(p *Parser) {
	d.Columns, d.Rows, d.Width, d.Height = p.Uint32(), p.Uint32(), p.Uint32(), p.Uint32()
}

// Env is the data of env (RFC 4254, section 6.4).
type Env struct{ Name, Value string }

// Append implements Body.
func (d *Env) Append(b []byte) []byte { return AppendString(AppendString(b, d.Name), d.Value) }

func (d *Env) parse(p *Parser) { d.Name, d.Value = p.String(), p.String() }

// Text is the data of a request with one string: exec's command, subsystem's
// name, signal's name (RFC 4254, sections 6.5 and 6.9).
type Text struct{ Value string }

// Append implements Body.
func (d *Text) Append(b []byte) []byte { return AppendString(b, d.Value) }

func (d *Text) parse(p *Parser) { d.Value = p.String() }

// ExitStatus is the data of exit-status (RFC 4254, section 6.10).
type ExitStatus struct{ Status uint32 }

// Append implements Body.
func (d *ExitStatus) Append(b []byte) []byte { return AppendUint32(b, d.Status) }

func (d *ExitStatus) parse(p *Parser) { d.Status = p.Uint32() }

// ExitSignal is the data of exit-signal (RFC 4254, section 6.10).
type ExitSignal struct {
	Signal     string // without "SIG"
	CoreDumped bool
	Message    string
	Language   string
}

// Append implements Body.
func (d *ExitSignal) Append(b []byte) []byte {
	b = AppendBool(AppendString(b, d.Signal), d.CoreDumped)
	return AppendString(AppendString(b, d.Message), d.Language)
}

func (d *ExitSignal) parse(p *Parser) {
	d.Signal, d.CoreDumped, d.Message, d.Language = p.String(), p.Bool(), p.String(), p.String()
}
