package agent

import (
	"runtime"
	"testing"
)

// SSH_AUTH_SOCK names the agent. Without it there is one on Windows only, maybe.
func TestDefaultPath(t *testing.T) {
	t.Setenv("SSH_AUTH_SOCK", "here")
	if path, assumed := DefaultPath(); path != "here" || assumed {
		t.Errorf("SSH_AUTH_SOCK=here: %q, assumed %v", path, assumed)
	}
	t.Setenv("SSH_AUTH_SOCK", "")
	want, isWindows := "", runtime.GOOS == "windows"
	if isWindows {
		want = `\\.\pipe\openssh-ssh-agent`
	}
	if path, assumed := DefaultPath(); path != want || assumed != isWindows {
		t.Errorf("without SSH_AUTH_SOCK: %q, assumed %v, want %q", path, assumed, want)
	}
}
