package ssm

import (
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/adit-ssh/adit/internal/testpeer"
	"github.com/adit-ssh/adit/internal/testpeer/ssmgw"
)

// profiles have each way to credentials, and each leads nowhere.
const profiles = `
[profile sso]
sso_session = corp
sso_account_id = 123456789012
sso_role_name = dev
[sso-session corp]
sso_start_url = https://corp.awsapps.com/start
sso_region = eu-central-1
[profile login]
login_session = arn:aws:iam::123456789012:user/me
[profile base]
aws_access_key_id = AKIDADITTESTS0000000
aws_secret_access_key = secret
[profile role]
role_arn = arn:aws:iam::123456789012:role/x
source_profile = base
[profile mfa]
role_arn = arn:aws:iam::123456789012:role/x
source_profile = base
mfa_serial = arn:aws:iam::123456789012:mfa/me
[profile process]
credential_process = /bin/false
[profile chatty]
credential_process = echo '{"Version": 1, "AccessKeyId": "AKID", "SecretAccessKey": "hush"} and more'
[profile web]
role_arn = arn:aws:iam::123456789012:role/x
web_identity_token_file = /nonexistent/token
`

// What people read where the credentials are the trouble, or the way to AWS.
func TestErrorsOnTheWay(t *testing.T) {
	stranger := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/sts" {
			w.WriteHeader(http.StatusForbidden)
			io.WriteString(w, `<ErrorResponse><Error><Code>AccessDenied</Code><Message>User: arn:x is not authorized to perform: sts:AssumeRole on resource: arn:y</Message></Error></ErrorResponse>`)
			return
		}
		io.WriteString(w, "<html>")
	}))
	defer stranger.Close()
	tlsStranger := httptest.NewUnstartedServer(nil)
	tlsStranger.Config.ErrorLog = log.New(io.Discard, "", 0)
	tlsStranger.StartTLS()
	defer tlsStranger.Close()
	refused := "http://" + testpeer.RefusedAddr(t)
	for _, c := range []struct {
		name       string
		profile    string
		env        []string
		text, hint string
	}{
		{"expired SSO", "sso", nil, "the login at AWS (SSO) has expired", "log in again: aws sso login --profile sso"},
		{"no login", "login", nil, "there is no login at AWS", "log in: aws login --profile login"},
		{"a role that is refused", "role", []string{"AWS_ENDPOINT_URL_STS=" + stranger.URL + "/sts"}, "STS AssumeRole: AccessDenied: User: arn:x is not", "must allow sts:AssumeRole"},
		{"no way to STS", "role", []string{"AWS_ENDPOINT_URL_STS=" + refused}, "STS AssumeRole: connect to 127.0.0.1:", "is the network up"},
		{"a code", "mfa", nil, "the profile's role wants a code (MFA)", "--format env --profile mfa)"},
		{"a process that fails", "process", nil, "error in credential_process: exit status 1", "credential_process by hand"},
		{"a process that says more", "chatty", nil, "what the credential_process prints is not as it should be: invalid character 'a'", "credential_process by hand"},
		{"no token", "web", nil, "/nonexistent/token", "web_identity_token_file"},
		{"no way", "base", []string{"AWS_ENDPOINT_URL_SSM=" + refused}, "ssm:StartSession " + node + ": connect to 127.0.0.1:", "--endpoint-ssm"},
		{"a page", "base", []string{"AWS_ENDPOINT_URL_SSM=" + stranger.URL}, "is not what AWS answers", ""},
		{"a stranger's certificate", "base", []string{"AWS_ENDPOINT_URL_SSM=" + tlsStranger.URL}, "certificate", "AWS_CA_BUNDLE"},
		{"no authorities", "base", []string{"AWS_CA_BUNDLE=/nonexistent"}, "AWS configuration: open /nonexistent: no such file", "AWS_CA_BUNDLE names that file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			home := t.TempDir()
			for _, e := range append(ssmgw.Env(refused, home), append([]string{"HOME=" + home, "AWS_ACCESS_KEY_ID=", "AWS_SECRET_ACCESS_KEY="}, c.env...)...) {
				name, value, _ := strings.Cut(e, "=")
				t.Setenv(name, value)
				if value == "" {
					os.Unsetenv(name)
				}
			}
			if err := os.WriteFile(filepath.Join(home, "aws-config"), []byte(profiles), 0o600); err != nil {
				t.Fatal(err)
			}
			conn, err := Dial(t.Context(), Config{Profile: c.profile}, Options{Target: node})
			if err == nil {
				conn.Close()
				t.Fatal("it worked")
			}
			e, ok := errors.AsType[*Error](err)
			if !ok || !strings.Contains(e.Error(), c.text) || !strings.Contains(e.Hint(), c.hint) {
				t.Errorf("%v\nhint %s\nwant %q, hint %q", err, e.Hint(), c.text, c.hint)
			}
			if strings.Contains(err.Error(), "hush") {
				t.Errorf("it has the secret in it: %v", err)
			}
		})
	}
}
