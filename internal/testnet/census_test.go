package testnet

import (
	"strings"
	"sync"
	"testing"
	"time"
)

func TestMain(m *testing.M) { Main(m) }

func TestCensus(t *testing.T) {
	var wg sync.WaitGroup
	stay, started := make(chan struct{}), make(chan struct{})
	before := len(ours())
	wg.Go(func() { close(started); <-stay })
	<-started
	if left := await(before, 10*time.Millisecond); !strings.Contains(left, "TestCensus.func") {
		t.Errorf("a goroutine is left, got %q", left)
	}
	close(stay)
	wg.Wait()
	if left := await(before, censusPatience); left != "" {
		t.Errorf("no goroutine is left, got %q", left)
	}
}
