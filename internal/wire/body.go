package wire

// Types of channels.
const (
	ChannelSession              = "session"
	ChannelX11                  = "x11"
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
	RequestX11         = "x11-req"
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
	ExtInfoInAuth    = "ext-info-in-auth@openssh.com"
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

// OpenBody returns a new body for an open of the channel type, or nil when the
// type has no data of its own or is not known.
func OpenBody(channelType string) Body {
	switch channelType {
	case ChannelDirectTCPIP:
		return new(DirectTCPIP)
	case ChannelForwardedTCPIP:
		return new(ForwardedTCPIP)
	case ChannelDirectStreamlocal:
		return new(DirectStreamlocal)
	case ChannelForwardedStreamlocal:
		return new(ForwardedStreamlocal)
	case ChannelX11:
		return new(X11)
	}
	return nil
}

// GlobalBody is OpenBody for global requests.
func GlobalBody(requestType string) Body {
	switch requestType {
	case GlobalTCPIPForward, GlobalCancelTCPIPForward:
		return new(TCPIPForward)
	case GlobalStreamlocalForward, GlobalCancelStreamlocalForward:
		return new(StreamlocalForward)
	case GlobalHostKeys, GlobalHostKeysProve:
		return new(HostKeys)
	}
	return nil
}

// RequestBody is OpenBody for channel requests.
func RequestBody(requestType string) Body {
	switch requestType {
	case RequestPty:
		return new(PtyReq)
	case RequestX11:
		return new(X11Req)
	case RequestEnv:
		return new(Env)
	case RequestExec, RequestSubsystem, RequestSignal:
		return new(Text)
	case RequestWindow:
		return new(WindowChange)
	case RequestXonXoff:
		return new(XonXoff)
	case RequestExitStatus:
		return new(ExitStatus)
	case RequestExitSignal:
		return new(ExitSignal)
	}
	return nil
}
