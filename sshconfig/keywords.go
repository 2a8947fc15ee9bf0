package sshconfig

// keyword is one word that a line may begin with.
type keyword struct {
	name string // as ssh_config(5) spells it
	// parse reads the arguments and keeps them where they count.
	parse func(*line) error
	// initial is what holds when nothing is said; "" is nothing at all.
	initial string
	form    form
}

// form is how -G prints several values of a keyword.
type form int

const (
	eachLine form = iota // one line each; nothing when there are none
	oneLine              // all in one line; initial when there are none
)

// keywords is readconf.c's table in the order in which -G prints them
// (dump_client_config). User, Port and HostName come before, ProxyCommand and
// ProxyJump at the end. The comments tell the few that don't go by the rule that
// the first value wins.
var keywords = []*keyword{
	{"User", text, "", eachLine},
	{"HostName", text, "", eachLine},
	{"Port", port, "", eachLine},

	{"AddressFamily", oneOf("any", "inet", "inet6"), "any", eachLine},
	{"BatchMode", yesNo, "no", eachLine},
	{"CanonicalizeFallbackLocal", yesNo, "yes", eachLine},
	{"CanonicalizeHostname", oneOf("true yes", "false no", "always"), "false", eachLine},
	{"CheckHostIP", yesNo, "no", eachLine},
	{"Compression", oneOf("yes", "no"), "no", eachLine},
	{"ControlMaster", oneOf("true yes", "false no", "auto", "ask", "autoask"), "false", eachLine},
	{"EnableSSHKeysign", yesNo, "no", eachLine},
	{"ClearAllForwardings", yesNo, "no", eachLine},
	{"ExitOnForwardFailure", yesNo, "no", eachLine},
	{"FingerprintHash", oneOf("MD5", "SHA1", "SHA256", "SHA384", "SHA512"), "SHA256", eachLine},
	{"ForwardX11", yesNo, "no", eachLine},
	{"ForwardX11Trusted", yesNo, "no", eachLine},
	{"GatewayPorts", yesNo, "no", eachLine},
	{"GSSAPIAuthentication", yesNo, "no", eachLine},
	{"GSSAPIDelegateCredentials", yesNo, "no", eachLine},
	{"HashKnownHosts", yesNo, "no", eachLine},
	{"HostbasedAuthentication", yesNo, "no", eachLine},
	{"IdentitiesOnly", yesNo, "no", eachLine},
	{"KbdInteractiveAuthentication", yesNo, "yes", eachLine},
	{"NoHostAuthenticationForLocalhost", yesNo, "no", eachLine},
	{"PasswordAuthentication", yesNo, "yes", eachLine},
	{"PermitLocalCommand", yesNo, "no", eachLine},
	{"ProxyUseFdpass", yesNo, "no", eachLine},
	{"PubkeyAuthentication", oneOf("true yes", "false no", "unbound", "host-bound"), "true", eachLine},
	{"RequestTTY", oneOf("true yes", "false no", "force", "auto"), "auto", eachLine},
	{"SessionType", oneOf("none", "subsystem", "default"), "default", eachLine},
	{"StdinNull", yesNo, "no", eachLine},
	{"ForkAfterAuthentication", yesNo, "no", eachLine},
	{"StreamLocalBindUnlink", yesNo, "no", eachLine},
	{"StrictHostKeyChecking", oneOf("true yes", "false no off", "ask", "accept-new"), "ask", eachLine},
	{"TCPKeepAlive", yesNo, "yes", eachLine},
	{"Tunnel", oneOf("ethernet", "point-to-point true yes", "false no"), "false", eachLine},
	{"VerifyHostKeyDNS", oneOf("true yes", "false no", "ask"), "false", eachLine},
	{"VisualHostKey", yesNo, "no", eachLine},
	{"UpdateHostKeys", oneOf("true yes", "false no", "ask"), "", eachLine}, // default: see defaults
	{"EnableEscapeCommandline", yesNo, "no", eachLine},
	{"WarnWeakCrypto", oneOf("yes true", "no false no-pq-kex"), "yes", eachLine},

	{"CanonicalizeMaxDots", number, "1", eachLine},
	{"ConnectionAttempts", number, "1", eachLine},
	{"ForwardX11Timeout", seconds, "1200", eachLine},
	{"NumberOfPasswordPrompts", number, "3", eachLine},
	{"ServerAliveCountMax", number, "3", eachLine},
	{"ServerAliveInterval", seconds, "0", eachLine},
	{"RequiredRSASize", number, "1024", eachLine},
	{"ObscureKeystrokeTiming", obscure, "yes", eachLine},

	{"BindAddress", text, "", eachLine},
	{"BindInterface", text, "", eachLine},
	{"Ciphers", algorithms, "", eachLine},
	{"ControlPath", text, "", eachLine},
	{"HostKeyAlgorithms", algorithms, "", eachLine},
	{"HostKeyAlias", text, "", eachLine},
	{"HostbasedAcceptedAlgorithms", algorithms, "", eachLine},
	{"IdentityAgent", agentPath, "", eachLine},
	{"IgnoreUnknown", text, "", eachLine},
	{"KbdInteractiveDevices", text, "", eachLine},
	{"KexAlgorithms", algorithms, "", eachLine},
	{"CASignatureAlgorithms", algorithms, "", eachLine},
	{"LocalCommand", command, "", eachLine},
	{"RemoteCommand", command, "", eachLine},
	{"LogLevel", logLevel, "INFO", eachLine},
	{"MACs", algorithms, "", eachLine},
	{"PKCS11Provider", text, "", eachLine},
	{"SecurityKeyProvider", text, "internal", eachLine},
	{"PreferredAuthentications", text, "", eachLine},
	{"PubkeyAcceptedAlgorithms", algorithms, "", eachLine},
	{"XAuthLocation", text, "/usr/bin/xauth", eachLine},
	{"KnownHostsCommand", command, "", eachLine},
	{"Tag", text, "", eachLine},
	{"VersionAddendum", addendum, "", eachLine},

	// These add up over all lines.
	{"DynamicForward", forwardLine, "", eachLine},
	{"LocalForward", forwardLine, "", eachLine},
	{"RemoteForward", forwardLine, "", eachLine},
	{"IdentityFile", addPath, "~/.ssh/id_rsa ~/.ssh/id_ecdsa ~/.ssh/id_ecdsa_sk ~/.ssh/id_ed25519 ~/.ssh/id_ed25519_sk", eachLine},

	{"CanonicalDomains", domains, "none", oneLine},
	{"CertificateFile", addPath, "", eachLine}, // adds up
	{"GlobalKnownHostsFile", files, "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2", oneLine},
	{"UserKnownHostsFile", files, "~/.ssh/known_hosts ~/.ssh/known_hosts2", oneLine},
	{"SendEnv", sendEnv, "", eachLine}, // adds up, and takes away
	{"SetEnv", setEnv, "", eachLine},
	{"LogVerbose", firstOfList, "none", oneLine},
	{"RevokedHostKeys", list, "none", oneLine},
	{"ChannelTimeout", channelTimeouts, "none", oneLine},
	{"PermitRemoteOpen", remoteOpens, "any", oneLine},
	{"AddKeysToAgent", addKeys, "false", eachLine},
	{"ForwardAgent", forwardAgent, "no", eachLine}, // a path goes before yes and no
	{"ConnectTimeout", seconds, "none", eachLine},
	{"TunnelDevice", tunnelDevice, "any:any", eachLine},
	{"CanonicalizePermittedCNAMEs", cnames, "none", oneLine},
	{"ControlPersist", controlPersist, "no", eachLine},
	{"EscapeChar", escapeChar, "~", eachLine},
	{"IPQoS", qos, "ef cs0", eachLine},
	{"RekeyLimit", rekeyLimit, "0", eachLine},                 // its two halves are set apart
	{"StreamLocalBindMask", bindMask, "0177", eachLine},       // the last counts, wherever it stands
	{"SyslogFacility", syslogFacility, "USER", eachLine},      // counts wherever it stands
	{"ProxyCommand", proxyCommand, "", eachLine},              // not after a ProxyJump
	{"ProxyJump", proxyJump, "", eachLine},                    // not after a ProxyCommand
	{"Host", nil, "", eachLine}, {"Match", nil, "", eachLine}, // see reader.line
	{"Include", nil, "", eachLine},
	{"RefuseConnection", refuse, "", eachLine},
}

// aliases are other names, mostly older ones.
var aliases = map[string]string{
	"challengeresponseauthentication": "kbdinteractiveauthentication",
	"skeyauthentication":              "kbdinteractiveauthentication",
	"tisauthentication":               "kbdinteractiveauthentication",
	"dsaauthentication":               "pubkeyauthentication",
	"identityfile2":                   "identityfile",
	"keepalive":                       "tcpkeepalive",
	"hostbasedkeytypes":               "hostbasedacceptedalgorithms",
	"pubkeyacceptedkeytypes":          "pubkeyacceptedalgorithms",
	"smartcarddevice":                 "pkcs11provider",
	"protocolkeepalives":              "serveraliveinterval", // Debian's
	"setuptimeout":                    "serveraliveinterval", // Debian's
}

// ignored are words that OpenSSH knows and that no longer mean anything. The
// value is a warning; "" says nothing.
var ignored = map[string]string{
	"protocol":              "",
	"cipher":                "",
	"fallbacktorsh":         "",
	"globalknownhostsfile2": "",
	"rhostsauthentication":  "",
	"useblacklistedkeys":    "", // Debian's
	"userknownhostsfile2":   "",
	"useroaming":            "",
	"usersh":                "",
	"useprivilegedport":     "",

	"afstokenpassing":         unsupported,
	"kerberosauthentication":  unsupported,
	"kerberostgtpassing":      unsupported,
	"rsaauthentication":       unsupported,
	"rhostsrsaauthentication": unsupported,
	"compressionlevel":        unsupported,

	// Added by systems that patch their ssh: a person's file from there is no
	// mistake.
	"usekeychain":              patched,
	"gssapikeyexchange":        patched,
	"gssapitrustdns":           patched,
	"gssapiclientidentity":     patched,
	"gssapiserveridentity":     patched,
	"gssapirenewalforcesrekey": patched,
	"gssapikexalgorithms":      patched,
}

const (
	unsupported = "is no longer supported and has no effect"
	patched     = "is known only to some systems' own ssh and has no effect here"
)

var keywordByName = func() map[string]*keyword {
	m := map[string]*keyword{}
	for _, k := range keywords {
		m[lower(k.name)] = k
	}
	for alias, name := range aliases {
		m[alias] = m[name]
	}
	return m
}()
