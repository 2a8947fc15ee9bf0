package sshconfig

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/adit-ssh/adit/internal/wildcard"
)

// sample is one random question to ask of two implementations: files below a
// folder that both see as the person's home, options and a host.
type sample struct {
	files   map[string]string // by path below the home
	bad     []string          // files that others can write
	file    string            // for -F; "" reads .ssh/config
	options []string          // for -o
	user    string            // before the @
	host    string
	command string
}

// String writes it down, so that a person can try it by hand.
func (s sample) String() string {
	var b strings.Builder
	for _, name := range sortedKeys(s.files) {
		fmt.Fprintf(&b, "--- %s\n%s", name, s.files[name])
	}
	if len(s.bad) > 0 {
		fmt.Fprintf(&b, "--- others can write: %v\n", s.bad)
	}
	fmt.Fprintf(&b, "--- ssh -G -F %q", s.file)
	for _, o := range s.options {
		fmt.Fprintf(&b, " -o %q", o)
	}
	fmt.Fprintf(&b, " -l %q %s %s\n", s.user, s.host, s.command)
	return b.String()
}

// write puts the files below home.
func (s sample) write(home string) error {
	for name, text := range s.files {
		path := filepath.Join(home, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return err
		}
	}
	for _, name := range s.bad {
		if err := os.Chmod(filepath.Join(home, name), 0o646); err != nil {
			return err
		}
	}
	return nil
}

// grammar makes samples. names are the algorithms that both sides know; modern
// is for OpenSSH 10 and later, with keywords and rules that 9.2 lacks.
type grammar struct {
	*rand.Rand
	algorithms map[string][]string
	modern     bool
	faults     bool            // some mistakes too
	lacking    map[string]bool // keywords that this build of ssh does not have
}

func pick[T any](g *grammar, from ...T) T { return from[g.IntN(len(from))] }

func (g *grammar) chance(percent int) bool { return g.IntN(100) < percent }

// pickOf takes a word of a list, for grammars that read better so.
func (g *grammar) word(words string) string { return pick(g, strings.Fields(words)...) }

var sampleHosts = "foo bar foo.example.com alias db.example.com Foo www.bar.test 10.1.1.1 ::1 FE80::1 127.0.0.1 a-b_c x"

func (g *grammar) sample() sample {
	s := sample{files: map[string]string{}, host: g.word(sampleHosts)}
	main := ".ssh/config"
	if g.chance(50) {
		main = "other config"
		s.file = main
	}
	s.files[main] = g.config(0)
	for _, name := range []string{".ssh/inc.conf", ".ssh/conf.d/1.conf", ".ssh/conf.d/2.conf", ".ssh/conf.d/.hidden.conf", ".ssh/x-foo"} {
		s.files[name] = g.config(1)
		if g.faults && g.IntN(400) == 0 {
			s.bad = append(s.bad, name)
		}
	}
	for range g.IntN(4) {
		key, value := g.setting()
		s.options = append(s.options, key+pick(g, "=", " ", " = ")+value)
	}
	if g.chance(15) {
		s.user = g.word("cmd root al.ice a%b")
	}
	if g.chance(20) || strings.Contains(strings.Join(s.options, "\n"), "subsystem") {
		s.command = g.word("true uptime")
	}
	return s
}

// config is a file. Settings before the first block, then blocks.
func (g *grammar) config(depth int) string {
	var b strings.Builder
	if g.chance(50) {
		b.WriteString("IgnoreUnknown " + g.word("foo* nosuch*,un?nown UseKeychain,nosuch") + "\n")
	}
	for range g.IntN(4) {
		b.WriteString(g.line(depth))
	}
	for range g.IntN(6) {
		b.WriteString(g.blockLine())
		for range g.IntN(5) {
			b.WriteString(g.line(depth))
		}
	}
	return b.String()
}

// line is one setting, with all the ways to write it.
func (g *grammar) line(depth int) string {
	if g.chance(8) && depth < 2 {
		return g.indent() + "Include " + g.words(1+g.IntN(2), "inc.conf conf.d/*.conf ~/.ssh/inc.conf nothere x-* conf.d/[!1]*.conf \"conf.d/1.conf\" conf.d/*") + "\n"
	}
	if g.chance(5) {
		return pick(g, "\n", "# a comment\n", "  \t\n", "\t# Port 99\n", "\f\n")
	}
	if g.IntN(200) == 0 {
		return "nosuchoption yes\n"
	}
	key, value := g.setting()
	key = pick(g, key, key, strings.ToLower(key), strings.ToUpper(key))
	line := g.indent() + key + pick(g, " ", " ", "=", " = ", "\t", "  ") + value
	if !strings.HasSuffix(key, "ommand") && !strings.HasSuffix(key, "OMMAND") && g.chance(10) {
		line += " # comment " + g.word("here it's \"x\"")
	}
	return line + pick(g, "\n", "\n", " \n", "\r\n", "\t\n")
}

func (g *grammar) indent() string { return pick(g, "", "  ", "\t", "    ") }

func (g *grammar) blockLine() string {
	if g.chance(50) {
		return g.word("Host host HOST") + pick(g, " ", "=", "\t") + g.words(1+g.IntN(3), g.hostPatterns()) + pick(g, "\n", " # x\n")
	}
	if g.chance(12) {
		return g.word("Match match") + " " + pick(g, "all", "!all", "canonical all", "final all", "all # x") + "\n"
	}
	var c []string
	for range 1 + g.IntN(3) {
		c = append(c, g.condition())
	}
	line := "Match " + strings.Join(c, " ")
	if !g.modern && strings.Contains(line, "!final") {
		line += "\nMatch final" // OpenSSH 9.2 takes both as a wish for another pass
	}
	return line + "\n"
}

func (g *grammar) hostPatterns() string {
	return "foo bar * !foo foo.example.com *.example.com !*.example.com f?o ??? Foo db.* 10.* !10.1.1.1 *:* www.bar.test x \"foo\" *.net"
}

func (g *grammar) condition() string {
	name := g.word("host originalhost user localuser exec host final canonical")
	if g.modern {
		name = g.word("host originalhost user localuser exec host final canonical localnetwork version tagged command sessiontype")
	}
	if g.faults && g.IntN(200) == 0 {
		name = "nosuch"
	}
	value := map[string]string{
		"host":         "foo foo,bar *.example.com,!db.* FOO *.net !foo,* 10.* \"foo\" ::1 *",
		"originalhost": "foo foo,bar Foo 10.1.1.1 !alias,* al*",
		"user":         "alice cmd,root root !root,* zed",
		"localuser":    "root !root,* nobody,root",
		"exec":         "true false \"test\x01x\x01=\x01x\" \"[\x01%h\x01=\x01foo\x01]\" \"test\x01%n\x01!=\x01bar\" \"test\x01%p%r%u\x01=\x0122aliceroot\" \"test\x01%L%l%i%d\x01=\x01x\" \"test\x01%k\x01=\x01%h\" \"case\x01%C\x01in\x01[0-7]*)\x01true;;*)\x01false;;esac\"",
		"localnetwork": "127.0.0.0/8 198.51.100.0/24 ::1/128 10.0.0.0/8,127.0.0.1",
		"version":      "OpenSSH_10* OpenSSH_9.* !OpenSSH_9*,*",
		"tagged":       "blue red,blue \"\" !blue,*",
		"command":      "uptime \"\" true u*",
		"sessiontype":  "shell exec none subsystem shell,exec",
	}[name]
	not := ""
	if g.chance(25) {
		not = "!"
	}
	if name == "final" || name == "canonical" {
		return not + name
	}
	if value == "" {
		value = "x"
	}
	if !g.modern {
		value = strings.ReplaceAll(value, "[0-7]", "[0-9a-f]") // %C has the jump in it only since 9.6
	}
	if name == "sessiontype" {
		return not + name + " " + g.word(value) // OpenSSH forgot it among those that can have =
	}
	return not + name + pick(g, " ", " ", "=") + strings.ReplaceAll(g.word(value), "\x01", " ")
}

// words takes some words of a list.
func (g *grammar) words(n int, list string) string {
	var some []string
	for range n {
		some = append(some, g.word(list))
	}
	return strings.Join(some, " ")
}

// setting is a keyword and a value.
func (g *grammar) setting() (key, value string) {
	for {
		key = pick(g, settingNames...)
		values := sampleValues[key]
		if !g.modern && modernKeywords[key] || g.lacking[key] {
			continue
		}
		if g.faults && g.IntN(400) == 0 && ignored[strings.ToLower(key)] == "" {
			return key, g.word("bogus -1 \"\" none 99999999999999 a,b \"open 1x")
		}
		if names := g.algorithms[key]; names != nil {
			return key, g.algorithmList(key, names)
		}
		return key, g.value(key, values)
	}
}

// value takes one of a keyword's values. A bar stands for a blank, since blanks
// separate the values in the table.
func (g *grammar) value(key, values string) string {
	v := strings.ReplaceAll(g.word(values), "|", " ")
	if !g.modern && key == "ProxyJump" && v == "none" {
		v = "jump" // OpenSSH 9.2 takes none for a proxy when it makes names canonical
	}
	if !strings.ContainsAny(v, " \"'#\\") && !strings.HasSuffix(key, "Command") && g.chance(10) {
		v = `"` + v + `"`
	}
	return v
}

func (g *grammar) algorithmList(key string, names []string) string {
	var some []string
	for range 1 + g.IntN(3) {
		some = append(some, pick(g, names...))
	}
	mode := pick(g, "", "+", "-", "^")
	if mode == "-" || strings.HasSuffix(key, "Algorithms") && key != "KexAlgorithms" {
		if g.chance(30) {
			// A pattern must match something that this build has.
			p := g.word("rsa-* ssh-ed25519* *-cert-v01@openssh.com *nistp256* s?h-ed*")
			if slices.ContainsFunc(names, func(n string) bool { return wildcard.Match(p, n) }) {
				some = append(some, p)
			}
		}
		if mode == "-" && g.chance(20) {
			some = append(some, g.word("*cbc aes* *sha1* !aes128-ctr"))
		}
	}
	return mode + strings.Join(some, ",")
}

// modernKeywords are not known to OpenSSH 9.2, or mean something else there.
var modernKeywords = map[string]bool{
	"Tag": true, "ChannelTimeout": true, "ObscureKeystrokeTiming": true, "VersionAddendum": true,
	"WarnWeakCrypto": true, "RefuseConnection": true, "RevokedHostKeys": true,
	"SetEnv ": true, "User ": true, "ControlPath ": true, // with a blank after them: values with tokens
}

var flags = "yes no true false Yes"

// sampleValues are the values of each keyword; a bar stands for a blank.
var sampleValues = map[string]string{
	"User": "alice zed root", "HostName": "%h.example.com 10.1.1.1 host.example.net %h FOO.Example.Com 2001:DB8:0::1 ::1 a%%b",
	"Port":          "22 2222 443 +80 http 65535",
	"AddressFamily": "any inet inet6 INET", "BatchMode": flags, "CanonicalizeFallbackLocal": "yes yes yes no",
	"CanonicalizeHostname": "yes no always no", "CheckHostIP": flags, "Compression": "yes no", "ControlMaster": "yes no auto ask autoask true",
	"EnableSSHKeysign": flags, "ClearAllForwardings": "no no yes", "ExitOnForwardFailure": flags, "FingerprintHash": "md5 sha256 SHA1 sha512",
	"ForwardX11": flags, "ForwardX11Trusted": flags, "GatewayPorts": flags, "GSSAPIAuthentication": flags, "GSSAPIDelegateCredentials": flags,
	"HashKnownHosts": flags, "HostbasedAuthentication": flags, "IdentitiesOnly": flags, "KbdInteractiveAuthentication": flags,
	"ChallengeResponseAuthentication": flags, "NoHostAuthenticationForLocalhost": flags, "PasswordAuthentication": flags,
	"PermitLocalCommand": flags, "ProxyUseFdpass": flags, "PubkeyAuthentication": "yes no unbound host-bound true", "DSAAuthentication": "yes no",
	"RequestTTY": "yes no force auto", "SessionType": "none subsystem default", "StdinNull": flags, "ForkAfterAuthentication": "no no no yes",
	"StreamLocalBindUnlink": flags, "StrictHostKeyChecking": "yes no ask accept-new off true", "TCPKeepAlive": flags, "KeepAlive": flags,
	"Tunnel": "yes no ethernet point-to-point", "VerifyHostKeyDNS": "yes no ask", "VisualHostKey": flags, "UpdateHostKeys": "yes no ask ask",
	"EnableEscapeCommandline": flags, "WarnWeakCrypto": "yes no no-pq-kex",
	"CanonicalizeMaxDots": "0 1 2", "ConnectionAttempts": "1 3 10", "ForwardX11Timeout": "10m 1h30m 90 0", "NumberOfPasswordPrompts": "0 1 5",
	"ServerAliveCountMax": "0 3 9", "ServerAliveInterval": "0 30 1m 1h 1d2h none", "RequiredRSASize": "1024 2048", "ObscureKeystrokeTiming": "yes no interval:80 interval:20",
	"BindAddress": "127.0.0.1 ::1", "BindInterface": "lo eth0",
	"Ciphers": "", "MACs": "", "KexAlgorithms": "", "HostKeyAlgorithms": "", "HostbasedAcceptedAlgorithms": "", "PubkeyAcceptedAlgorithms": "",
	"CASignatureAlgorithms": "", "PubkeyAcceptedKeyTypes": "",
	"ControlPath": "~/.ssh/%r@%h:%p ~/.ssh/cm-%n none ${ADIT_DIR}/%u-%i-%L /x/%k%%d", "HostKeyAlias": "Alias.Example key",
	"IdentityAgent": "none SSH_AUTH_SOCK $SSH_AUTH_SOCK ~/agent.%r ${ADIT_DIR}/a \"/a|b\"", "IgnoreUnknown": "foo*,bar",
	"KbdInteractiveDevices": "bsdauth,pam skey", "LocalCommand": "echo|%h|\"a|#b\" none :", "RemoteCommand": "uptime|-%h|%p none none none",
	"LogLevel": "quiet INFO debug DEBUG1 DEBUG3 VERBOSE error", "PKCS11Provider": "/usr/lib/p.so none", "SecurityKeyProvider": "none /usr/lib/sk.so internal",
	"PreferredAuthentications": "publickey,password none", "XAuthLocation": "/usr/bin/xauth none",
	"KnownHostsCommand": "/usr/bin/printf|%%s|%H none", "Tag": "blue red", "VersionAddendum": "none hi|there x-%h",
	"DynamicForward": "1080 localhost:1080 [::1]:1081 *:1082 :1083 ~/x/sock \"/tmp/a\"",
	"LocalForward":   "8080|db:80 127.0.0.1:8080|[::1]:80 [::]:8081|db:http *:82|x:1 /tmp/%h.sock|db:80 8080|/tmp/sock ${ADIT_DIR}/s|/x/%n 8080|db:80",
	"RemoteForward":  "8080|db:80 0|x:22 9000 [::1]:9001|/tmp/x%u 0.0.0.0:9002|a:b2 /r/s|db:80 localhost:9003",
	"IdentityFile":   "~/.ssh/id_x ~/.ssh/id_%r ~/.ssh/id_x \"/a|b/id\" none", "CertificateFile": "~/.ssh/c-cert.pub /c/%h", "IdentityFile2": "/old/id",
	"CanonicalDomains": "example.com Example.NET.|example.com none x_y.test", "GlobalKnownHostsFile": "/etc/kh /etc/a|/etc/b none",
	"UserKnownHostsFile": "~/.ssh/known_hosts /k/%h|/k/%k none ${ADIT_DIR}/kh ~/kh\\|x",
	"SendEnv":            "LANG LC_*|FOO -LC_* BAR|-F* LANG", "SetEnv": "A=1|B=2 A=\"x|y\" A=1|A=2 FOO=1", "LogVerbose": "kex.c:*:* a.c:1|b.c:2 none",
	"RevokedHostKeys": "/r/krl /r/%h|/r/b none", "ChannelTimeout": "none direct-tcpip=10m *=1h|session=5", "PermitRemoteOpen": "any none a:1|[::1]:2|b:* x:http",
	"AddKeysToAgent": "yes no ask confirm confirm|5m 10m 0", "ForwardAgent": "yes no /dev/null ~/.ssh ${ADIT_DIR}/null",
	"ConnectTimeout": "5 1m none 0", "TunnelDevice": "any 0 1:2 any:3", "CanonicalizePermittedCNAMEs": "none * *.example.com:*.example.net a:b|*.X:*.Y",
	"ControlPersist": "yes no 10m 0", "EscapeChar": "none ~ ^A ^[ % ^? \\", "IPQoS": "af21 cs1|ef none 17 0 255|af41 0x28 0XB8|050 0x1 08 0b1 1_0",
	"RekeyLimit": "default 1G 512K|1h 1.5M default|none 100 0 default|30m 16", "StreamLocalBindMask": "0177 0111 7 0 +0170 0800", "SyslogFacility": "USER local3 AUTHPRIV",
	"ProxyCommand": "nc|%h|%p none sh|-c|'x|y'|#|z \"a|b\"|c", "ProxyJump": "jump none u@j1,j2:2222 ssh://u@jump:22 [::1]:22 10.0.0.1 a,b,c # j:http jump|#|c",
	"SetEnv ": "FOO=%%|BAR=%h", "User ": "u-%u", "ControlPath ": "~/.ssh/%C /x/%j-%h", "LogLevel ": "SILENT",
	"RefuseConnection": "\"not|here\"",
	"Protocol":         "2 1,2", "Cipher": "blowfish", "UseRoaming": "no", "RhostsRSAAuthentication": "no", "CompressionLevel": "9",
	"ProtocolKeepAlives": "10", "SetupTimeOut": "20", "GSSAPIKeyExchange": "no",
}

var settingNames = sortedKeys(sampleValues)
