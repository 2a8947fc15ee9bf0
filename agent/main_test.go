package agent

import (
	"os"
	"testing"

	"github.com/adit-ssh/adit/internal/testnet"
)

func TestMain(m *testing.M) {
	if how := os.Getenv(helperEnv); how != "" {
		playHelper(how)
		return
	}
	testnet.Main(m)
}
