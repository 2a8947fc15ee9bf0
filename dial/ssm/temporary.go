package ssm

import (
	"context"
	"errors"
	"net"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws/retry"

	"github.com/adit-ssh/adit/internal/ssmsession"
)

// passingCodes are refusals of AWS's that may pass, beside those that its libraries know.
var passingCodes = []string{"TargetNotConnected", "EC2InstanceUnavailableException", "ServiceException", "InternalServerError"}

// Temporary reports whether what this package returned may be otherwise in a moment: the
// network, AWS or the node was not well, too much was asked for at once, or there are no
// credentials now. What AWS refuses for good, such as for a missing permission, is not
// temporary, nor is a target that there is not.
func Temporary(err error) bool {
	if both, ok := errors.AsType[*bothWaysError](err); ok {
		return Temporary(both.first) || Temporary(both.second)
	}
	if _, ok := errors.AsType[*credentialsError](err); ok {
		return true // a login can be renewed
	}
	if api, ok := errors.AsType[*apiError](err); ok {
		return api.status >= 500 || slices.Contains(passingCodes, api.code) || retry.IsErrorRetryables(retry.DefaultRetryables).IsErrorRetryable(err).Bool()
	}
	if refused, ok := errors.AsType[*upgradeRefused](err); ok {
		return refused.status >= 500
	}
	if command, ok := errors.AsType[*commandError](err); ok {
		return command.run.Status == "TimedOut"
	}
	_, offline := errors.AsType[*OfflineError](err)
	_, closed := errors.AsType[*ssmsession.ClosedError](err)
	_, sent := errors.AsType[*sendError](err)
	_, network := errors.AsType[net.Error](err)
	return offline || closed || sent || network || errors.Is(err, ssmsession.ErrNoAnswer) || errors.Is(err, errCommandSlow) || errors.Is(err, context.DeadlineExceeded)
}
