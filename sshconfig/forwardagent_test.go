package sshconfig

import (
	"os"
	"path/filepath"
	"testing"
)

// A path is which agent, and the first yes, no or path is whether (OpenSSH,
// readconf.c): -a goes before a path in a file.
func TestForwardAgentPath(t *testing.T) {
	for _, tt := range []struct{ line, file, want string }{
		{"", "", "no"},
		{"", "ForwardAgent /run/agent", "/run/agent"},
		{"ForwardAgent=yes", "ForwardAgent /run/agent", "/run/agent"},
		{"ForwardAgent=no", "ForwardAgent /run/agent", "no"},
		{"", "ForwardAgent no\nForwardAgent /run/agent", "no"},
		{"", "ForwardAgent yes\nForwardAgent /run/agent", "/run/agent"},
		{"", "ForwardAgent /run/agent\nForwardAgent no", "/run/agent"},
	} {
		file := filepath.Join(t.TempDir(), "config")
		if err := os.WriteFile(file, []byte(tt.file+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		o := Options{Host: "h", File: file}
		if tt.line != "" {
			o.CommandLine = []string{tt.line}
		}
		c, err := Load(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if c.ForwardAgent != tt.want {
			t.Errorf("%q, then %q: got %s, want %s", tt.line, tt.file, c.ForwardAgent, tt.want)
		}
	}
}
