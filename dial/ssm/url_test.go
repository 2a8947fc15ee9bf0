package ssm

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/adit-ssh/adit/internal/testpeer/ssmgw"
)

func TestStreamURL(t *testing.T) {
	real := &Service{}
	for _, c := range []struct {
		url string
		ok  bool
	}{
		{"wss://ssmmessages.eu-central-1.amazonaws.com/v1/data-channel/x?role=publish_subscribe&cell-number=A%2B", true},
		{"wss://ssmmessages-fips.eu-central-1.amazonaws.com/v1/data-channel/x", true},
		{"wss://ssmmessages.eu-central-1.api.aws/x", true},
		{"wss://vpce-1-2.ssmmessages.eu-central-1.vpce.amazonaws.com/x", true},
		{"wss://ssmmessages.eu-west-1.amazonaws.com/x", false}, // another region
		{"wss://ssmmessages.s3.amazonaws.com/x", false},        // a bucket
		{"wss://ssmmessages.s3.eu-central-1.amazonaws.com/x", false},
		{"wss://ssmmessages.cdefghijklmn.eu-central-1.rds.amazonaws.com/x", false},
		{"wss://x.ssmmessages.eu-central-1.vpce.amazonaws.com/x", false},
		{"wss://vpce-1.x.ssmmessages.eu-central-1.vpce.amazonaws.com/x", false},
		{"ws://ssmmessages.eu-central-1.amazonaws.com/x", false},
		{"wss://ssmmessages.eu-central-1.amazonaws.com:8443/x", false},
		{"wss://ssmmessages.example.org/x", false},
		{"wss://ssmmessages.eu-central-1.amazonaws.com.example.org/x", false},
		{"wss://ssmmessages.amazonaws.com@example.org/x", false},
		{"wss://example.amazonaws.com/x", false},
		{"wss://ssmmessages-amazonaws.com/x", false},
		{"wss://127.0.0.1/x", false}, // the API is not on loopback
		{"https://ssmmessages.eu-central-1.amazonaws.com/x", false},
		{"", false},
		{"wss:///x", false},
		{"%", false},
	} {
		real.api = regional("eu-central-1")
		u, err := real.streamURL(c.url)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", c.url, err)
		}
		if err == nil && u.String() != c.url {
			t.Errorf("%s became %s", c.url, u)
		}
	}
	own := &Service{config: Config{EndpointMessages: "https://vpce.example.org"}, api: real.api}
	if u, err := own.streamURL("wss://ssmmessages.eu-central-1.amazonaws.com/v1/x?a=b%2B"); err != nil || u.String() != "wss://vpce.example.org/v1/x?a=b%2B" {
		t.Errorf("own endpoint: %v, %v", u, err)
	}
	// What is signed has no port that goes without saying, so the request may not either.
	if u, err := real.streamURL("wss://ssmmessages.eu-central-1.amazonaws.com:443/x"); err != nil || u.Host != "ssmmessages.eu-central-1.amazonaws.com" {
		t.Errorf("port 443: %v, %v", u, err)
	}
}

// A data channel is opened at the host that was checked, or nowhere: the session's token
// goes there.
func TestDataChannelIsNotRedirected(t *testing.T) {
	g := &ssmgw.Gateway{}
	s := serve(t, g)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		to := *s.api.base
		to.Path, to.RawQuery = r.URL.Path, r.URL.RawQuery
		http.Redirect(w, r, to.String(), http.StatusTemporaryRedirect)
	}))
	defer elsewhere.Close()
	c, err := Dial(t.Context(), Config{EndpointMessages: elsewhere.URL}, Options{Target: node, Port: target(t, echo)})
	if err == nil {
		c.Close()
		t.Fatal("it followed")
	}
	if _, ok := errors.AsType[*upgradeRefused](err); !ok {
		t.Errorf("%v", err)
	}
	// Nor does the agent wait for who does not come.
	if count(g, "open") != 0 || count(g, "TerminateSession") != 1 || g.Live() != 0 {
		t.Errorf("events %q", g.Events())
	}
}
