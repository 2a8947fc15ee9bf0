package setup

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/sshfp"
	"github.com/adit-ssh/adit/sshconfig"
)

// HostKeyOptions say how host keys are judged, besides the files.
type HostKeyOptions struct {
	CheckHostIP        bool // look the address up, too
	NoAuthForLocalhost bool // any key will do for loopback addresses
	FingerprintHash    string
	CASignatures       []string // of certificates; nil: all but SHA-1
	// KnownHostsCommand returns the program and its arguments whose output has
	// more lines. Nil means none.
	KnownHostsCommand func(sshconfig.KnownHostsArgs) ([]string, error)
	// UpdateHostKeys is yes or ask to follow what the server says that its keys
	// are. Empty means no.
	UpdateHostKeys string
	// VerifyHostKeyDNS is yes or ask to look for fingerprints in DNS. Empty means no.
	// Fingerprints asks for them; nil asks the system's name servers.
	VerifyHostKeyDNS string
	Fingerprints     func(ctx context.Context, host string) (sshfp.Answer, error)
	// Risks are what is not done with a server whose key is wrong, by OpenSSH's
	// names: Password authentication, Port forwarding. The caller leaves out
	// forwards when adit.Client.Unverified is true.
	Risks                []string
	ExitOnForwardFailure bool

	// Lifetime ends KnownHostsCommand and the questions about host keys when it
	// ends. Nil is never.
	Lifetime context.Context
}

func (o *HostKeyOptions) lifetime() context.Context {
	if o.Lifetime == nil {
		return context.Background()
	}
	return o.Lifetime
}

// Levels of what is said.
const (
	levelFatal   = "FATAL"
	levelError   = "ERROR"
	levelInfo    = "INFO"
	levelVerbose = "VERBOSE"
)

// say tells what people know from OpenSSH.
func (o *Options) say(level, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	switch {
	case o.Say != nil:
		o.Say(level, text)
	case level != levelVerbose:
		o.notice(text)
	}
}

// applyHostKeys takes over what a configuration says about host keys.
func (o *Options) applyHostKeys(c *sshconfig.Config) {
	o.CheckHostIP, o.NoAuthForLocalhost = c.CheckHostIP, c.NoHostAuthForLocalhost
	o.FingerprintHash, o.UpdateHostKeys = c.FingerprintHash, c.UpdateHostKeys
	o.CASignatures = c.CASignatureAlgorithms
	o.ExitOnForwardFailure = c.ExitOnForwardFailure
	if command := c.KnownHostsCommand; command != "" && !strings.EqualFold(command, "none") {
		o.KnownHostsCommand = c.ExpandKnownHostsCommand
	}
	o.VerifyHostKeyDNS = c.VerifyHostKeyDNS
	says := func(keyword string) bool {
		return slices.ContainsFunc(c.Values(), func(v sshconfig.Value) bool { return v.Keyword == keyword && v.Text != "no" && v.Text != "false" })
	}
	o.Risks = nil
	for _, r := range []struct {
		is   bool
		what string
	}{
		{c.PasswordAuthentication, "Password authentication"},
		{c.KbdInteractiveAuthentication, "Keyboard-interactive authentication"},
		{c.ForwardAgent != "" && c.ForwardAgent != "no", "Agent forwarding"},
		{says("ForwardX11"), "X11 forwarding"},
		{len(c.LocalForwards)+len(c.RemoteForwards) > 0, "Port forwarding"},
		{tunnels(c), "Tunnel forwarding"},
	} {
		if r.is {
			o.Risks = append(o.Risks, r.what)
		}
	}
}

// fingerprint is that of FingerprintHash, as OpenSSH writes it.
func (o *HostKeyOptions) fingerprint(key gossh.PublicKey) string {
	if cert, ok := key.(*gossh.Certificate); ok {
		key = cert.Key
	}
	b64 := base64.RawStdEncoding.EncodeToString
	blob := key.Marshal()
	switch hash := strings.ToUpper(o.FingerprintHash); hash {
	case "MD5":
		return "MD5:" + gossh.FingerprintLegacyMD5(key)
	case "SHA1":
		sum := sha1.Sum(blob)
		return "SHA1:" + b64(sum[:])
	case "SHA384":
		sum := sha512.Sum384(blob)
		return hash + ":" + b64(sum[:])
	case "SHA512":
		sum := sha512.Sum512(blob)
		return hash + ":" + b64(sum[:])
	}
	sum := sha256.Sum256(blob)
	return "SHA256:" + b64(sum[:])
}
