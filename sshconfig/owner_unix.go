//go:build unix

package sshconfig

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// badOwner is how OpenSSH's error begins, which people search for.
const badOwner = "Bad owner or permissions on"

// checkOwner refuses a file that somebody else could have written: it says which
// commands are run. The person's private group is nobody else; OpenSSH refuses
// it, but the systems that make such groups, and files with mode 0664 with them,
// have patched that.
func checkOwner(path string, st fs.FileInfo) error {
	sys, ok := st.Sys().(*syscall.Stat_t)
	if ok && sys.Uid != 0 && int(sys.Uid) != os.Getuid() {
		return withHint{fmt.Errorf("%s %s: it belongs to user %d", badOwner, path, sys.Uid), "chown $USER " + path}
	}
	mode := st.Mode().Perm()
	if mode&0o022 == 0o020 && ok {
		passwd, perr := os.ReadFile("/etc/passwd")
		group, gerr := os.ReadFile("/etc/group")
		if perr == nil && gerr == nil && privateGroup(int(sys.Uid), int(sys.Gid), passwd, group) {
			return nil
		}
	}
	if mode&0o022 != 0 {
		return withHint{fmt.Errorf("%s %s: others can write it, by mode %04o", badOwner, path, mode), "chmod go-w " + path}
	}
	return nil
}

// privateGroup reports whether a user is the only member of a group: in group's
// list and as the group of accounts in passwd. It must be somebody's.
func privateGroup(uid, gid int, passwd, group []byte) bool {
	owner, members := "", 0
	for line := range bytes.Lines(passwd) {
		f := strings.Split(string(line), ":")
		if len(f) < 4 {
			continue
		}
		if f[2] == strconv.Itoa(uid) && owner == "" {
			owner = f[0]
		}
		if f[3] == strconv.Itoa(gid) {
			if f[2] != strconv.Itoa(uid) {
				return false
			}
			members++
		}
	}
	found := false
	for line := range bytes.Lines(group) {
		f := strings.Split(strings.TrimSpace(string(line)), ":")
		if len(f) < 4 || f[2] != strconv.Itoa(gid) {
			continue
		}
		found = true
		if f[3] != "" && f[3] != owner {
			return false
		}
		if f[3] != "" {
			members++
		}
	}
	return found && owner != "" && members > 0
}
