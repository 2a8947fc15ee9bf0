package ssm

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/smithy-go"
)

// The packages of AWS's library for single services are not used: that of SSM alone
// takes more than a millisecond of every start of a program that has it, called or
// not, and 1.4 MB, for its hundreds of actions. We need a handful.

const (
	// callTimeout is how long one attempt may take.
	callTimeout = 30 * time.Second
	// answerLimit is how much of an answer is read, in bytes.
	answerLimit = 4 << 20
	// skewThreshold is how wrong a clock has to be for a refused signature to be its
	// fault; AWS takes five minutes.
	skewThreshold = 4 * time.Minute
)

// caller calls one of AWS's services in its protocol AWS JSON 1.1: a POST with a
// signature (SigV4), which names the action in a header.
type caller struct {
	// Immutable.
	service *awsService
	aws     aws.Config
	base    *url.URL
	region  string
	retryer aws.RetryerV2
	// Atomic.
	skew atomic.Int64 // of AWS's clock against ours, in nanoseconds
}

// newCaller makes a caller for a service; own is a person's own endpoint, or "".
func (s *Service) newCaller(svc *awsService, own string) (*caller, error) {
	base, region, err := s.endpoint(svc, own)
	if err != nil {
		return nil, err
	}
	return &caller{service: svc, aws: s.aws, base: base, region: region, retryer: retryerOf(&s.aws)}, nil
}

// retryerOf is what decides about further attempts: AWS_RETRY_MODE and
// AWS_MAX_ATTEMPTS, or the profile's, else three attempts in mode standard.
func retryerOf(c *aws.Config) aws.RetryerV2 {
	if c.Retryer != nil {
		if r, ok := c.Retryer().(aws.RetryerV2); ok {
			return r
		}
	}
	standard := func(o *retry.StandardOptions) {
		if c.RetryMaxAttempts > 0 {
			o.MaxAttempts = c.RetryMaxAttempts
		}
	}
	if c.RetryMode == aws.RetryModeAdaptive {
		return retry.NewAdaptiveMode(func(o *retry.AdaptiveModeOptions) { o.StandardOptions = append(o.StandardOptions, standard) })
	}
	return retry.NewStandard(standard)
}

// call calls an action. in becomes JSON, and the answer is read into out; nil drops
// it. What may pass is tried again (retryerOf); ctx bounds it all.
func (c *caller) call(ctx context.Context, action string, in, out any) error {
	return c.callLate(ctx, 0, action, in, out)
}

// callLate is call that waits for the answer to a request, once that is on its way, for
// a while after ctx has ended.
func (c *caller) callLate(ctx context.Context, late time.Duration, action string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	id := newUUID()
	passed := func(error) error { return nil } // gives back what the last attempt cost
	for n := 1; ; n++ {
		release, err := c.retryer.GetAttemptToken(ctx)
		if err != nil {
			return err
		}
		err = c.attempt(ctx, late, action, body, out, map[string]string{
			"Amz-Sdk-Invocation-Id": id,
			"Amz-Sdk-Request":       "attempt=" + strconv.Itoa(n) + "; max=" + strconv.Itoa(c.retryer.MaxAttempts()),
		})
		passed(err)
		release(err)
		if err == nil || ctx.Err() != nil || n >= c.retryer.MaxAttempts() && c.retryer.MaxAttempts() > 0 || !c.retryer.IsErrorRetryable(err) {
			return err
		}
		var refused error // too much has failed lately
		if passed, refused = c.retryer.GetRetryToken(ctx, err); refused != nil {
			return err
		}
		delay, refused := c.retryer.RetryDelay(n-1, err)
		if refused != nil {
			return err
		}
		timer := time.NewTimer(delay)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
	}
}

// attempt is one request.
func (c *caller) attempt(ctx context.Context, late time.Duration, action string, body []byte, out any, header map[string]string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base.String(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	for name, value := range header {
		request.Header.Set(name, value)
	}
	request.Header.Set("Content-Type", "application/x-amz-json-1.1")
	request.Header.Set("X-Amz-Target", c.service.target+"."+action)
	request.Header.Set("User-Agent", c.userAgent())
	if c.aws.Credentials == nil {
		return &credentialsError{errors.New("there are none")}
	}
	credentials, err := c.aws.Credentials.Retrieve(ctx)
	if err != nil {
		return &credentialsError{err}
	}
	skew := time.Duration(c.skew.Load())
	hash := sha256.Sum256(body)
	if err := v4.NewSigner().SignHTTP(ctx, credentials, request, hex.EncodeToString(hash[:]), c.service.host, c.region, c.now()); err != nil {
		return fmt.Errorf("sign: %w", err)
	}
	if late > 0 {
		sending, stop := outlast(ctx, late)
		defer stop()
		request = request.WithContext(sending)
	}
	response, err := c.aws.HTTPClient.Do(request)
	if err != nil {
		return &sendError{err}
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, answerLimit+1))
	switch {
	case err != nil:
		return fmt.Errorf("read the answer of %s: %w", c.base.Host, err)
	case len(answer) > answerLimit:
		return fmt.Errorf("the answer of %s is longer than %d bytes", c.base.Host, answerLimit)
	case response.StatusCode/100 != 2:
		return c.skewed(readAPIError(response, answer), response, skew)
	case out == nil:
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("the answer of %s is not what AWS answers (is there a proxy in between?): %w", c.base.Host, err)
	}
	return nil
}

// now is the time of signatures, by AWS's clock if ours is known to be wrong.
func (c *caller) now() time.Time { return time.Now().Add(time.Duration(c.skew.Load())) }

// userAgent is what CloudTrail shows.
func (c *caller) userAgent() string {
	return cmp.Or(c.aws.AppID, "adit") + " os/" + runtime.GOOS + " lang/go#" + strings.TrimPrefix(runtime.Version(), "go") + " api/" + c.service.host
}

// skewed marks a refusal that a wrong clock explains, and learns the right time.
func (c *caller) skewed(e *apiError, response *http.Response, used time.Duration) error {
	if c.aws.DisableClockSkewCorrection {
		return e
	}
	switch e.code {
	case "InvalidSignatureException", "SignatureDoesNotMatch", "AuthFailure", "RequestTimeTooSkewed", "AccessDeniedException", "RequestExpired":
	default:
		return e
	}
	date, err := http.ParseTime(response.Header.Get("Date"))
	if err != nil || response.Header.Get("Age") != "" { // of a cache
		return e
	}
	skew := time.Until(date)
	if (skew - used).Abs() <= skewThreshold {
		return e
	}
	c.skew.Store(int64(skew))
	return &skewError{e, skew}
}

// skewError is a refusal of a request by a wrong clock.
type skewError struct {
	*apiError
	skew time.Duration
}

// RetryableError is for aws/retry.
func (e *skewError) RetryableError() bool { return true }
func (e *skewError) Unwrap() error        { return e.apiError }

// sendError is a request that was not sent, or has no answer.
type sendError struct{ err error }

func (e *sendError) Error() string { return e.err.Error() }
func (e *sendError) Unwrap() error { return e.err }

// ConnectionError is for aws/retry: it may pass, but for a server that is not who it
// should be.
func (e *sendError) ConnectionError() bool {
	_, stranger := errors.AsType[*tls.CertificateVerificationError](e.err)
	return !stranger
}

// credentialsError is why there are no credentials for a call.
type credentialsError struct{ err error }

func (e *credentialsError) Error() string { return "get credentials: " + e.err.Error() }
func (e *credentialsError) Unwrap() error { return e.err }

// apiError is a refusal of a service's. It is a smithy.APIError, and has what
// aws/retry looks at.
type apiError struct {
	code, message string
	status        int // HTTP's
	request       string
}

var _ smithy.APIError = (*apiError)(nil)

func (e *apiError) Error() string                 { return e.code + ": " + e.message }
func (e *apiError) ErrorCode() string             { return e.code }
func (e *apiError) ErrorMessage() string          { return e.message }
func (e *apiError) ErrorFault() smithy.ErrorFault { return smithy.FaultUnknown }
func (e *apiError) HTTPStatusCode() int           { return e.status }

// readAPIError reads a refusal. Its code stands in a header or in the body, with a
// name space in front or a URL behind (Smithy, AWS JSON 1.1, operation error
// serialization). What is not AWS's, such as a proxy's page, has HTTP's status as
// its code.
func readAPIError(response *http.Response, body []byte) *apiError {
	var in struct {
		Type    string `json:"__type"`
		Code    any    `json:"code"`
		Message string `json:"message"` // or Message
	}
	e := &apiError{status: response.StatusCode, request: response.Header.Get("X-Amzn-Requestid")}
	aws := json.Unmarshal(body, &in) == nil
	code, _ := in.Code.(string)
	code = cmp.Or(response.Header.Get("X-Amzn-Errortype"), in.Type, code)
	code, _, _ = strings.Cut(code, ":")
	e.code = code[strings.LastIndexByte(code, '#')+1:]
	e.message = in.Message
	if !aws || e.code == "" {
		e.code = cmp.Or(e.code, "HTTP status "+strconv.Itoa(e.status))
		e.message = cmp.Or(e.message, http.StatusText(e.status))
	}
	if e.status >= 500 && e.request != "" {
		e.message += " (request " + e.request + ")"
	}
	return e
}

// refusedWith reports whether err is a service's refusal with a code.
func refusedWith(err error, code string) bool {
	e, ok := errors.AsType[*apiError](err)
	return ok && e.code == code
}
