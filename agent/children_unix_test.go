//go:build unix

package agent

import (
	"errors"
	"syscall"
	"testing"
)

// wantNoChildren fails the test if this process has children.
func wantNoChildren(t testing.TB) {
	t.Helper()
	if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); !errors.Is(err, syscall.ECHILD) {
		t.Errorf("children are left: %d, %v", pid, err)
	}
}
