package dial

import (
	"os"
	"testing"

	"github.com/adit-ssh/adit/internal/testnet"
)

// TestMain makes this program a proxy command when it is asked to be one.
func TestMain(m *testing.M) {
	if mode := os.Getenv(helperVariable); mode != "" {
		os.Exit(helper(mode, os.Args[1:]))
	}
	testnet.Main(m)
}

// helperVariable names what the helper is to do.
const helperVariable = "ADIT_TEST_HELPER"
