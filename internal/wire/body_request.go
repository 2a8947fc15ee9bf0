package wire

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

// X11Req is the data of x11-req (RFC 4254, section 6.3.1).
type X11Req struct {
	SingleConnection bool
	Protocol         string
	Cookie           string // hexadecimal, a secret
	Screen           uint32
}

// Append implements Body.
func (d *X11Req) Append(b []byte) []byte {
	b = AppendString(AppendBool(b, d.SingleConnection), d.Protocol)
	return AppendUint32(AppendString(b, d.Cookie), d.Screen)
}

func (d *X11Req) parse(p *Parser) {
	d.SingleConnection, d.Protocol, d.Cookie, d.Screen = p.Bool(), p.String(), p.String(), p.Uint32()
}

// X11 is the data of an x11 open (RFC 4254, section 6.3.2).
type X11 struct {
	OriginatorAddr string
	OriginatorPort uint32
}

// Append implements Body.
func (d *X11) Append(b []byte) []byte {
	return AppendUint32(AppendString(b, d.OriginatorAddr), d.OriginatorPort)
}

func (d *X11) parse(p *Parser) { d.OriginatorAddr, d.OriginatorPort = p.String(), p.Uint32() }

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

// XonXoff is the data of xon-xoff (RFC 4254, section 6.8).
type XonXoff struct{ ClientCanDo bool }

// Append implements Body.
func (d *XonXoff) Append(b []byte) []byte { return AppendBool(b, d.ClientCanDo) }

func (d *XonXoff) parse(p *Parser) { d.ClientCanDo = p.Bool() }

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
