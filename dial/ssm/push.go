package ssm

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
)

// Ways of Push.
const (
	// PushEIC is EC2 Instance Connect: AWS tells an instance that has its package
	// (Amazon Linux, Ubuntu) to take the key. It takes the permission
	// ec2-instance-connect:SendSSHPublicKey.
	PushEIC = "eic"
	// PushSSM is Run Command: a script that root runs on the node puts the key into
	// the user's ~/.ssh/authorized_keys and removes it again. It takes
	// ssm:SendCommand and ssm:GetCommandInvocation, and so as much as being root.
	PushSSM = "ssm"
	// PushAuto is the first, or the second where the first is refused.
	PushAuto = "auto"
)

// PushLife is how long a pushed key lets in.
const PushLife = time.Minute

// Push is a key that is to be let in for PushLife.
type Push struct {
	Target string // see Service.Find
	User   string // of the operating system
	Key    string // as in authorized_keys: its type and its base64, no more
	Way    string // PushEIC, PushSSM or PushAuto
}

// Pushed is a key that is let in.
type Pushed struct {
	// Way is PushEIC or PushSSM.
	Way string

	service  *Service
	push     Push
	id, mark string
	at       time.Time
}

// Push lets a key log in at a node for PushLife. It returns once the node knows. With
// Run Command that takes seconds.
func (s *Service) Push(ctx context.Context, p Push) (*Pushed, error) {
	if err := p.check(); err != nil {
		return nil, s.fail("key for", p.Target, err)
	}
	id, err := s.Find(ctx, p.Target)
	if err != nil {
		return nil, err
	}
	pushed := &Pushed{service: s, push: p, id: id, mark: "adit-" + rand.Text(), at: time.Now()}
	switch {
	case p.Way == PushEIC:
		err = pushed.byEIC(ctx)
	case p.Way == PushSSM || !strings.HasPrefix(id, "i-"): // the other one knows only instances
		err = pushed.byCommand(ctx)
	default:
		if err = pushed.byEIC(ctx); err == nil || ctx.Err() != nil {
			break
		}
		if second := pushed.byCommand(ctx); second != nil {
			err = &bothWaysError{err, second}
		} else {
			err = nil
		}
	}
	if err != nil {
		return nil, err
	}
	return pushed, nil
}

// Remove takes the key back, if that has not happened by itself. EC2 Instance Connect
// has nothing for it.
func (p *Pushed) Remove(ctx context.Context) error {
	if p.Way != PushSSM || time.Since(p.at) > PushLife {
		return nil
	}
	_, err := p.send(ctx, "remove")
	return p.service.fail("ssm:SendCommand", p.push.Target, err)
}

// osUser reports whether an operating system may have a user of that name, AD\user
// included. What means something to a shell or to SSM ({{…}}) is in none.
func osUser(name string) bool {
	name = strings.TrimSuffix(name, "$")
	return name != "" && len(name) <= 128 && name[0] != '-' && name[0] != '+' && !strings.ContainsFunc(name, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune(`_.@+\-`, r)
	})
}

// keyLine reports whether s is a public key's type and base64.
func keyLine(s string) bool {
	name, blob, ok := strings.Cut(s, " ")
	outside := func(allowed string) func(rune) bool {
		return func(r rune) bool {
			return !(r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || strings.ContainsRune(allowed, r))
		}
	}
	return ok && name != "" && blob != "" && !strings.ContainsFunc(name, outside("@.-")) && !strings.ContainsFunc(blob, outside("+/="))
}

func (p *Push) check() error {
	switch {
	case p.Way != PushEIC && p.Way != PushSSM && p.Way != PushAuto:
		return fmt.Errorf("%q is no way to push a key: %s, %s or %s is due", p.Way, PushEIC, PushSSM, PushAuto)
	case !osUser(p.User):
		return fmt.Errorf("%q is no user's name", p.User)
	case !keyLine(p.Key):
		return errors.New("that is no public key")
	}
	return nil
}

var instanceConnect = &awsService{id: "EC2 Instance Connect", host: "ec2-instance-connect", target: "AWSEC2InstanceConnectService"}

func (p *Pushed) byEIC(ctx context.Context) error {
	const action = "ec2-instance-connect:SendSSHPublicKey"
	s := p.service
	if !strings.HasPrefix(p.id, "i-") {
		return s.fail(action, p.push.Target, errNoInstance)
	}
	api, err := s.newCaller(instanceConnect, "")
	if err == nil {
		var out struct{ Success bool }
		err = api.call(ctx, "SendSSHPublicKey", &sendKey{InstanceID: p.id, InstanceOSUser: p.push.User, SSHPublicKey: p.push.Key}, &out)
		if err == nil && !out.Success {
			err = errors.New("AWS says neither yes nor why not")
		}
	}
	p.Way = PushEIC
	return s.fail(action, p.push.Target, err)
}

var errNoInstance = errors.New("EC2 Instance Connect is for instances (i-…) alone")

// bothWaysError is why neither way of PushAuto led anywhere.
type bothWaysError struct{ first, second error }

func (e *bothWaysError) Error() string   { return e.first.Error() + "; " + e.second.Error() }
func (e *bothWaysError) Unwrap() []error { return []error{e.first, e.second} }

// Hint has both hints.
func (e *bothWaysError) Hint() string {
	var hints []string
	for _, err := range []error{e.first, e.second} {
		if known, ok := errors.AsType[*Error](err); ok && known.Hint() != "" {
			hints = append(hints, known.Hint())
		}
	}
	return strings.Join(hints, "; or ")
}

// sendKey is of EC2 Instance Connect (API reference, 2018-04-02).
type sendKey struct {
	InstanceID     string `json:"InstanceId"`
	InstanceOSUser string
	SSHPublicKey   string
}

// pushHints are what to do about errors of SendSSHPublicKey and SendCommand.
var pushHints = map[string]string{
	"InvalidArgsException":             "EC2 Instance Connect takes keys of the types ssh-rsa and ssh-ed25519 and plain names of users; --push-key ssm takes all",
	"EC2InstanceNotFoundException":     "is it in this region and account? --push-key ssm takes all nodes",
	"EC2InstanceTypeInvalidException":  "--push-key ssm does without EC2 Instance Connect",
	"EC2InstanceStateInvalidException": "is the instance running?",
	"EC2InstanceUnavailableException":  "try again in some minutes, or --push-key ssm",
	"InvalidInstanceId":                "is it online? adit ssm ls shows",
	"UnsupportedPlatformType":          "Run Command can push keys to Linux only",
}
