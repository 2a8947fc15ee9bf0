package sshconfig

import (
	"strings"
	"syscall"
)

// withoutComputer takes this computer's name from before that of one of its accounts.
func withoutComputer(name string) string {
	domain, account, found := strings.Cut(name, `\`)
	if computer, err := syscall.ComputerName(); found && err == nil && strings.EqualFold(domain, computer) {
		return account
	}
	return name
}
