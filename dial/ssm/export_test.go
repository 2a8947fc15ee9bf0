package ssm

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ssm"
)

// regional is an API at the region's own endpoint; nobody calls it.
func regional(t *testing.T) *ssm.Client {
	t.Helper()
	return ssm.New(ssm.Options{Region: "eu-central-1"})
}
