package sshconfig

import (
	"strings"
	"syscall"
	"testing"
)

// An account of this computer has no domain before its name, one of a domain keeps it.
func TestWithoutComputer(t *testing.T) {
	computer, err := syscall.ComputerName()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		computer + `\alice`: "alice", strings.ToLower(computer) + `\alice`: "alice",
		`corp` + computer + `\alice`: `corp` + computer + `\alice`, "alice": "alice",
	} {
		if got := withoutComputer(name); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
	u, err := Me()
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasPrefix(u.Username, computer+`\`) {
		t.Errorf("who runs this is %s", u.Username)
	}
}
