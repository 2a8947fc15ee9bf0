package unixsock

import (
	"testing"

	"github.com/adit-ssh/adit/internal/testnet"
)

func TestMain(m *testing.M) { testnet.Main(m) }
