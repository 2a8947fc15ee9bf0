package ssm

import (
	"context"
	"net/http"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/smithy-go/logging"
)

// Config says whose Session Manager it is. The zero value is what AWS's tools
// take from the environment and ~/.aws.
type Config struct {
	// Profile is one of ~/.aws/config; "" is AWS_PROFILE, or default.
	Profile string
	// Region is such as eu-central-1; "" is AWS_REGION, or the profile's.
	Region string
	// EndpointSSM is the URL of the API; "" is AWS_ENDPOINT_URL_SSM, the profile's,
	// or the region's. FIPS and dual-stack endpoints are chosen by AWS's settings.
	EndpointSSM string
	// EndpointMessages is the URL (https, wss) that data channels are opened at, such as
	// that of a VPC endpoint; "" is what Session Manager says.
	EndpointMessages string
}

// Service is Session Manager for one set of credentials. It may be used by
// several goroutines.
type Service struct {
	// Immutable.
	config Config
	aws    aws.Config
	api    *caller      // of Systems Manager
	http   *http.Client // of data channels
}

// Load finds credentials, region and endpoints. It reads files, and calls nobody
// but who is in charge of credentials.
func Load(ctx context.Context, c Config) (*Service, error) {
	return load(ctx, c)
}

func load(ctx context.Context, c Config) (*Service, error) {
	if c.EndpointMessages != "" {
		if err := checkEndpoint(c.EndpointMessages); err != nil {
			return nil, &Error{Stage: "--endpoint-ssmmessages", Target: c.EndpointMessages, Err: err}
		}
	}
	options := []func(*config.LoadOptions) error{config.WithAppID("adit"), config.WithLogger(logging.Nop{})}
	if c.Profile != "" {
		options = append(options, config.WithSharedConfigProfile(c.Profile))
	}
	if c.Region != "" {
		options = append(options, config.WithRegion(c.Region))
	}
	cfg, err := config.LoadDefaultConfig(ctx, options...)
	s := &Service{config: c, aws: cfg}
	if err != nil {
		return nil, s.fail("AWS configuration", "", err)
	}
	if cfg.Region == "" {
		return nil, s.fail("AWS configuration", "", &aws.MissingRegionError{})
	}
	if s.aws.HTTPClient == nil {
		s.aws.HTTPClient = awshttp.NewBuildableClient()
	}
	if s.api, err = s.newCaller(systemsManager, c.EndpointSSM); err != nil {
		return nil, s.fail("AWS configuration", "", err)
	}
	s.http = &http.Client{Transport: s.transport(), CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse // the session's token is for the host that was checked
	}}
	return s, nil
}

// transport is how data channels are connected: through the proxy, and with the
// authorities, that AWS's settings say (HTTPS_PROXY, AWS_CA_BUNDLE).
func (s *Service) transport() *http.Transport {
	client, ok := s.aws.HTTPClient.(*awshttp.BuildableClient)
	if !ok {
		client = awshttp.NewBuildableClient()
	}
	t := client.GetTransport().Clone()
	t.DialContext = dialBatching(client.GetDialer().DialContext)
	t.ForceAttemptHTTP2 = false // a WebSocket begins with HTTP/1.1
	t.Protocols = nil
	t.TLSNextProto = nil
	if t.TLSClientConfig != nil {
		t.TLSClientConfig.NextProtos = nil
	}
	t.DisableKeepAlives = true
	t.ResponseHeaderTimeout = 30 * time.Second
	return t
}

// again is the service with credentials read anew: a session lives longer than
// many of them do.
func (s *Service) again(ctx context.Context) *Service {
	if fresh, err := load(ctx, s.config); err == nil {
		return fresh
	}
	return s
}

// profile is the name of the profile in use, for hints.
func (s *Service) profile() string {
	for _, name := range []string{s.config.Profile, os.Getenv("AWS_PROFILE"), os.Getenv("AWS_DEFAULT_PROFILE")} {
		if name != "" {
			return name
		}
	}
	return ""
}
