package ssm

import (
	"net/url"
	"testing"
)

// regional is an API at the region's own endpoint; nobody calls it.
func regional(t *testing.T) *caller {
	t.Helper()
	return &caller{base: &url.URL{Scheme: "https", Host: "ssm.eu-central-1.amazonaws.com", Path: "/"}}
}
