package testpeer

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
)

// program is something Need can look for.
type program struct {
	debian string                // the package that has it
	find   func() (string, bool) // its path
}

func command(name string) func() (string, bool) {
	return sync.OnceValues(func() (string, bool) {
		if p, err := exec.LookPath(name); err == nil {
			return p, true
		}
		// Servers are in sbin, which is not in everybody's PATH.
		for _, dir := range []string{"/usr/sbin", "/sbin", "/usr/local/sbin"} {
			if p, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
				return p, true
			}
		}
		return "", false
	})
}

// pythonWith finds a Python that has a module; the first in PATH may be one
// that does not see the system's modules.
func pythonWith(module string) func() (string, bool) {
	return sync.OnceValues(func() (string, bool) {
		for _, name := range []string{"/usr/bin/python3", "python3"} {
			p, err := exec.LookPath(name)
			if err == nil && exec.Command(p, "-W", "ignore", "-c", "import "+module).Run() == nil {
				return p, true
			}
		}
		return "", false
	})
}

func file(pattern string) func() (string, bool) {
	return func() (string, bool) {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			return "", false
		}
		return found[0], true
	}
}

// otp finds Erlang together with its ssh application, a package of its own.
func otp() func() (string, bool) {
	return sync.OnceValues(func() (string, bool) {
		p, err := exec.LookPath("erl")
		if err != nil {
			return "", false
		}
		expr := `halt(case code:lib_dir(ssh) of {error, _} -> 1; _ -> 0 end).`
		return p, exec.Command(p, "-noinput", "-boot", "start_clean", "-eval", expr).Run() == nil
	})
}

// Libraries that are a security key and a PKCS#11 token of software.
const (
	SKProvider    = "/usr/lib/openssh/regress/misc/sk-dummy/sk-dummy.so" // OpenSSH's own, for its tests
	TokenProvider = "/usr/lib/softhsm/libsofthsm2.so"
)

var programs = map[string]program{
	"sshd":             {"openssh-server", command("sshd")},
	"ssh":              {"openssh-client", command("ssh")},
	"ssh-agent":        {"openssh-client", command("ssh-agent")},
	"ssh-add":          {"openssh-client", command("ssh-add")},
	"ssh-keygen":       {"openssh-client", command("ssh-keygen")},
	"sk-dummy":         {"openssh-tests", file(SKProvider)},
	"softhsm":          {"softhsm2", file(TokenProvider)},
	"softhsm2-util":    {"softhsm2", command("softhsm2-util")},
	"gpg-agent":        {"gpg-agent", command("gpg-agent")},
	"pageant":          {"putty", command("pageant")},
	"ssh-audit":        {"ssh-audit", command("ssh-audit")},
	"dropbear":         {"dropbear-bin", command("dropbear")},
	"dbclient":         {"dropbear-bin", command("dbclient")},
	"dropbearkey":      {"dropbear-bin", command("dropbearkey")},
	"dropbearconvert":  {"dropbear-bin", command("dropbearconvert")},
	"tinysshd":         {"tinysshd", command("tinysshd")},
	"tinysshd-makekey": {"tinysshd", command("tinysshd-makekey")},
	"plink":            {"putty-tools", command("plink")},
	"puttygen":         {"putty-tools", command("puttygen")},
	"scp":              {"openssh-client", command("scp")},
	"sftp":             {"openssh-client", command("sftp")},
	"rsync":            {"rsync", command("rsync")},
	"git":              {"git", command("git")},
	"bash":             {"bash", command("bash")},
	"curl":             {"curl", command("curl")},
	"nc":               {"netcat-openbsd", command("nc")},
	"gcc":              {"gcc libc6-dev", command("gcc")},
	"libssh":           {"libssh-dev", file("/usr/include/libssh/libssh.h")},
	"libssh2":          {"libssh2-1-dev", file("/usr/include/libssh2.h")},
	"javac":            {"default-jdk-headless", command("javac")},
	"jsch":             {"libjsch-java", file("/usr/share/java/jsch.jar")},
	"microsocks":       {"microsocks", command("microsocks")},
	"danted":           {"dante-server", command("danted")},
	"tinyproxy":        {"tinyproxy-bin", command("tinyproxy")},
	"tshark":           {"tshark", command("tshark")},
	"tcpdump":          {"tcpdump", command("tcpdump")},
	"chromium":         {"chromium", command("chromium")},
	"paramiko":         {"python3-paramiko", pythonWith("paramiko")},
	"asyncssh":         {"python3-asyncssh", pythonWith("asyncssh")},
	"otp":              {"erlang-base erlang-ssh", otp()},
	"nss_wrapper":      {"libnss-wrapper", file("/usr/lib/*/libnss_wrapper.so")},
	"pam_wrapper":      {"libpam-wrapper", file("/usr/lib/*/libpam_wrapper.so")},
	"pam_matrix":       {"libpam-wrapper", file("/usr/lib/*/pam_wrapper/pam_matrix.so")},
}

// Need skips the test unless all the named programs are installed. A name is a
// command, or libssh, libssh2, jsch, paramiko, asyncssh, otp, nss_wrapper, pam_wrapper,
// sk-dummy or softhsm. Where make deps
// could have installed them (CI is set, root, Linux) a missing one fails the
// test.
func Need(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		find(t, name)
	}
}

// Has reports whether all the named programs are installed.
func Has(names ...string) bool {
	return !slices.ContainsFunc(names, func(name string) bool {
		p, known := programs[name]
		if !known {
			return true
		}
		_, ok := p.find()
		return !ok
	})
}

// find returns a program's path, or does not return.
func find(t testing.TB, name string) string {
	t.Helper()
	p, known := programs[name]
	if !known {
		t.Fatalf("testpeer.Need: no program %q is known", name)
	}
	path, ok := p.find()
	if ok {
		return path
	}
	Missing(t, "%s is not installed (Debian: apt-get install %s; make deps does it)", name, p.debian)
	return ""
}

// Missing skips a test that the system has not what it takes for. In CI as root
// on Linux, where make deps could have seen to it, it fails the test.
func Missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") != "" && os.Geteuid() == 0 && runtime.GOOS == "linux" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}
