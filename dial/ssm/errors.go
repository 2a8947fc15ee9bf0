package ssm

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"
	"sync"
	"unicode"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/ssocreds"
	"github.com/aws/smithy-go"

	"github.com/adit-ssh/adit/internal/ssmsession"
)

// Error is what did not go well with Session Manager.
type Error struct {
	// Stage is what was being done: an API action, or what a person would call it.
	Stage string
	// Target is what the caller asked for; "" if it is not about one.
	Target string
	Err    error

	profile string
	node    *Node // what is known of the target
}

func (s *Service) fail(stage, target string, err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Stage: stage, Target: target, Err: err, profile: s.profile()}
}

// Error says what failed, for a person: the texts of AWS's library are cut to
// what AWS said.
func (e *Error) Error() string {
	at := e.Stage
	if e.Target != "" {
		at += " " + printable(e.Target)
	}
	return at + ": " + e.reason()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

func (e *Error) reason() string {
	if refusedWith(e.Err, "TargetNotConnected") {
		if e.node != nil && e.node.Status != "" {
			return fmt.Sprintf("the node's agent is not connected (%s, last seen %s)", e.node.Status, e.node.seen())
		}
		return "the node's agent is not connected"
	}
	if e.expiredLogin() {
		return "the login at AWS (SSO) has expired"
	}
	if api, ok := errors.AsType[smithy.APIError](e.Err); ok {
		return printable(api.ErrorCode() + ": " + api.ErrorMessage())
	}
	if dns, ok := errors.AsType[*net.DNSError](e.Err); ok {
		return fmt.Sprintf("look up %s: %s", dns.Name, dns.Err)
	}
	if noCredentials(e.Err) {
		return "there are no AWS credentials"
	}
	return printable(e.Err.Error())
}

// denied finds the action in AWS's text about a missing permission.
var denied = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`not authorized to perform: ([a-z0-9-]+:[A-Za-z]+)`)
})

// Hint says what might help, in one line for a person; "" if nothing is known.
func (e *Error) Hint() string {
	if e.expiredLogin() {
		return strings.TrimSpace("log in again: aws sso login " + e.withProfile())
	}
	if refusedWith(e.Err, "TargetNotConnected") {
		return "is the instance running in this region and account, with amazon-ssm-agent and a role that has AmazonSSMManagedInstanceCore? adit ssm ls lists the nodes"
	}
	if api, ok := errors.AsType[smithy.APIError](e.Err); ok {
		if m := denied().FindStringSubmatch(api.ErrorMessage()); m != nil {
			return "the IAM policy must allow " + m[1] + " on that resource"
		}
		switch code := api.ErrorCode(); {
		case strings.HasPrefix(code, "AccessDenied"), code == "AuthException":
			if _, ok := errors.AsType[*credentialsError](e.Err); ok {
				return "the credentials that the profile starts from may not have that role: look at role_arn and its trust policy"
			}
			return "the IAM policy must allow " + e.Stage
		case code == "InvalidSignatureException" && strings.Contains(api.ErrorMessage(), "Signature expired"),
			code == "InvalidSignatureException" && strings.Contains(api.ErrorMessage(), "not yet current"), code == "RequestTimeTooSkewed":
			return "is this machine's clock right?"
		case strings.HasPrefix(code, "ExpiredToken"), code == "RequestExpired":
			return "the credentials have expired: get new ones; is this machine's clock right?"
		case code == "UnrecognizedClientException", code == "InvalidClientTokenId", code == "InvalidSignatureException", code == "SignatureDoesNotMatch":
			return "AWS does not know the credentials: check --profile, and AWS_ACCESS_KEY_ID in the environment, which goes before"
		case code == "InvalidDocument":
			return "AWS-StartSSHSession is the usual one; own documents are per region and account"
		case strings.Contains(code, "Throttl"):
			return "too many requests at once in this account: try again in a moment"
		case strings.HasPrefix(code, "HTTP status"):
			return "that was not AWS: is there a proxy in between (HTTPS_PROXY), or another program behind the endpoint?"
		}
		if hint := pushHints[api.ErrorCode()]; hint != "" {
			return hint
		}
	}
	if refused, ok := errors.AsType[*upgradeRefused](e.Err); ok {
		if refused.status == 403 {
			return "the IAM policy must allow ssmmessages:OpenDataChannel on the session"
		}
		return "is there a proxy in between that does not do WebSockets?"
	}
	switch _, missing := errors.AsType[*aws.MissingRegionError](e.Err); {
	case missing:
		return "say which region: --region, AWS_REGION, or region = … in ~/.aws/config"
	case errors.Is(e.Err, errForeignStream):
		return "--endpoint-ssmmessages says where data channels are, if AWS's own host is not to be used"
	case noCredentials(e.Err):
		return "choose a profile with --profile or AWS_PROFILE; aws configure or aws configure sso makes one"
	}
	if _, ok := errors.AsType[config.SharedConfigProfileNotExistError](e.Err); ok {
		return "aws configure list-profiles shows those that there are"
	}
	if _, ok := errors.AsType[*net.DNSError](e.Err); ok {
		return "is the region's name right, and the network up? In a private network it takes VPC endpoints for ssm and ssmmessages"
	}
	if _, ok := errors.AsType[*AmbiguousError](e.Err); ok {
		return "say one of them by its id"
	}
	if _, ok := errors.AsType[*NotFoundError](e.Err); ok {
		return "adit ssm ls lists the nodes of this region and account"
	}
	if _, ok := errors.AsType[*OfflineError](e.Err); ok {
		return "is the instance running, with amazon-ssm-agent and a way to the ssm and ssmmessages endpoints?"
	}
	if _, ok := errors.AsType[config.AssumeRoleTokenProviderNotSetError](e.Err); ok {
		return strings.TrimSpace("the role wants a code (MFA), which is not asked for here. With AWS's command: eval \"$(aws configure export-credentials --format env "+e.withProfile()) + ")\""
	}
	if errors.Is(e.Err, errNoInstance) {
		return "--push-key ssm works for hybrid nodes too"
	}
	if e, ok := errors.AsType[*commandError](e.Err); ok && e.run.ResponseCode == noSuchUser {
		return "images have ec2-user, ubuntu, admin or another: say it before the @, or with --user"
	}
	if e, ok := errors.AsType[*ssmsession.ClosedError](e.Err); ok && strings.Contains(e.Output, "ipc messaging") {
		return "AWS's agent says that when nothing listens on the port"
	}
	return ""
}

func (e *Error) withProfile() string {
	if e.profile == "" {
		return ""
	}
	return "--profile " + printable(e.profile)
}

// expiredLogin reports whether a login by a browser has to be renewed.
func (e *Error) expiredLogin() bool {
	if _, ok := errors.AsType[*ssocreds.InvalidTokenError](e.Err); ok {
		return true
	}
	text := e.Err.Error()
	return strings.Contains(text, "InvalidGrantException") || strings.Contains(text, "cached SSO token") ||
		strings.Contains(text, "SSO session has expired")
}

func noCredentials(err error) bool {
	text := err.Error()
	return strings.Contains(text, "no EC2 IMDS role found") || strings.Contains(text, "failed to retrieve credentials")
}

// printable makes a text from elsewhere one line for a terminal.
func printable(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case !unicode.IsPrint(r):
			return '?'
		}
		return r
	}, s))
}
