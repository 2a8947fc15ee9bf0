package sshconfig

import (
	"bufio"
	"io"
	"strconv"
	"strings"
	"time"
)

// Config is what holds for one host. Paths are expanded, words are in lower case
// with yes and no, lists are nil for none.
type Config struct {
	Host           string // as typed
	HostName, User string
	Port           int

	// The way to the server. At most one of ProxyCommand and ProxyJump is set;
	// see ExpandProxyCommand.
	AddressFamily              string // any, inet, inet6
	BindAddress, BindInterface string
	ConnectTimeout             time.Duration // 0: the system's
	ConnectionAttempts         int
	TCPKeepAlive               bool
	ServerAliveInterval        time.Duration // 0: never
	ServerAliveCountMax        int
	IPQoS                      [2]string // interactive, bulk
	ProxyCommand, ProxyJump    string
	ProxyUseFdpass             bool
	ControlMaster, ControlPath string
	ControlPersist             string // no, yes, or seconds

	// The transport.
	Ciphers, MACs, KexAlgorithms []string
	HostKeyAlgorithms            []string      // a default if Origin says so; then known keys may change the order
	RekeyLimit                   uint64        // bytes, 0: the cipher's own
	RekeyInterval                time.Duration // 0: never
	Compression                  bool
	VersionAddendum              string

	// The server's identity.
	StrictHostKeyChecking       string // yes, no, ask, accept-new
	UserKnownHostsFiles         []string
	GlobalKnownHostsFiles       []string
	KnownHostsCommand           string // tokens are not yet expanded
	RevokedHostKeys             []string
	HostKeyAlias                string
	HashKnownHosts, CheckHostIP bool
	NoHostAuthForLocalhost      bool
	UpdateHostKeys              string // yes, no, ask
	VerifyHostKeyDNS            string // yes, no, ask
	SyslogFacility              string // in capitals
	FingerprintHash             string // SHA256, MD5, ...
	CASignatureAlgorithms       []string
	// HostKeyOrder says that HostKeyAlgorithms is a list of its own, or begins
	// with one (^), so that its order counts more than what known_hosts has.
	HostKeyOrder bool

	// The login.
	IdentityFiles, CertificateFiles []string // the usual ones if Origin says default
	IdentitiesOnly                  bool
	IdentityAgent                   string // a socket, none, SSH_AUTH_SOCK, $NAME; "" is SSH_AUTH_SOCK
	AddKeysToAgent                  string // yes, no, ask, confirm, with or without seconds
	PubkeyAuthentication            string // yes, no, unbound, host-bound
	PubkeyAcceptedAlgorithms        []string
	RequiredRSASize                 int
	PasswordAuthentication          bool
	KbdInteractiveAuthentication    bool
	PreferredAuthentications        []string // nil: the usual order
	NumberOfPasswordPrompts         int
	BatchMode                       bool

	// Forwards. LocalForwards has the dynamic ones too.
	LocalForwards, RemoteForwards []Forward
	PermitRemoteOpen              []string // nil: any
	GatewayPorts                  bool
	ExitOnForwardFailure          bool
	StreamLocalBindMask           uint32
	StreamLocalBindUnlink         bool
	ChannelTimeouts               []string
	ForwardAgent                  string // yes, no, or the socket to forward

	// The session.
	SessionType             string // none, subsystem, default
	RequestTTY              string // yes, no, force, auto
	RemoteCommand           string
	StdinNull               bool
	ForkAfterAuthentication bool
	PermitLocalCommand      bool
	LocalCommand            string   // see ExpandLocalCommand
	SendEnv, SetEnv         []string // see SessionEnv
	EscapeChar              string   // as -G prints it; see EscapeByte
	EnableEscapeCommandline bool
	ForwardX11              bool
	LogLevel                string // QUIET, FATAL, ERROR, INFO, VERBOSE, DEBUG to DEBUG3
	Tag                     string

	// Blocks are the Host and Match lines in the order in which they were read.
	Blocks []Block
	// Warnings are what should be told to the person.
	Warnings []Warning

	tokens tokens
	values []Value
	late   error
}

// Value is one line of what -G prints.
type Value struct {
	Keyword string // as ssh_config(5) spells it
	Text    string
	Origin  Origin
}

// Values returns all that holds, in the order of `ssh -G`.
func (c *Config) Values() []Value { return c.values }

// Origin tells which line decided a keyword, whose case does not count.
func (c *Config) Origin(keyword string) Origin {
	for _, v := range c.values {
		if strings.EqualFold(v.Keyword, keyword) {
			return v.Origin
		}
	}
	return Origin{}
}

// Check returns what -G does not look at but a connection would stumble over: a
// token or variable in a file's name that can't be expanded, or a list of
// algorithms from which everything was taken.
func (c *Config) Check() error { return c.late }

// Expand puts in place all tokens that most keywords have.
func (c *Config) Expand(command string) (string, error) {
	return expand(command, c.tokens, nil)
}

// ExpandProxyCommand does so for ProxyCommand: %% %h %k %n %p %r.
func (c *Config) ExpandProxyCommand() (string, error) {
	return expand(c.ProxyCommand, c.tokens.only("hknpr"), nil)
}

// Print writes what `ssh -G` prints.
func (c *Config) Print(w io.Writer) error {
	b := bufio.NewWriter(w)
	for _, v := range c.values {
		name := lower(v.Keyword)
		if name == "canonicalizepermittedcnames" {
			name = "canonicalizePermittedcnames" // as OpenSSH spells it
		}
		b.WriteString(name + " " + v.Text + "\n")
	}
	return b.Flush()
}

// config makes the typed form of the settings.
func (r *reader) config(host string) *Config {
	s := r.s
	is := func(name string) bool { return s.text(name) == "yes" }
	word := func(name string) string {
		switch t := s.text(name); t {
		case "true":
			return "yes"
		case "false":
			return "no"
		default:
			return t
		}
	}
	num := func(name string) int { n, _ := strconv.Atoi(s.text(name)); return n }
	secs := func(name string) time.Duration { return time.Duration(num(name)) * time.Second }
	names := func(name string) []string {
		if s.text(name) == "" {
			return nil
		}
		return strings.Split(s.text(name), ",")
	}
	some := func(name, none string) []string {
		if all := s.texts(name); len(all) != 1 || !strings.EqualFold(all[0], none) {
			return all
		}
		return nil
	}
	rekey, _ := strconv.ParseUint(s.text("rekeylimit"), 10, 64)
	mask, _ := strconv.ParseUint(s.text("streamlocalbindmask"), 8, 32)
	c := &Config{
		Host: r.o.Host, HostName: s.text("hostname"), User: s.text("user"), Port: num("port"),
		AddressFamily: s.text("addressfamily"), BindAddress: s.text("bindaddress"), BindInterface: s.text("bindinterface"),
		ConnectTimeout: secs("connecttimeout"), ConnectionAttempts: num("connectionattempts"), TCPKeepAlive: is("tcpkeepalive"),
		ServerAliveInterval: secs("serveraliveinterval"), ServerAliveCountMax: num("serveralivecountmax"),
		ProxyCommand: s.text("proxycommand"), ProxyJump: s.text("proxyjump"), ProxyUseFdpass: is("proxyusefdpass"),
		Ciphers: names("ciphers"), MACs: names("macs"), KexAlgorithms: names("kexalgorithms"),
		HostKeyAlgorithms:     names("hostkeyalgorithms"),
		HostKeyOrder:          r.ordered,
		CASignatureAlgorithms: names("casignaturealgorithms"),
		RekeyLimit:            rekey, RekeyInterval: secs(rekeyInterval), Compression: is("compression"),
		ControlMaster: word("controlmaster"), ControlPath: s.text("controlpath"), ControlPersist: s.text("controlpersist"),
		StrictHostKeyChecking: word("stricthostkeychecking"),
		UserKnownHostsFiles:   some("userknownhostsfile", "none"), GlobalKnownHostsFiles: some("globalknownhostsfile", "none"),
		KnownHostsCommand: s.text("knownhostscommand"), RevokedHostKeys: some("revokedhostkeys", "none"), HostKeyAlias: s.text("hostkeyalias"),
		HashKnownHosts: is("hashknownhosts"), CheckHostIP: is("checkhostip"), NoHostAuthForLocalhost: is("nohostauthenticationforlocalhost"),
		UpdateHostKeys: word("updatehostkeys"), VerifyHostKeyDNS: word("verifyhostkeydns"), SyslogFacility: s.text("syslogfacility"), FingerprintHash: s.text("fingerprinthash"),
		IdentityFiles: some("identityfile", "none"), CertificateFiles: some("certificatefile", "none"),
		IdentitiesOnly: is("identitiesonly"), IdentityAgent: s.text("identityagent"), AddKeysToAgent: word("addkeystoagent"),
		PubkeyAuthentication: word("pubkeyauthentication"), PubkeyAcceptedAlgorithms: names("pubkeyacceptedalgorithms"),
		RequiredRSASize: num("requiredrsasize"), PasswordAuthentication: is("passwordauthentication"),
		KbdInteractiveAuthentication: is("kbdinteractiveauthentication"), PreferredAuthentications: names("preferredauthentications"),
		NumberOfPasswordPrompts: num("numberofpasswordprompts"), BatchMode: is("batchmode"), ForwardAgent: s.text("forwardagent"),
		RemoteForwards: r.forwards("remoteforward"), LocalForwards: append(r.forwards("localforward"), r.forwards("dynamicforward")...),
		PermitRemoteOpen: some("permitremoteopen", "any"), GatewayPorts: is("gatewayports"), ExitOnForwardFailure: is("exitonforwardfailure"),
		StreamLocalBindMask: uint32(mask), StreamLocalBindUnlink: is("streamlocalbindunlink"), ChannelTimeouts: some("channeltimeout", "none"),
		SessionType: s.text("sessiontype"), RequestTTY: word("requesttty"), RemoteCommand: s.text("remotecommand"), StdinNull: is("stdinnull"),
		ForkAfterAuthentication: is("forkafterauthentication"), PermitLocalCommand: is("permitlocalcommand"), LocalCommand: s.text("localcommand"),
		SendEnv: s.texts("sendenv"), SetEnv: s.texts("setenv"),
		EscapeChar: s.text("escapechar"), EnableEscapeCommandline: is("enableescapecommandline"), ForwardX11: is("forwardx11"),
		LogLevel: s.text("loglevel"), Tag: s.text("tag"), VersionAddendum: s.text("versionaddendum"),
		Blocks: r.blocks, Warnings: r.warnings, tokens: r.tokens(host, r.o.Host),
	}
	c.IPQoS[0], c.IPQoS[1], _ = strings.Cut(s.text("ipqos"), " ")
	if path := s.text(forwardAgentPath); path != "" && c.ForwardAgent == "yes" { // -a goes before it
		c.ForwardAgent = path
	}
	r.expandLate(c)
	c.values = r.dump()
	return c
}

func (r *reader) forwards(name string) []Forward {
	var all []Forward
	for _, v := range r.s[name] {
		f := *v.fwd
		f.Origin = v.from
		all = append(all, f)
	}
	return all
}
