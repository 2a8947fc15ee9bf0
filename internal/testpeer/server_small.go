package testpeer

import (
	"crypto/ed25519"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	gossh "golang.org/x/crypto/ssh"
)

// smallUser is the user that dropbear and tinysshd see: they look for
// authorized_keys in the home directory of /etc/passwd, which must not be the
// real one, so nss_wrapper shows them a passwd file of our own.
const smallUser = "tester"

// smallHome makes smallUser's home and returns the environment in which it is
// theirs, and its authorized_keys.
func smallHome(t testing.TB, authorized *Key) (env []string, keys string) {
	t.Helper()
	wrapper := find(t, "nss_wrapper")
	home := privateDir(t)
	if err := os.Mkdir(filepath.Join(home, ".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	keys = filepath.Join(home, ".ssh", "authorized_keys")
	writeFile(t, keys, authorized.Line()+"\n")
	dir := t.TempDir()
	passwd, group := filepath.Join(dir, "passwd"), filepath.Join(dir, "group")
	u := currentUser(t)
	writeFile(t, passwd, fmt.Sprintf("%s:%s:%s:%s:tester:%s:/bin/sh\n", smallUser, passwordHash, u.Uid, u.Gid, home))
	writeFile(t, group, fmt.Sprintf("%s:x:%s:\n", smallUser, u.Gid))
	return cleanEnv(home, "LD_PRELOAD="+wrapper, "NSS_WRAPPER_PASSWD="+passwd, "NSS_WRAPPER_GROUP="+group), keys
}

// privateDir makes a directory that nobody else can write to, nor to any above
// it: tinysshd checks them all up to the root, so the temporary directory will
// not do.
func privateDir(t testing.TB) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err == nil {
		err = os.MkdirAll(cache, 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(cache, "adit-testpeer-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

var dropbearReady = regexp.MustCompile(`Not backgrounding`)

// Dropbear starts dropbear with an Ed25519 host key.
func Dropbear(t testing.TB) *Server {
	t.Helper()
	dropbear, convert := find(t, "dropbear"), find(t, "dropbearconvert")
	dir := t.TempDir()
	s := &Server{Name: "dropbear", Forwards: true, Execs: true}
	s.User, s.Key, s.Password = smallUser, NewKey(t, "ed25519"), password
	env, authorized := smallHome(t, s.Key)
	s.authorize = appendTo(authorized)

	host := newKeyAt(t, filepath.Join(dir, "host"), "ed25519")
	s.HostKeys = []gossh.PublicKey{host.Public}
	run(t, exec.Command(convert, "openssh", "dropbear", host.Path, host.Path+".dropbear"))
	p, port := startOnPort(t, s.Name, dropbearReady, func(port int) *exec.Cmd {
		cmd := exec.Command(dropbear, "-F", "-E", "-m", "-r", host.Path+".dropbear",
			"-p", fmt.Sprintf("127.0.0.1:%d", port), "-P", filepath.Join(dir, "pid"))
		cmd.Env = env
		return cmd
	})
	s.Addr = fmt.Sprintf("127.0.0.1:%d", port)
	s.log = &p.log
	return s
}

// TinySSH serves with one tinysshd for each connection. It has Ed25519,
// curve25519 and chacha20-poly1305 only, and no forwarding.
func TinySSH(t testing.TB) *Server {
	t.Helper()
	tinysshd, makekey := find(t, "tinysshd"), find(t, "tinysshd-makekey")
	s := &Server{Name: "tinysshd", Execs: true}
	s.User, s.Key = smallUser, NewKey(t, "ed25519")
	env, _ := smallHome(t, s.Key)

	keys := filepath.Join(t.TempDir(), "keys")
	run(t, exec.Command(makekey, keys))
	public, err := os.ReadFile(filepath.Join(keys, "ed25519.pk"))
	if err != nil {
		t.Fatal(err)
	}
	host, err := gossh.NewPublicKey(ed25519.PublicKey(public))
	if err != nil {
		t.Fatal(err)
	}
	s.HostKeys = []gossh.PublicKey{host}
	s.Addr, s.log = serveInetd(t, s.Name, func() *exec.Cmd {
		cmd := exec.Command(tinysshd, "-v", keys)
		cmd.Env = env
		return cmd
	})
	return s
}
