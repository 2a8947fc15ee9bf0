package ssm

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
)

// callerAt calls a server of the test's, without waiting between attempts.
func callerAt(t *testing.T, handler http.HandlerFunc) *caller {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	base, err := url.Parse(server.URL + "/")
	if err != nil {
		t.Fatal(err)
	}
	client := awshttp.NewBuildableClient().WithTransportOptions(func(tr *http.Transport) { tr.DisableKeepAlives = true })
	return &caller{
		service: systemsManager, base: base, region: "eu-central-1",
		aws: aws.Config{AppID: "adit", HTTPClient: client, Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "AKID", SecretAccessKey: "secret", SessionToken: "session"}, nil
		})},
		retryer: retry.NewStandard(func(o *retry.StandardOptions) {
			o.Backoff = retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return 0, nil })
		}),
	}
}

func TestCallIsSigned(t *testing.T) {
	c := callerAt(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		for name, want := range map[string]string{
			"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "AmazonSSM.ResumeSession",
			"X-Amz-Security-Token": "session", "Amz-Sdk-Request": "attempt=1; max=3",
		} {
			if got := r.Header.Get(name); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
		auth := r.Header.Get("Authorization")
		if !strings.HasPrefix(auth, "AWS4-HMAC-SHA256 Credential=AKID/") || !strings.Contains(auth, "/eu-central-1/ssm/aws4_request, ") || !strings.Contains(auth, "x-amz-target") {
			t.Errorf("Authorization: %s", auth)
		}
		if !strings.HasPrefix(r.UserAgent(), "adit ") {
			t.Errorf("User-Agent: %s", r.UserAgent())
		}
		if string(body) != `{"SessionId":"a"}` || r.Method != http.MethodPost {
			t.Errorf("%s %s", r.Method, body)
		}
		io.WriteString(w, `{"SessionId":"a","TokenValue":"t","StreamUrl":"wss://x/","New":{"field":[1]}}`)
	})
	var out dataChannel
	if err := c.call(t.Context(), "ResumeSession", &resumeSession{"a"}, &out); err != nil || out != (dataChannel{"a", "wss://x/", "t"}) {
		t.Errorf("%+v, %v", out, err)
	}
}

// What may pass is tried again, and nothing else.
func TestCallRetries(t *testing.T) {
	for _, c := range []struct {
		name     string
		status   int
		body     string
		attempts int
	}{
		{"a server's fault", 500, `{"__type":"InternalServerError","message":"x"}`, 3},
		{"unavailable", 503, "<html>", 3},
		{"throttled", 400, `{"__type":"ThrottlingException","message":"Rate exceeded"}`, 3},
		{"denied", 400, `{"__type":"AccessDeniedException","Message":"no"}`, 1},
		{"not connected", 400, `{"__type":"TargetNotConnected","Message":"no"}`, 1},
		{"a proxy's login", 407, "", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			var attempts atomic.Int32
			caller := callerAt(t, func(w http.ResponseWriter, r *http.Request) {
				attempts.Add(1)
				w.WriteHeader(c.status)
				io.WriteString(w, c.body)
			})
			if err := caller.call(t.Context(), "StartSession", &startSession{}, nil); err == nil {
				t.Error("it worked")
			}
			if n := int(attempts.Load()); n != c.attempts {
				t.Errorf("%d attempts, want %d", n, c.attempts)
			}
		})
	}
	var attempts atomic.Int32
	caller := callerAt(t, func(w http.ResponseWriter, r *http.Request) {
		if attempts.Add(1) < 3 {
			panic(http.ErrAbortHandler) // the connection breaks
		}
		io.WriteString(w, "{}")
	})
	if err := caller.call(t.Context(), "StartSession", &startSession{}, nil); err != nil || attempts.Load() != 3 {
		t.Errorf("broken connections: %v after %d attempts", err, attempts.Load())
	}
}

func TestCallEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	caller := callerAt(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(500)
		cancel()
	})
	caller.retryer = retry.NewStandard(func(o *retry.StandardOptions) {
		o.Backoff = retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return time.Hour, nil })
	})
	if err := caller.call(ctx, "StartSession", &startSession{}, nil); err == nil {
		t.Error("it worked")
	}
}

// A wrong clock is put right by AWS's, for signatures only.
func TestCallWithWrongClock(t *testing.T) {
	const wrong = 2 * time.Hour
	for _, disabled := range []bool{false, true} {
		attempts := 0
		caller := callerAt(t, func(w http.ResponseWriter, r *http.Request) {
			attempts++
			theirs := time.Now().Add(wrong)
			signed, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
			w.Header().Set("Date", theirs.UTC().Format(http.TimeFormat))
			if err != nil || theirs.Sub(signed).Abs() > 5*time.Minute {
				w.WriteHeader(400)
				io.WriteString(w, `{"__type":"InvalidSignatureException","message":"Signature expired: now is much later"}`)
				return
			}
			io.WriteString(w, "{}")
		})
		caller.aws.DisableClockSkewCorrection = disabled
		err := caller.call(t.Context(), "StartSession", &startSession{}, nil)
		if disabled && (err == nil || attempts != 1) || !disabled && (err != nil || attempts != 2) {
			t.Errorf("disabled %v: %v after %d attempts", disabled, err, attempts)
		}
		if err := caller.call(t.Context(), "StartSession", &startSession{}, nil); !disabled && (err != nil || attempts != 3) {
			t.Errorf("the second call: %v after %d attempts, want one more", err, attempts)
		}
	}
	attempts := 0
	caller := callerAt(t, func(w http.ResponseWriter, r *http.Request) {
		attempts++
		w.WriteHeader(400)
		io.WriteString(w, `{"__type":"InvalidSignatureException","message":"no"}`)
	})
	if err := caller.call(t.Context(), "StartSession", &startSession{}, nil); !refusedWith(err, "InvalidSignatureException") || attempts != 1 {
		t.Errorf("a bad signature of the right time: %v after %d attempts", err, attempts)
	}
}

func TestAPIErrors(t *testing.T) {
	for _, c := range []struct {
		header, body  string
		status        int
		code, message string
	}{
		{"", `{"__type":"TargetNotConnected","Message":"i-1 is not connected."}`, 400, "TargetNotConnected", "i-1 is not connected."},
		{"", `{"__type":"com.amazonaws.ssm#InvalidDocument","message":"x"}`, 400, "InvalidDocument", "x"},
		{"AccessDeniedException:http://internal.amazon.com/", `{"message":"x"}`, 400, "AccessDeniedException", "x"},
		{"", `{"code":"Throttling","message":"x"}`, 400, "Throttling", "x"},
		{"", `{"__type":"InternalServerError"}`, 500, "InternalServerError", " (request r-1)"},
		{"", "<html>sign in</html>", 407, "HTTP status 407", "Proxy Authentication Required"},
		{"", `{"__type":7}`, 400, "HTTP status 400", "Bad Request"},
		{"", `[]`, 502, "HTTP status 502", "Bad Gateway (request r-1)"},
		{"", "", 403, "HTTP status 403", "Forbidden"},
		{"", "{}", 599, "HTTP status 599", " (request r-1)"},
	} {
		caller := callerAt(t, func(w http.ResponseWriter, r *http.Request) {
			if c.header != "" {
				w.Header().Set("X-Amzn-ErrorType", c.header)
			}
			w.Header().Set("X-Amzn-RequestId", "r-1")
			w.WriteHeader(c.status)
			io.WriteString(w, c.body)
		})
		err := caller.call(t.Context(), "StartSession", &startSession{}, nil)
		e, ok := errors.AsType[smithy.APIError](err)
		if !ok || e.ErrorCode() != c.code || e.ErrorMessage() != c.message {
			t.Errorf("%s %s: %v, want %q, %q", c.header, c.body, err, c.code, c.message)
		}
	}
}

func TestBadAnswers(t *testing.T) {
	for body, want := range map[string]string{
		"<html>":                                "is there a proxy in between?",
		`{"SessionId":7}`:                       "is there a proxy in between?",
		"":                                      "is there a proxy in between?",
		strings.Repeat(" ", answerLimit) + "{}": "longer than 4194304 bytes",
	} {
		caller := callerAt(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, body) })
		err := caller.call(t.Context(), "StartSession", &startSession{}, new(dataChannel))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: %v, want %q", body, err, want)
		}
	}
}
