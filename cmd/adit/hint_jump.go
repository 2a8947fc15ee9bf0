package main

import (
	"errors"
	"fmt"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/dial"
	"github.com/adit-ssh/adit/internal/setup"
)

// jumpHint says what to do about a jump host where that is not what helps with
// the host itself: -i and -o are not for jump hosts. "" for all else.
func jumpHint(err error) string {
	host := dial.JumpHost(err)
	if host == "" {
		return ""
	}
	if _, ok := errors.AsType[*setup.UnknownHostError](err); ok {
		return fmt.Sprintf("to see its key and be asked about it, connect to it alone: adit ssh %s", host)
	}
	if _, ok := errors.AsType[*adit.AuthError](err); ok {
		return fmt.Sprintf("the command line's options are not for jump hosts: User and IdentityFile for it stand in ~/.ssh/config, below: Host %s", host)
	}
	return ""
}
