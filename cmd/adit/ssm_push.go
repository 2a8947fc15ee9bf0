package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/pflag"
	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/dial/ssm"
	"github.com/adit-ssh/adit/internal/setup"
)

// keyPush is --push-key of `adit ssm`: the client's own key is let in.
type keyPush struct {
	way, user, identity string
	key                 string // identity's public key, as in authorized_keys
}

func (k *keyPush) flags(f *pflag.FlagSet) {
	f.StringVar(&k.way, "push-key", "off", "let --identity log in as --user for a minute: eic, ssm, auto or off")
	f.StringVar(&k.user, "user", "", "with --push-key: the user on the node, such as %r")
	f.StringVar(&k.identity, "identity", "", "with --push-key: the key that the SSH client uses, a private or a public one's file")
}

// check reads the key.
func (k *keyPush) check(listening bool) (err error) {
	switch {
	case k.way == "off" && k.user+k.identity != "":
		return errors.New("--user and --identity go with --push-key")
	case k.way == "off":
		return nil
	case listening:
		return errors.New("--push-key is for SSH clients: it does not go with --local")
	}
	if err := pushWay(k.way); err != nil {
		return err
	}
	if k.user == "" || k.identity == "" {
		return errors.New("--push-key goes with --user and --identity: adit ssm --push-key " + k.way + " --user %r --identity ~/.ssh/id_ed25519 %h %p")
	}
	k.key, err = publicLine(setup.Expand(k.identity))
	return err
}

func pushWay(way string) error {
	if way != ssm.PushEIC && way != ssm.PushSSM && way != ssm.PushAuto {
		return fmt.Errorf("bad --push-key %q: eic, ssm, auto or off is due", way)
	}
	return nil
}

// publicLine is the public key of a file that has it, or of a private key's: the one
// beside it, or what can be read of it without its passphrase.
func publicLine(file string) (string, error) {
	var key gossh.PublicKey
	text, err := os.ReadFile(file)
	if err == nil {
		if key = parsePublic(text); key == nil {
			if beside, readErr := os.ReadFile(file + ".pub"); readErr == nil {
				key = parsePublic(beside)
			}
		}
	}
	if err == nil && key == nil {
		var signer gossh.Signer
		signer, err = gossh.ParsePrivateKey(text)
		if locked, ok := errors.AsType[*gossh.PassphraseMissingError](err); ok && locked.PublicKey != nil {
			key, err = locked.PublicKey, nil
		} else if err == nil {
			key = signer.PublicKey()
		} else {
			err = errors.New("it has no public key, and there is no " + file + ".pub")
		}
	}
	if err != nil {
		return "", fmt.Errorf("--identity %s: %w", file, err)
	}
	return authorizedLine(key), nil
}

func parsePublic(text []byte) gossh.PublicKey {
	key, _, options, rest, err := gossh.ParseAuthorizedKey(text)
	if err != nil || len(options) > 0 || len(bytes.TrimSpace(rest)) > 0 {
		return nil
	}
	return key
}

// authorizedLine is a key as in authorized_keys, without a comment.
func authorizedLine(key gossh.PublicKey) string {
	return strings.TrimSpace(string(gossh.MarshalAuthorizedKey(key)))
}

// dial makes the session, and lets the key in once that stands.
func (a *ssmArgs) dial(ctx context.Context) (net.Conn, error) {
	s, err := ssm.Load(ctx, a.config)
	if err != nil {
		return nil, err
	}
	a.service.Store(s)
	c, err := s.Dial(ctx, a.options)
	if err != nil || a.push.way == "off" {
		return c, err
	}
	pushed, err := s.Push(ctx, ssm.Push{Target: a.options.Target, User: a.push.user, Key: a.push.key, Way: a.push.way})
	if err != nil {
		c.Close()
		return nil, err
	}
	return &pushedConn{Conn: c, pushed: pushed}, nil
}

// removeTimeout is how long it may take to tell a node that a key is to go. The node
// removes it by itself when its minute is over.
const removeTimeout = time.Second

// pushedConn takes its key back when it is closed early.
type pushedConn struct {
	net.Conn
	pushed *ssm.Pushed
	once   sync.Once
}

// Close implements net.Conn.
func (c *pushedConn) Close() error {
	var removing sync.WaitGroup
	c.once.Do(func() {
		removing.Go(func() { // beside the end of the session, which takes its time too
			ctx, cancel := context.WithTimeout(context.Background(), removeTimeout)
			defer cancel()
			c.pushed.Remove(ctx)
		})
	})
	err := c.Conn.Close()
	removing.Wait()
	return err
}

// pushing is --push-key of `adit ssh`: a key made for this login is let in when it is
// its turn. Nil asks for nothing.
type pushing struct {
	way    string
	args   *ssmArgs // of the connection
	user   string
	mu     sync.Mutex
	pushed []*ssm.Pushed // guarded by mu
	failed []string      // guarded by mu: what might help where a push did not succeed
	passes bool          // guarded by mu: another login may do better than the last one
}

// pushKey reads --push-key. The first one wins, as for all options.
func (a *sshArgs) pushKey(way string) error {
	if way == "off" || a.pushing != nil {
		return nil
	}
	a.pushing = &pushing{way: way}
	return pushWay(way)
}

// goes remembers whose session the connection is.
func (p *pushing) goes(by *ssmArgs) {
	if p != nil && p.args == nil {
		p.args = by
	}
}

var errNothingToPush = &usageError{"ssh", errors.New("--push-key is for nodes of AWS Session Manager: ssm://[USER@]TARGET, or a host with ProxyCommand adit ssm %h %p")}

// prepare puts the key before all others. Under PushAuto there is one for each way, so
// that the second is tried where a node knows nothing of the first.
func (p *pushing) prepare(cfg *adit.Config, user string) error {
	if p == nil {
		return nil
	}
	if p.args == nil {
		return errNothingToPush
	}
	p.user = user
	ways := []string{p.way}
	if p.way == ssm.PushAuto {
		ways = []string{ssm.PushEIC, ssm.PushSSM}
	}
	others := cfg.Keys
	cfg.Keys = func(ctx context.Context) (keys []adit.Key, err error) {
		for _, way := range ways {
			keys = append(keys, adit.Key{Comment: pushedBy[way], Open: func(ctx context.Context) (gossh.Signer, error) { return p.open(ctx, way) }})
		}
		if others == nil {
			return keys, nil
		}
		more, err := others(ctx)
		return append(keys, more...), err
	}
	return nil
}

// again is prepare for one more connection of a pool, which has a key of its own.
func (p *pushing) again(cfg *adit.Config) error {
	if p == nil {
		return nil
	}
	return p.prepare(cfg, p.user)
}

// pushedBy names pushed keys in messages.
var pushedBy = map[string]string{ssm.PushEIC: "key by EC2 Instance Connect", ssm.PushSSM: "key by Run Command"}

// explain adds to the error of a login what pushing has to do with it.
func (p *pushing) explain(err error) error {
	e, ok := errors.AsType[*adit.AuthError](err)
	if p == nil || !ok {
		return err
	}
	tried := func(way string) bool {
		return slices.ContainsFunc(e.Tried, func(t string) bool { return strings.Contains(t, pushedBy[way]) })
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case tried(ssm.PushSSM):
		return &pushError{err, "the key was in the user's ~/.ssh/authorized_keys, but the server did not take it: AuthorizedKeysFile there names another file, or its sshd does not let that user in"}
	case len(p.failed) > 0:
		return &pushError{err, strings.Join(p.failed, "; or ")}
	case tried(ssm.PushEIC):
		return &pushError{err, "AWS took the key, the server did not: is this the right user, and the package ec2-instance-connect installed there? --push-key ssm does without it"}
	}
	return err
}

// pushError is a login that did not succeed with a pushed key.
type pushError struct {
	error
	hint string
}

func (e *pushError) Unwrap() error { return e.error }

// open makes a key, in memory only, and lets it in.
func (p *pushing) open(ctx context.Context, way string) (gossh.Signer, error) {
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	signer, err := gossh.NewSignerFromKey(private)
	if err != nil {
		return nil, err
	}
	s := p.args.service.Load() // so that nobody is asked for credentials twice
	if s == nil {
		return nil, errors.New("there is no session")
	}
	pushed, err := s.Push(ctx, ssm.Push{Target: p.args.options.Target, User: p.user, Key: authorizedLine(signer.PublicKey()), Way: way})
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		if h := hint(err); h != "" {
			p.failed = append(p.failed, h)
		}
		p.passes = p.passes || ssm.Temporary(err)
		return nil, err
	}
	p.passes = true // what the server says of the key is another matter
	p.pushed = append(p.pushed, pushed)
	return signer, nil
}

// mayPass reports whether a login that was refused may be let in at another time: the push
// was not refused for good. It begins anew.
func (p *pushing) mayPass() bool {
	if p == nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	passes := p.passes
	p.passes = false
	return passes
}

// remove begins to take the keys back: the login is over, well or not. It returns what
// waits for that.
func (p *pushing) remove(ctx context.Context) (wait func()) {
	if p == nil {
		return func() {}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var removing sync.WaitGroup
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTimeout)
	for _, pushed := range p.pushed {
		removing.Go(func() { pushed.Remove(ctx) })
	}
	p.pushed = nil
	return func() {
		removing.Wait()
		cancel()
	}
}
