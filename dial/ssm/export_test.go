package ssm

import "net/url"

// regional is an API at a region's own endpoint; nobody calls it.
func regional(region string) *caller {
	return &caller{region: region, base: &url.URL{Scheme: "https", Host: "ssm." + region + ".amazonaws.com", Path: "/"}}
}
