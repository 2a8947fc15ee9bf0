package ssm

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// awsService is one of AWS's services, as far as calls to it differ.
type awsService struct {
	id      string // of AWS_ENDPOINT_URL_… and of services sections in ~/.aws/config
	host    string // the first label of its hosts, and what requests are signed for
	target  string // before the action in X-Amz-Target
	govFIPS bool   // in aws-us-gov its usual endpoint is the FIPS one
}

var systemsManager = &awsService{id: "SSM", host: "ssm", target: "AmazonSSM", govFIPS: true}

// partition is a part of AWS with domains of its own.
type partition struct {
	regions   string // what its regions' names begin with
	suffix    string // of hosts
	dualStack string // of hosts that have IPv6 too
}

// partitions are AWS's, as of 2026-11; the last one has all other regions.
var partitions = [...]partition{
	{"cn-", "amazonaws.com.cn", "api.amazonwebservices.com.cn"},
	{"eusc-", "amazonaws.eu", "api.amazonwebservices.eu"},
	{"us-iso-", "c2s.ic.gov", "api.aws.ic.gov"},
	{"us-isob-", "sc2s.sgov.gov", "api.aws.scloud"},
	{"eu-isoe-", "cloud.adc-e.uk", "api.cloud-aws.adc-e.uk"},
	{"us-isof-", "csp.hci.ic.gov", "api.aws.hci.ic.gov"},
	{"", "amazonaws.com", "api.aws"},
}

func partitionOf(region string) *partition {
	i := 0
	for !strings.HasPrefix(region, partitions[i].regions) {
		i++
	}
	return &partitions[i]
}

// endpoint is where a service's API is, and the region that requests are signed
// for. own is a person's own URL, or "". FIPS and dual-stack endpoints are chosen as
// AWS's libraries do (endpoint rule sets).
func (s *Service) endpoint(svc *awsService, own string) (base *url.URL, region string, err error) {
	region, fips := plainRegion(s.aws.Region)
	state, err := setting(s.aws.ConfigSources, usesFIPS.GetUseFIPSEndpoint)
	if err != nil {
		return nil, "", err
	}
	fips = fips || state == aws.FIPSEndpointStateEnabled
	dual, err := setting(s.aws.ConfigSources, usesDualStack.GetUseDualStackEndpoint)
	if err != nil {
		return nil, "", err
	}
	both := dual == aws.DualStackEndpointStateEnabled
	if own == "" {
		own = s.configuredEndpoint(svc)
	}
	switch {
	case own != "" && fips:
		return nil, "", fmt.Errorf("FIPS endpoints are asked for (AWS_USE_FIPS_ENDPOINT, use_fips_endpoint), and so is the endpoint %s: leave one out", printable(own))
	case own != "" && both:
		return nil, "", fmt.Errorf("dual-stack endpoints are asked for (AWS_USE_DUALSTACK_ENDPOINT, use_dualstack_endpoint), and so is the endpoint %s: leave one out", printable(own))
	case !hostLabel(region):
		return nil, "", fmt.Errorf("%q is no region", region)
	case own != "":
		base, err = apiURL(own)
		return base, region, err
	}
	p, host := partitionOf(region), svc.host
	if fips && !(svc.govFIPS && !both && strings.HasPrefix(region, "us-gov-")) {
		host += "-fips"
	}
	suffix := p.suffix
	if both {
		suffix = p.dualStack
	}
	return &url.URL{Scheme: "https", Host: host + "." + region + "." + suffix, Path: "/"}, region, nil
}

// configuredEndpoint is the URL that environment or profile have for a service: its
// own, or that of all. AWS_ENDPOINT_URL goes before a profile's services section.
func (s *Service) configuredEndpoint(svc *awsService) string {
	all := aws.ToString(s.aws.BaseEndpoint) // AWS_ENDPOINT_URL, endpoint_url, not ignored
	_, general := os.LookupEnv("AWS_ENDPOINT_URL")
	_, particular := os.LookupEnv("AWS_ENDPOINT_URL_" + strings.ToUpper(strings.ReplaceAll(svc.id, " ", "_")))
	if general && !particular {
		return all
	}
	if ignore, err := setting(s.aws.ConfigSources, ignoresEndpoints.GetIgnoreConfiguredEndpoints); err == nil && ignore {
		return all
	}
	url, err := setting(s.aws.ConfigSources, func(p hasEndpoints, ctx context.Context) (string, bool, error) {
		return p.GetServiceBaseEndpoint(ctx, svc.id)
	})
	if err == nil && url != "" {
		return url
	}
	return all
}

// What environment, profile and the rest of aws.Config.ConfigSources may know.
type (
	usesFIPS interface {
		GetUseFIPSEndpoint(context.Context) (aws.FIPSEndpointState, bool, error)
	}
	usesDualStack interface {
		GetUseDualStackEndpoint(context.Context) (aws.DualStackEndpointState, bool, error)
	}
	ignoresEndpoints interface {
		GetIgnoreConfiguredEndpoints(context.Context) (bool, bool, error)
	}
	hasEndpoints interface {
		GetServiceBaseEndpoint(ctx context.Context, id string) (string, bool, error)
	}
)

// setting is what the first source that knows says; the zero value if none does.
func setting[P, T any](sources []any, ask func(P, context.Context) (T, bool, error)) (value T, err error) {
	for _, source := range sources {
		if p, ok := source.(P); ok {
			if v, found, err := ask(p, context.Background()); err != nil || found { // nobody is called
				return v, err
			}
		}
	}
	return value, nil
}

// plainRegion takes the mark of FIPS off names such as fips-us-west-2, which older
// configurations have.
func plainRegion(name string) (region string, fips bool) {
	region = strings.ReplaceAll(name, "-fips-", "-")
	region = strings.TrimSuffix(strings.TrimPrefix(region, "fips-"), "-fips")
	return region, region != name
}

// apiURL reads a person's own endpoint.
func apiURL(own string) (*url.URL, error) {
	u, err := url.Parse(own)
	switch {
	case err != nil:
		return nil, fmt.Errorf("endpoint: %w", err)
	case u.Host == "" || u.User != nil || u.RawQuery != "" || u.Scheme != "https" && u.Scheme != "http":
		return nil, fmt.Errorf("endpoint %s: %w", printable(u.Redacted()), errNoURL)
	}
	if u.Path == "" {
		u.Path = "/"
	}
	return u, nil
}

// hostLabel reports whether a name can be part of a host's.
func hostLabel(name string) bool {
	return name != "" && len(name) <= 63 && name[0] != '-' && !strings.ContainsFunc(name, func(r rune) bool {
		return !(r == '-' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z')
	})
}
