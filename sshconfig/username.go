package sshconfig

import "os/user"

// Me returns the user who runs the program: its Username is who logs in where nobody
// else is named. On Windows that of an account of this computer has no domain (OpenSSH for
// Windows, pwd.c).
func Me() (*user.User, error) {
	u, err := user.Current()
	if err == nil {
		u.Username = withoutComputer(u.Username)
	}
	return u, err
}
