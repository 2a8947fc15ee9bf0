package testpeer

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// password is what servers let in; passwordHash is it for passwd(5), made with
// openssl passwd -6.
const (
	password     = "Open, sesame!"
	passwordHash = "$6$aditTests$6l3VywUj0.Mpw2VRXJGjjUoLEKAewStcVzKpNuJI74PP0oFr4S.MwHOqwS1iUsOG7tviqbJ3r8b1cSezCjVRs."
)

// pamEnv is the environment in which sshd's PAM knows user and password, and
// nothing of the system's set-up: pam_wrapper gives it service files of our own,
// and pam_matrix a file with passwords.
func pamEnv(t testing.TB, user string, expired bool) []string {
	t.Helper()
	wrapper, matrix := find(t, "pam_wrapper"), find(t, "pam_matrix")
	dir := t.TempDir()
	passwords := filepath.Join(dir, "passwords")
	writeFile(t, passwords, fmt.Sprintf("%s:%s:sshd\n", user, password))
	services := filepath.Join(dir, "services")
	if err := os.Mkdir(services, 0o700); err != nil {
		t.Fatal(err)
	}
	rules := ""
	for _, kind := range []string{"auth", "account", "password", "session"} {
		rules += fmt.Sprintf("%s required %s passdb=%s\n", kind, matrix, passwords)
	}
	if expired {
		rules += "account required pam_debug.so acct=new_authtok_reqd\n"
	}
	// PAM also wants rules for all other services.
	for _, name := range []string{"sshd", "other"} {
		writeFile(t, filepath.Join(services, name), rules)
	}
	t.Cleanup(func() { removePAMCopies(passwords) })
	return []string{"LD_PRELOAD=" + wrapper, "PAM_WRAPPER=1", "PAM_WRAPPER_SERVICE_DIR=" + services}
}

// removePAMCopies removes what pam_wrapper leaves behind: each process copies
// the service files to a directory of its own in /tmp, and sshd's are killed or
// leave without looking back.
func removePAMCopies(passwords string) {
	copies, _ := filepath.Glob("/tmp/pam.?/sshd")
	for _, name := range copies {
		text, err := os.ReadFile(name)
		if err == nil && strings.Contains(string(text), passwords) {
			os.RemoveAll(filepath.Dir(name))
		}
	}
}
