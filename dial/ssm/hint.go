package ssm

import (
	"crypto/tls"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/smithy-go"

	"github.com/adit-ssh/adit/internal/ssmsession"
)

// denied finds the action in AWS's text about a missing permission.
var denied = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`not authorized to perform: ([a-z0-9-]+:[A-Za-z]+)`)
})

// Hint says what might help, in one line for a person; "" if nothing is known.
func (e *Error) Hint() string {
	if e.expiredLogin() {
		return strings.TrimSpace("log in again: aws sso login " + e.withProfile())
	}
	if e.noLogin() {
		return strings.TrimSpace("log in: aws login " + e.withProfile())
	}
	if refusedWith(e.Err, "TargetNotConnected") {
		return "is the instance running in this region and account, with amazon-ssm-agent and a role that has AmazonSSMManagedInstanceCore? adit ssm ls lists the nodes"
	}
	if api, ok := errors.AsType[smithy.APIError](e.Err); ok {
		if hint := e.apiHint(api); hint != "" {
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
	if hint := networkHint(e.Err); hint != "" {
		return hint
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
	switch text := e.Err.Error(); {
	case strings.Contains(text, "credential_process"), strings.Contains(text, "process output"):
		return "run the profile's credential_process by hand to see what it says"
	case strings.Contains(text, "jwt"): // the library's words
		return "AWS_WEB_IDENTITY_TOKEN_FILE, or the profile's web_identity_token_file, says where the token is"
	case errors.Is(e.Err, ssmsession.ErrNoAnswer):
		return "the node's agent has the session and says nothing: restart amazon-ssm-agent there, or update it"
	case strings.Contains(text, "needs one of type Port"):
		return "leave out --document, or give one whose sessionType is Port"
	}
	if e, ok := errors.AsType[*ssmsession.ClosedError](e.Err); ok && strings.Contains(e.Output, "ipc messaging") {
		return "AWS's agent says that when nothing listens on the port: is sshd running there, and is it the right port?"
	}
	return ""
}

// apiHint is about what AWS refuses.
func (e *Error) apiHint(api smithy.APIError) string {
	if m := denied().FindStringSubmatch(api.ErrorMessage()); m != nil {
		return "the IAM policy must allow " + m[1] + " on that resource"
	}
	switch code := api.ErrorCode(); {
	case strings.HasPrefix(code, "AccessDenied"), code == "AuthException":
		if _, ok := errors.AsType[*credentialsError](e.Err); ok {
			return "the credentials that the profile starts from may not have that role: look at role_arn and its trust policy"
		}
		action, _, _ := strings.Cut(e.Stage, " ")
		return "the IAM policy must allow " + action
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
	return pushHints[api.ErrorCode()]
}

func (e *Error) withProfile() string {
	if e.profile == "" {
		return ""
	}
	return "--profile " + printable(e.profile)
}

// networkHint is about servers that are not reached.
func networkHint(err error) string {
	const private = "In a private network it takes VPC endpoints for ssm and ssmmessages"
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return "is the region's name right, and the network up? " + private
	}
	if file, ok := errors.AsType[*fs.PathError](err); ok && file.Path == os.Getenv("AWS_CA_BUNDLE") {
		return "AWS_CA_BUNDLE names that file"
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "if a proxy looks inside what is encrypted, AWS_CA_BUNDLE names the file with its authorities"
	}
	op, ok := errors.AsType[*net.OpError](err)
	switch {
	case strings.Contains(err.Error(), http.StatusText(http.StatusProxyAuthRequired)):
		return "the proxy wants a login: HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT"
	case ok && op.Op == "proxyconnect":
		return "HTTPS_PROXY names the proxy, NO_PROXY the hosts that are reached without it"
	case ok && op.Op == "dial":
		return "is the network up, and the endpoint right (--endpoint-ssm, AWS_ENDPOINT_URL_SSM)? " + private
	}
	return ""
}
