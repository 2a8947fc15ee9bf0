package ssm

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Where the API is, by environment and profile: what AWS's own libraries choose.
func TestEndpoints(t *testing.T) {
	const profile = `[default]
[profile all]
endpoint_url = https://all.example.org
[profile one]
endpoint_url = https://all.example.org
services = here
[services here]
ssm =
  endpoint_url = https://one.example.org:8443/base
[profile fips]
use_fips_endpoint = true
[profile dual]
use_dualstack_endpoint = true
`
	file := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(file, []byte(profile), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		env    string
		config Config
		want   string // or the error
		region string // that is signed for, if it is another
	}{
		{"", Config{Region: "eu-central-1"}, "https://ssm.eu-central-1.amazonaws.com/", ""},
		{"", Config{Region: "cn-north-1"}, "https://ssm.cn-north-1.amazonaws.com.cn/", ""},
		{"", Config{Region: "us-gov-west-1"}, "https://ssm.us-gov-west-1.amazonaws.com/", ""},
		{"", Config{Region: "us-iso-east-1"}, "https://ssm.us-iso-east-1.c2s.ic.gov/", ""},
		{"", Config{Region: "us-isob-east-1"}, "https://ssm.us-isob-east-1.sc2s.sgov.gov/", ""},
		{"", Config{Region: "eu-isoe-west-1"}, "https://ssm.eu-isoe-west-1.cloud.adc-e.uk/", ""},
		{"", Config{Region: "us-isof-south-1"}, "https://ssm.us-isof-south-1.csp.hci.ic.gov/", ""},
		{"", Config{Region: "eusc-de-east-1"}, "https://ssm.eusc-de-east-1.amazonaws.eu/", ""},
		{"", Config{Region: "xx-new-1"}, "https://ssm.xx-new-1.amazonaws.com/", ""},
		{"", Config{Region: "evil.example.org/x"}, `"evil.example.org/x" is no region`, ""},
		{"", Config{Region: "-x"}, "is no region", ""},
		{"AWS_USE_FIPS_ENDPOINT=true", Config{Region: "us-east-1"}, "https://ssm-fips.us-east-1.amazonaws.com/", ""},
		{"AWS_USE_FIPS_ENDPOINT=true", Config{Region: "us-gov-east-1"}, "https://ssm.us-gov-east-1.amazonaws.com/", ""},
		{"AWS_USE_DUALSTACK_ENDPOINT=true", Config{Region: "us-east-1"}, "https://ssm.us-east-1.api.aws/", ""},
		{"AWS_USE_DUALSTACK_ENDPOINT=true", Config{Region: "cn-north-1"}, "https://ssm.cn-north-1.api.amazonwebservices.com.cn/", ""},
		{"AWS_USE_DUALSTACK_ENDPOINT=true AWS_USE_FIPS_ENDPOINT=true", Config{Region: "us-gov-west-1"}, "https://ssm-fips.us-gov-west-1.api.aws/", ""},
		{"AWS_USE_FIPS_ENDPOINT=false", Config{Region: "us-east-1", Profile: "fips"}, "https://ssm.us-east-1.amazonaws.com/", ""},
		{"", Config{Region: "us-east-1", Profile: "fips"}, "https://ssm-fips.us-east-1.amazonaws.com/", ""},
		{"", Config{Region: "us-east-1", Profile: "dual"}, "https://ssm.us-east-1.api.aws/", ""},
		{"", Config{Region: "fips-us-west-2"}, "https://ssm-fips.us-west-2.amazonaws.com/", "us-west-2"},
		{"", Config{Region: "us-west-2-fips"}, "https://ssm-fips.us-west-2.amazonaws.com/", "us-west-2"},

		{"", Config{Region: "us-east-1", EndpointSSM: "https://vpce.example.org"}, "https://vpce.example.org/", ""},
		{"AWS_ENDPOINT_URL=https://all.example.org", Config{Region: "us-east-1"}, "https://all.example.org/", ""},
		{"AWS_ENDPOINT_URL_SSM=https://one.example.org", Config{Region: "us-east-1"}, "https://one.example.org/", ""},
		{"AWS_ENDPOINT_URL=https://all.example.org AWS_ENDPOINT_URL_SSM=https://one.example.org", Config{Region: "us-east-1"}, "https://one.example.org/", ""},
		{"AWS_ENDPOINT_URL_SSM=https://one.example.org", Config{Region: "us-east-1", EndpointSSM: "https://vpce.example.org"}, "https://vpce.example.org/", ""},
		{"", Config{Region: "us-east-1", Profile: "all"}, "https://all.example.org/", ""},
		{"", Config{Region: "us-east-1", Profile: "one"}, "https://one.example.org:8443/base", ""},
		{"AWS_ENDPOINT_URL=https://env.example.org", Config{Region: "us-east-1", Profile: "one"}, "https://env.example.org/", ""},
		{"AWS_ENDPOINT_URL_SSM=https://env.example.org", Config{Region: "us-east-1", Profile: "one"}, "https://env.example.org/", ""},
		{"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS=true", Config{Region: "us-east-1", Profile: "one"}, "https://ssm.us-east-1.amazonaws.com/", ""},
		{"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS=true AWS_ENDPOINT_URL=https://all.example.org AWS_ENDPOINT_URL_SSM=https://one.example.org",
			Config{Region: "us-east-1"}, "https://ssm.us-east-1.amazonaws.com/", ""},
		{"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS=true", Config{Region: "us-east-1", EndpointSSM: "https://vpce.example.org"}, "https://vpce.example.org/", ""},

		{"AWS_USE_FIPS_ENDPOINT=true", Config{Region: "us-east-1", EndpointSSM: "https://vpce.example.org"}, "leave one out", ""},
		{"AWS_USE_DUALSTACK_ENDPOINT=true", Config{Region: "us-east-1", EndpointSSM: "https://vpce.example.org"}, "leave one out", ""},
		{"", Config{Region: "us-east-1", EndpointSSM: "vpce.example.org"}, "a URL such as https://HOST is due", ""},
		{"", Config{Region: "us-east-1", EndpointSSM: "ftp://vpce.example.org"}, "a URL such as https://HOST is due", ""},
		{"", Config{Region: "us-east-1", EndpointSSM: "https://a:b@example.org"}, "a URL such as https://HOST is due", ""},
	} {
		t.Run(c.env+" "+c.config.Region+" "+c.config.Profile+" "+c.config.EndpointSSM, func(t *testing.T) {
			for _, name := range []string{"AWS_PROFILE", "AWS_ENDPOINT_URL_SSM", "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_USE_FIPS_ENDPOINT",
				"AWS_USE_DUALSTACK_ENDPOINT", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"} {
				t.Setenv(name, "") // and back, at the end
				os.Unsetenv(name)
			}
			t.Setenv("AWS_CONFIG_FILE", file)
			t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(t.TempDir(), "none"))
			for e := range strings.FieldsSeq(c.env) {
				name, value, _ := strings.Cut(e, "=")
				t.Setenv(name, value)
			}
			s, err := Load(t.Context(), c.config)
			switch {
			case err != nil && (strings.HasPrefix(c.want, "https://") || !strings.Contains(err.Error(), c.want)):
				t.Errorf("%v, want %s", err, c.want)
			case err == nil && (s.api.base.String() != c.want):
				t.Errorf("%s, want %s", s.api.base, c.want)
			case err == nil && c.region != "" && s.api.region != c.region:
				t.Errorf("signs for %s, want %s", s.api.region, c.region)
			}
		})
	}
}

// Data channels are looked for where a partition has them.
func TestPartitions(t *testing.T) {
	for _, c := range []struct {
		host, region string
		want         bool
	}{
		{"ssmmessages.eu-central-1.amazonaws.com", "eu-central-1", true},
		{"ssmmessages.eu-central-1.api.aws", "eu-central-1", true},
		{"ssmmessages-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1", true},
		{"ssmmessages.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1", true},
		{"ssmmessages.us-iso-east-1.c2s.ic.gov", "us-iso-east-1", true},
		{"SSMMESSAGES.cn-north-1.amazonaws.com.cn", "cn-north-1", true},
		{"vpce-1.ssmmessages.cn-north-1.vpce.amazonaws.com.cn", "cn-north-1", true},
		{"ssmmessages.eu-central-1.amazonaws.com", "eu-west-1", false},
		{"ssmmessages.eu-central-1.example.org", "eu-central-1", false},
		{"ssmmessages.eu-central-1.amazonaws.com.example.org", "eu-central-1", false},
		{"ssm.eu-central-1.amazonaws.com", "eu-central-1", false},
		{"amazonaws.com", "", false},
		{"ssmmessagesamazonaws.com", "", false},
	} {
		if got := awsMessages(c.host, c.region); got != c.want {
			t.Errorf("awsMessages(%q, %q) = %v", c.host, c.region, got)
		}
	}
}
