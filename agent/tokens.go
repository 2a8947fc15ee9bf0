package agent

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/wildcard"
)

// DefaultProviders are the libraries that are loaded when Tokens.Providers is empty
// (OpenSSH, ssh-agent.c, DEFAULT_ALLOWED_PROVIDERS).
const DefaultProviders = "/usr/lib*/*,/usr/local/lib*/*"

// Tokens lets a Keyring use keys whose private half is in a device: security keys
// (FIDO), and PKCS#11 tokens. The libraries that know the devices, providers, are
// loaded by OpenSSH's ssh-sk-helper and ssh-pkcs11-helper, never by us: where these
// are not installed, such keys are refused. It belongs to one Keyring, and must not
// be copied after its first use.
//
// Its functions may be called by several goroutines at once; a nil one asks and
// tells nobody.
type Tokens struct {
	// Immutable.

	// Providers are patterns of * and ?, separated by commas, one of which a
	// library's path must match, links resolved; one that begins with ! excludes
	// (ssh-agent -P). "" is DefaultProviders.
	Providers string
	// Remote lets providers be added over a forwarded connection, too, whoever is at
	// its other end (ssh-agent -O allow-remote-pkcs11).
	Remote bool
	// AnySignature lets security keys that are not for ssh, but for the web, sign
	// anything. Else they sign logins and SSHSIG only (ssh-agent -O
	// no-restrict-websafe).
	AnySignature bool
	// WebSafe are patterns like Providers, of applications for which AnySignature
	// holds (ssh-agent -O websafe-allow).
	WebSafe string
	// SKHelper and PKCS11Helper are the helpers' paths; "" is where systems have
	// them.
	SKHelper, PKCS11Helper string
	// Touch tells a person that a security key waits to be touched. done is called
	// when it does not any more.
	Touch func(c Confirmation) (done func())
	// PIN asks a person for a security key's PIN. touch says that the key wants to be
	// touched then, which is not told again. ctx ends when the one who wants the
	// signature has gone. ok is false when there is no answer.
	PIN func(ctx context.Context, c Confirmation, touch bool) (pin string, ok bool)

	limit time.Duration // helperLimit, but for tests

	once sync.Once
	sk   chan struct{} // holds one token while no security key is asked
	adds chan struct{} // holds one token while no provider is added
	kind helperKind    // of the PKCS#11 helper; owned by who has adds
}

var (
	errNoTokens = errors.New("this agent holds no keys of security keys and tokens")
	errRemote   = errors.New("a library is not loaded for who is at another host")
)

func (t *Tokens) init() {
	t.once.Do(func() {
		t.sk, t.adds = make(chan struct{}, 1), make(chan struct{}, 1)
		t.sk <- struct{}{}
		t.adds <- struct{}{}
	})
}

// take waits for a turn, which the returned function gives back.
func take(ctx context.Context, turn chan struct{}) (back func(), err error) {
	select {
	case <-turn:
		return func() { turn <- struct{}{} }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (t *Tokens) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	limit := helperLimit
	if t.limit > 0 {
		limit = t.limit
	}
	return context.WithTimeoutCause(ctx, limit, fmt.Errorf("no answer for %v", limit))
}

// provider returns a library's path, links resolved, if it may be loaded.
func (t *Tokens) provider(path string, remote bool) (string, error) {
	if remote && !t.Remote {
		return "", errRemote
	}
	real, err := realPath(path)
	if err != nil {
		return "", err
	}
	allowed := t.Providers
	if allowed == "" {
		allowed = DefaultProviders
	}
	if !matchesOne(allowed, real) {
		return "", fmt.Errorf("provider %.256q is none of those allowed: %s", real, allowed)
	}
	return real, nil
}

// realPath is a library's path, links resolved.
func realPath(path string) (string, error) {
	real, err := filepath.EvalSymlinks(path)
	if err == nil {
		real, err = filepath.Abs(real)
	}
	if err != nil {
		return "", fmt.Errorf("provider: %w", err)
	}
	return real, nil
}

// matchesOne says whether a text has the form of one of several patterns, separated
// by commas, and none of one that begins with ! (OpenSSH, match.c,
// match_pattern_list).
func matchesOne(patterns, text string) bool {
	found := false
	for p := range strings.SplitSeq(patterns, ",") {
		p, not := strings.CutPrefix(p, "!")
		if !wildcard.Match(p, text) {
			continue
		}
		if not {
			return false
		}
		found = true
	}
	return found
}

// bare returns the key that a certificate is of, or the key itself.
func bare(key gossh.PublicKey) gossh.PublicKey {
	if cert, ok := key.(*gossh.Certificate); ok {
		return cert.Key
	}
	return key
}
