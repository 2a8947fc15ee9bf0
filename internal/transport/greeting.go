package transport

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// Greeting is what came in place of a version line, as far as it can be told.
type Greeting string

// The greetings.
const (
	GreetingSilence Greeting = "silence"        // nothing came
	GreetingClosed  Greeting = "closed"         // nothing came but the end
	GreetingEcho    Greeting = "echo"           // our own version line came back
	GreetingText    Greeting = "text"           // lines of text, then silence: a login, as a rule
	GreetingCut     Greeting = "text, closed"   // text, then the end
	GreetingRefusal Greeting = "refusal"        // an sshd that says why it closes
	GreetingSSH1    Greeting = "SSH 1"          // only the protocol of before 2006
	GreetingHTTP    Greeting = "HTTP"           // or HTML
	GreetingTLS     Greeting = "TLS"            // a record: mostly an alert
	GreetingTelnet  Greeting = "Telnet"         // a negotiation of options
	GreetingMail    Greeting = "SMTP or FTP"    // 220, which both say
	GreetingOther   Greeting = "other protocol" // one that VersionError.Text names
	GreetingFlood   Greeting = "flood"          // what is no line, or too many
)

// maxKept is how many lines a VersionError keeps.
const maxKept = 4

// greeting watches what comes before a version line. It is pure.
type greeting struct {
	local   string   // our version line
	kept    []string // the first lines, sanitised
	count   int      // whole lines
	first   []byte   // what the first of them begins with, as it came
	reply   []byte   // the same of the second
	echo    bool     // one of them holds our version line
	refused bool     // sshd's own words
	version bool     // a version line of another version came
}

// line notes a whole line.
func (g *greeting) line(b []byte) {
	g.count++
	g.look(b)
}

// rest notes bytes that no line end follows.
func (g *greeting) rest(b []byte) {
	if len(b) > 0 {
		g.look(b)
	}
}

func (g *greeting) look(b []byte) {
	const enough = 64
	begin := bytes.Clone(b[:min(len(b), enough)])
	switch {
	case g.first == nil:
		g.first = begin
	case g.reply == nil:
		g.reply = begin
	}
	g.echo = g.echo || bytes.Contains(b, []byte(g.local))
	// What sshd says before it closes (sshd.c, srclimit.c).
	g.refused = g.refused || bytes.HasPrefix(b, []byte("Exceeded MaxStartups")) || bytes.HasPrefix(b, []byte("Not allowed at this time"))
	if len(g.kept) < maxKept {
		g.kept = append(g.kept, Sanitize(string(b), 256))
	}
}

// binary reports whether the first bytes of all, have, are those of a protocol
// that sends no lines: to wait for the end of one would be in vain.
func (g *greeting) binary(have []byte) bool {
	return g.first == nil && (isTLS(have) || isTelnet(have) || isMySQL(have))
}

// hopeless reports whether the lines so far are an answer to ours in another
// protocol. Where that is not certain OpenSSH's way is the right one: to read
// on.
func (g *greeting) hopeless() bool {
	s := string(g.first)
	return strings.HasPrefix(s, "HTTP/1.") && len(s) > 10 && (s[9] == '4' || s[9] == '5') ||
		isMail(g.first) && len(g.reply) > 3 && g.reply[0] == '5' && (g.reply[3] == ' ' || g.reply[3] == '-')
}

// wrong makes the error. text is what happened, cause may be nil.
func (g *greeting) wrong(text string, cause error) *VersionError {
	e := &VersionError{Text: text, Lines: g.kept, Count: g.count, Err: cause}
	name := func(greeting Greeting, is string) {
		e.Greeting = greeting
		e.Text += ": " + is
	}
	if binary := isTLS(g.first) || isTelnet(g.first) || isMySQL(g.first); binary {
		e.Lines = nil // nothing that a person can read
	}
	switch other := otherProtocol(g.first); {
	case g.version:
		e.Greeting = GreetingSSH1
	case isHTTP(g.first): // which may quote our version line
		name(GreetingHTTP, "it answers as a web server or a proxy does")
	case g.echo:
		name(GreetingEcho, "our own version line came back")
	case isTLS(g.first):
		name(GreetingTLS, "it sends TLS records")
	case isTelnet(g.first):
		name(GreetingTelnet, "it negotiates as Telnet does")
	case isMail(g.first):
		name(GreetingMail, "it greets as SMTP and FTP servers do")
	case other != "":
		name(GreetingOther, "it greets as "+other+" does")
	case g.refused:
		e.Greeting = GreetingRefusal
	case text == peerClosed && g.first == nil:
		e.Greeting = GreetingClosed
	case text == peerClosed:
		e.Greeting = GreetingCut
	case text != tooLate:
		e.Greeting = GreetingFlood
	case g.first == nil:
		e.Greeting = GreetingSilence
	default:
		e.Greeting = GreetingText
	}
	return e
}

// Hint says what might help, in one line for a person.
func (e *VersionError) Hint() string {
	switch e.Greeting {
	case GreetingSilence:
		return "something accepts connections there but does not say that it is SSH: check the port; a firewall or a load balancer without a server behind it does this, and so does a server that is stuck"
	case GreetingClosed:
		return "the server hangs up at once: it may have too many connections (MaxStartups), punish this address (PerSourcePenalties, fail2ban), refuse it, or be a load balancer with nothing behind it; the server's log says which"
	case GreetingEcho:
		return "what is there sends back what it gets: a terminal (no -t or -tt in a ProxyCommand), a shell, or an echo service; the way to the server must be a raw pipe, such as ssh -W %h:%p jumphost"
	case GreetingText:
		return "text and then silence is what a login looks like: a ProxyCommand that runs ssh must give it -W %h:%p, else it logs in on the jump host and greets there (ProxyJump does that by itself)"
	case GreetingCut:
		return "the text above says why, and comes from the server or from the command on the way to it"
	case GreetingRefusal:
		return "this sshd refuses new connections for now: wait, or ask its administrator about MaxStartups and PerSourcePenalties"
	case GreetingSSH1:
		return "the server is too old for any client of today; it must be updated"
	case GreetingHTTP:
		return "that is a web server or an HTTP proxy: check host and port; through a proxy the way is CONNECT, as with ProxyCommand nc -X connect -x PROXY:PORT %h %p"
	case GreetingTLS:
		return "that port speaks TLS (HTTPS, most likely): SSH is on port 22 as a rule, or wrapped in TLS, for which a ProxyCommand must unwrap it: openssl s_client -quiet -connect %h:%p"
	case GreetingTelnet:
		return "that is a Telnet server, port 23 as a rule: SSH is on port 22"
	case GreetingMail:
		return "that is a mail or FTP server: check the port; SSH, and sftp with it, is on port 22 as a rule"
	case GreetingOther:
		return "that is not the port of the SSH server, which is 22 as a rule; to reach this service through SSH, connect to the SSH server and forward the port: -L"
	case GreetingFlood:
		return fmt.Sprintf("only text may stand before the version line, at most %d lines of %d bytes: what is on the way to the server must not print anything", maxBannerLines-1, maxBannerLine)
	}
	return ""
}

// isTLS recognises a record (RFC 8446, section 5.1): its type and version.
func isTLS(b []byte) bool {
	return len(b) >= 3 && b[0] >= 0x14 && b[0] <= 0x17 && b[1] == 3 && b[2] <= 4
}

// isTelnet recognises IAC and WILL, WONT, DO or DONT (RFC 854).
func isTelnet(b []byte) bool { return len(b) >= 2 && b[0] == 0xff && b[1] >= 0xfb && b[1] <= 0xfe }

// isMySQL recognises the first packet of a MySQL or MariaDB server: length,
// number 0, and protocol 10 with a version or an error.
func isMySQL(b []byte) bool {
	return len(b) >= 5 && b[2] == 0 && b[3] == 0 && (b[4] == 10 || b[4] == 0xff)
}

func isHTTP(b []byte) bool {
	s := strings.ToLower(strings.TrimLeft(string(b), " \t"))
	return slices.ContainsFunc([]string{"http/", "<!doctype", "<html", "<head", "<?xml"}, func(p string) bool { return strings.HasPrefix(s, p) })
}

func isMail(b []byte) bool {
	return bytes.HasPrefix(b, []byte("220 ")) || bytes.HasPrefix(b, []byte("220-"))
}

// otherProtocol names some more that people meet when they mistake a port.
func otherProtocol(b []byte) string {
	for _, p := range []struct{ begins, name string }{
		{"* OK", "an IMAP server"},
		{"+OK", "a POP3 server"},
		{"-ERR", "a Redis server"},
		{"RFB 0", "a VNC server"},
		{"AMQP", "an AMQP server"},
		{"ERROR :", "an IRC server"},
	} {
		if bytes.HasPrefix(b, []byte(p.begins)) {
			return p.name
		}
	}
	if isMySQL(b) {
		return "a MySQL server"
	}
	return ""
}
