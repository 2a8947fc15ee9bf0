//go:build unix

package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"

	gossh "golang.org/x/crypto/ssh"
	"golang.org/x/term"

	"github.com/adit-ssh/adit/agent"
)

// tokenArgs are the flags for keys in devices.
type tokenArgs struct {
	providers    string // -P
	remote       bool   // -O allow-remote-pkcs11
	anySignature bool   // -O no-restrict-websafe
	webSafe      string // -O websafe-allow=
}

// option takes a value of -O. It returns false for one that is not known.
func (d *tokenArgs) option(value string) bool {
	if patterns, ok := strings.CutPrefix(value, "websafe-allow="); ok {
		d.webSafe = patterns
		return true
	}
	switch value {
	case "no-restrict-websafe":
		d.anySignature = true
	case "allow-remote-pkcs11":
		d.remote = true
	default:
		return false
	}
	return true
}

// args are the flags once more, for the agent in the background.
func (d *tokenArgs) args() (args []string) {
	if d.providers != "" {
		args = append(args, "-P", d.providers)
	}
	if d.remote {
		args = append(args, "-O", "allow-remote-pkcs11")
	}
	if d.anySignature {
		args = append(args, "-O", "no-restrict-websafe")
	}
	if d.webSafe != "" {
		args = append(args, "-O", "websafe-allow="+d.webSafe)
	}
	return args
}

// tokens is how the agent uses keys in devices (ssh-agent(1), -O, -P and
// SSH_PKCS11_HELPER; ssh-add(1), SSH_SK_HELPER).
func (a *agentArgs) tokens() *agent.Tokens {
	return &agent.Tokens{
		Providers:    a.devices.providers,
		Remote:       a.devices.remote,
		AnySignature: a.devices.anySignature,
		WebSafe:      a.devices.webSafe,
		SKHelper:     os.Getenv("SSH_SK_HELPER"),
		PKCS11Helper: os.Getenv("SSH_PKCS11_HELPER"),
		Touch:        a.touch,
		PIN:          a.pin,
	}
}

// touch asks a person to touch a security key: on our terminal, or through
// SSH_ASKPASS, which is ended when the key was touched (OpenSSH, readpass.c,
// notify_start).
func (a *agentArgs) touch(c agent.Confirmation) (done func()) {
	text := fmt.Sprintf("Confirm user presence for key %s %s", securityKeyType(c.Key), a.fingerprint(c.Key)) + a.purpose(c)
	if term.IsTerminal(int(os.Stderr.Fd())) {
		fmt.Fprintf(os.Stderr, "\r%s\r\n", text)
		return func() {}
	}
	if _, may := askpassRules(os.Getenv); !may {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var asking sync.WaitGroup
	asking.Go(func() { askpass(ctx, text, "SSH_ASKPASS_PROMPT=none") })
	return func() {
		cancel()
		asking.Wait()
	}
}

// pin asks a person for a security key's PIN.
func (a *agentArgs) pin(ctx context.Context, c agent.Confirmation, touch bool) (string, bool) {
	if _, may := askpassRules(os.Getenv); !may {
		return "", false
	}
	and := ""
	if touch {
		and = "and confirm user presence "
	}
	answer, ok, err := askpass(ctx, fmt.Sprintf("Enter PIN %sfor %s key %s: ", and, securityKeyType(c.Key), a.fingerprint(c.Key)))
	return answer, err == nil && ok
}

// securityKeyType is how OpenSSH calls a type (sshkey.c, sshkey_type).
func securityKeyType(key gossh.PublicKey) string {
	name := strings.ToUpper(strings.Split(key.Type(), "-")[1]) // sk-TYPE-…
	if name == "SSH" {
		name = "ED25519"
	}
	name += "-SK"
	if _, ok := key.(*gossh.Certificate); ok {
		name += "-CERT"
	}
	return name
}
