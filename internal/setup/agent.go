package setup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	gossh "golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/adit-ssh/adit"
)

// How long an agent may take. One that keeps a vault asks its person before it
// lists keys. To sign may take as long as the login: somebody may have to
// confirm, or to touch a token.
const (
	agentListLimit  = 30 * time.Second
	agentPatience   = 3 * time.Second // until the person is told
	agentOtherLimit = 30 * time.Second
)

// agentPath is the agent's socket (ssh_config: IdentityAgent); "" for none.
func (o *Options) agentPath() string {
	path := o.IdentityAgent
	if path == "" || path == "SSH_AUTH_SOCK" {
		path = os.Getenv("SSH_AUTH_SOCK")
	}
	if path == "none" {
		return ""
	}
	return Expand(path)
}

// agentKeys lists the agent's keys. An agent that does not answer is left out in
// the end: there may be keys in files.
func (o *Options) agentKeys(ctx context.Context) ([]adit.Key, error) {
	path := o.agentPath()
	if path == "" {
		return nil, nil
	}
	a := agentSocket(path)
	limited, cancel := context.WithTimeoutCause(ctx, agentListLimit, fmt.Errorf("no answer for %v; go without it: -o IdentityAgent=none", agentListLimit))
	defer cancel()
	slow := time.AfterFunc(agentPatience, func() { o.notice(fmt.Sprintf("waiting for the agent %s to list its keys", path)) })
	defer slow.Stop()
	var listed []*agent.Key
	err := a.ask(limited, func(c agent.ExtendedAgent) (err error) {
		listed, err = c.List()
		return err
	})
	if err != nil {
		return nil, err
	}
	var keys []adit.Key
	for _, l := range listed {
		public, err := gossh.ParsePublicKey(l.Blob)
		if err != nil {
			continue // of a type that x/crypto does not know
		}
		name := printable(l.Comment)
		keys = append(keys, adit.Key{Signer: &agentSigner{o, a, public, name}, Comment: "agent key " + name, Probe: true})
	}
	return keys, nil
}

// agentSocket is the path of an agent's socket. Each question has a connection
// of its own, which is closed when it is answered: a login asks once or twice,
// and nobody would be there to close one that stays.
type agentSocket string

// ask connects, runs question, and closes the connection. ctx bounds all of it.
func (a agentSocket) ask(ctx context.Context, question func(agent.ExtendedAgent) error) error {
	var d net.Dialer
	nc, err := d.DialContext(ctx, "unix", string(a))
	if err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	defer nc.Close()
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	defer stop()
	if err := question(agent.NewClient(nc)); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return fmt.Errorf("agent %s: %w", a, err)
	}
	return nil
}

// agentSigner is a key that the agent holds.
type agentSigner struct {
	o       *Options
	agent   agentSocket
	public  gossh.PublicKey
	comment string // printable
}

// PublicKey implements gossh.Signer.
func (s *agentSigner) PublicKey() gossh.PublicKey { return s.public }

// Sign implements gossh.Signer.
func (s *agentSigner) Sign(_ io.Reader, data []byte) (*gossh.Signature, error) {
	return s.SignContext(context.Background(), data, "")
}

// SignWithAlgorithm implements gossh.AlgorithmSigner.
func (s *agentSigner) SignWithAlgorithm(_ io.Reader, data []byte, algorithm string) (*gossh.Signature, error) {
	return s.SignContext(context.Background(), data, algorithm)
}

// SignContext waits for the agent, which may ask a person, within ctx. Only RSA
// keys have a choice of algorithm (draft-ietf-sshm-ssh-agent, "Signature flags");
// whoever asked compares the signature's name with what it wants.
func (s *agentSigner) SignContext(ctx context.Context, data []byte, algorithm string) (sig *gossh.Signature, err error) {
	var flags agent.SignatureFlags
	switch algorithm {
	case gossh.KeyAlgoRSASHA256:
		flags = agent.SignatureFlagRsaSha256
	case gossh.KeyAlgoRSASHA512:
		flags = agent.SignatureFlagRsaSha512
	}
	err = s.agent.ask(ctx, func(c agent.ExtendedAgent) (err error) {
		sig, err = c.SignWithFlags(s.public, data, flags)
		return err
	})
	if err != nil && ctx.Err() == nil {
		s.o.notice(fmt.Sprintf("warning: signing failed for %s %q from agent: %v", s.public.Type(), s.comment, refusal(err)))
	}
	return sig, err
}

// refusal has OpenSSH's words for an agent that does not sign.
func refusal(err error) error {
	if strings.HasSuffix(err.Error(), "agent: failed to sign challenge") {
		return errors.New("agent refused operation")
	}
	return err
}
