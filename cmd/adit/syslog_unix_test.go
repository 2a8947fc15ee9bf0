//go:build unix

package main

import (
	"testing"

	"github.com/adit-ssh/adit/sshconfig"
)

// Every word that a configuration may have has a facility of its own.
func TestSyslogFacility(t *testing.T) {
	seen := map[int]string{}
	for word, facility := range facilities {
		c, err := sshconfig.Load(t.Context(), sshconfig.Options{Host: "h", File: "none", CommandLine: []string{"SyslogFacility=" + word}})
		if err != nil {
			t.Fatal(err)
		}
		if c.SyslogFacility != word {
			t.Errorf("%s is read as %q", word, c.SyslogFacility)
		}
		if other, taken := seen[int(facility)]; taken {
			t.Errorf("%s and %s are the same", word, other)
		}
		seen[int(facility)] = word
	}
	if len(seen) != 12 {
		t.Errorf("%d facilities, want 12", len(seen))
	}
}
