package ssm

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
)

var errForeignStream = errors.New("the data channel's URL is no wss:// one of AWS's ssmmessages service")

var errNoURL = errors.New("a URL such as https://HOST is due")

// streamURL checks where a data channel is said to be, since all that a session
// carries and its token go there. A person's own endpoint replaces it. Loopback is
// taken from an API that is on loopback.
func (s *Service) streamURL(stream string) (*url.URL, error) {
	u, err := url.Parse(stream)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return nil, errForeignStream // the URL may have a signature in it, which nobody should see
	}
	if s.config.EndpointMessages != "" {
		own, err := url.Parse(s.config.EndpointMessages)
		if err != nil {
			return nil, err
		}
		u.Host = own.Host
		u.Scheme = map[string]string{"https": "wss", "wss": "wss", "http": "ws", "ws": "ws"}[own.Scheme]
		return plainHost(u), nil
	}
	if loopback(u.Hostname()) && (u.Scheme == "ws" || u.Scheme == "wss") {
		if loopback(s.api.base.Hostname()) {
			return u, nil
		}
	}
	if u = plainHost(u); u.Scheme != "wss" || u.Port() != "" || !awsMessages(u.Hostname(), s.api.region) {
		return nil, fmt.Errorf("%w: its host is %q", errForeignStream, u.Host)
	}
	return u, nil
}

// plainHost leaves out a port that goes without saying, as signatures do.
func plainHost(u *url.URL) *url.URL {
	u.Host = strings.TrimSuffix(u.Host, map[string]string{"wss": ":443", "ws": ":80"}[u.Scheme])
	return u
}

// awsMessages reports whether a host is AWS's ssmmessages service in a region, or a VPC
// endpoint of it. Other names below AWS's domains are anybody's: a bucket, a database.
func awsMessages(host, region string) bool {
	host = strings.ToLower(host)
	for _, p := range partitions {
		for _, suffix := range []string{p.suffix, p.dualStack} {
			before, ok := strings.CutSuffix(host, "."+suffix)
			if !ok {
				continue
			}
			if endpoint, private := strings.CutSuffix(before, ".vpce"); private {
				name, rest, _ := strings.Cut(endpoint, ".")
				if !strings.HasPrefix(name, "vpce-") {
					return false
				}
				before = rest
			}
			service, of, _ := strings.Cut(before, ".")
			return (service == "ssmmessages" || service == "ssmmessages-fips") && of == strings.ToLower(region)
		}
	}
	return false
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// checkEndpoint checks an endpoint that a person gave.
func checkEndpoint(endpoint string) error {
	u, err := url.Parse(endpoint)
	switch {
	case err != nil:
		return err
	case u.Host == "" || u.User != nil || u.RawQuery != "" || strings.Trim(u.Path, "/") != "":
		return errNoURL
	case u.Scheme == "https" || u.Scheme == "wss":
		return nil
	case (u.Scheme == "http" || u.Scheme == "ws") && loopback(u.Hostname()):
		return nil
	}
	return errors.New("it is not encrypted: https:// is due, unless it is on loopback")
}
