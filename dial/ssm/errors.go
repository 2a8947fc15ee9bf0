package ssm

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"syscall"
	"unicode"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/ssocreds"
	"github.com/aws/smithy-go"
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
	if e.noLogin() {
		return "there is no login at AWS, or it has expired"
	}
	if noCredentials(e.Err) {
		return "there are no AWS credentials"
	}
	if _, ok := errors.AsType[config.AssumeRoleTokenProviderNotSetError](e.Err); ok {
		return "the profile's role wants a code (MFA)"
	}
	return withoutSecrets(operation(e.Err) + e.cause())
}

// withoutSecrets cuts out what AWS's library quotes: all that a credential_process has
// printed.
func withoutSecrets(text string) string {
	before, rest, found := strings.Cut(text, "parse failed of process output: ")
	if !found {
		return text
	}
	why := ""
	if i := strings.LastIndex(rest, ", error: "); i >= 0 {
		why = ": " + rest[i+len(", error: "):]
	}
	return before + "what the credential_process prints is not as it should be" + why
}

// operation names what the library was doing for credentials, such as STS AssumeRole,
// with a colon; "" for calls of ours.
func operation(err error) string {
	if op, ok := errors.AsType[*smithy.OperationError](err); ok {
		return op.Service() + " " + op.Operation() + ": "
	}
	return ""
}

// cause is what went wrong, without the library's words around it.
func (e *Error) cause() string {
	if api, ok := errors.AsType[smithy.APIError](e.Err); ok {
		return printable(api.ErrorCode() + ": " + api.ErrorMessage())
	}
	if dns, ok := errors.AsType[*net.DNSError](e.Err); ok {
		return fmt.Sprintf("look up %s: %s", dns.Name, dns.Err)
	}
	if text := unreached(e.Err); text != "" {
		return text
	}
	if own, ok := errors.AsType[*credentialsError](e.Err); ok {
		return "no credentials: " + printable(strings.TrimPrefix(own.err.Error(), "failed to refresh cached credentials, "))
	}
	return printable(e.Err.Error())
}

// unreached says which server a request did not reach, and why; "" for other errors.
func unreached(err error) string {
	request, ok := errors.AsType[*url.Error](err)
	if !ok {
		return ""
	}
	why := request.Err
	if errno, ok := errors.AsType[syscall.Errno](why); ok {
		why = errno
	}
	op, ok := errors.AsType[*net.OpError](request.Err)
	switch {
	case ok && op.Op == "proxyconnect":
		return printable("connect to the proxy: " + why.Error())
	case ok && op.Op == "dial" && op.Addr != nil:
		return printable(fmt.Sprintf("connect to %s: %v", op.Addr, why))
	}
	host := ""
	if u, err := url.Parse(request.URL); err == nil {
		host = u.Host
	}
	return printable(fmt.Sprintf("ask %s: %v", host, why))
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

// noLogin is expiredLogin for what `aws login` leaves.
func (e *Error) noLogin() bool { return strings.Contains(e.Err.Error(), "please reauthenticate") }

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
