//go:build unix

package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/setup"
	"github.com/adit-ssh/adit/internal/testpeer"
)

// TestOffersAsSSH compares what ssh and adit offer in KEXINIT, name by name in
// order, for lists with + - ^ and wildcards and for what known_hosts has. Names that
// only one of them knows, or uses by default, are not looked at.
func TestOffersAsSSH(t *testing.T) {
	t.Parallel()
	testpeer.Need(t, "ssh")
	key := func(typ string) string {
		return strings.TrimSpace(string(gossh.MarshalAuthorizedKey(testpeer.NewKey(t, typ).Public)))
	}
	known := map[string]string{"": "", "ecdsa": "HOST " + key("ecdsa"), "rsa, elsewhere ecdsa": "HOST " + key("rsa") + "\nelse " + key("ecdsa"), "authority": "@cert-authority HOST " + key("ed25519"), "without port": "127.0.0.1 " + key("rsa")}
	keywords := map[string]string{"kex": "KexAlgorithms", "hostkey": "HostKeyAlgorithms", "cipher": "Ciphers", "mac": "MACs"}
	kinds := slices.Sorted(maps.Keys(keywords))
	base := map[string][2][]string{}
	for _, what := range kinds {
		base[what] = [2][]string{offered(t, "ssh", "", "")[what], offered(t, "adit", "", "")[what]}
	}
	compared := 0
	for _, hosts := range []string{"", "ecdsa", "rsa, elsewhere ecdsa", "authority", "without port"} {
		for _, option := range []string{
			"", "HostKeyAlgorithms=rsa-sha2-256,ssh-ed25519", "HostKeyAlgorithms=+ssh-rsa", "HostKeyAlgorithms=-ssh-ed25519*,rsa-*", "HostKeyAlgorithms=^rsa-sha2-256,ecdsa-sha2-nistp521",
			"HostKeyAlgorithms=ecdsa-*", "HostKeyAlgorithms=+*", "HostKeyAlgorithms=*-cert-v01@openssh.com",
			"KexAlgorithms=ecdh-sha2-nistp384,curve25519-sha256", "KexAlgorithms=-curve25519*", "KexAlgorithms=^diffie-hellman-group14-sha256", "KexAlgorithms=+diffie-hellman-group14-sha256",
			"Ciphers=^aes128-ctr", "Ciphers=-*gcm*", "Ciphers=aes256-ctr,aes128-ctr", "MACs=^hmac-sha2-512", "MACs=-*-etm@openssh.com", "MACs=hmac-sha2-256",
		} {
			if hosts != "" && option != "" && !strings.HasPrefix(option, "HostKey") {
				continue
			}
			theirs, ours := offered(t, "ssh", option, known[hosts]), offered(t, "adit", option, known[hosts])
			for _, what := range kinds {
				// What one offers by default and the other does not is left aside,
				// unless it was named.
				both := func(names []string) []string {
					return slices.DeleteFunc(slices.Clone(names), func(n string) bool {
						return slices.Contains(base[what][0], n) != slices.Contains(base[what][1], n) && !strings.Contains(option, n)
					})
				}
				compared++
				a, b := both(ours[what]), both(theirs[what])
				b = slices.DeleteFunc(b, func(n string) bool { return !slices.Contains(setup.Supported(keywords[what]), n) })
				// Wildcards are filled in, and ciphers preferred, in an order of our
				// own; what goes to the front is there all the same.
				if strings.Contains(option, "*") && what == "hostkey" || what == "cipher" && !strings.Contains(option, "Ciphers=aes") {
					if strings.HasPrefix(option, keywords[what]+"=^") && a[0] != b[0] {
						t.Errorf("%s: %s: adit %s first, ssh %s", option, what, a[0], b[0])
					}
					slices.Sort(a)
					slices.Sort(b)
				}
				if !slices.Equal(a, b) {
					t.Errorf("known %q, %s: %s\nadit %v\nssh  %v", hosts, option, what, a, b)
				}
			}
		}
	}
	t.Logf("%d lists compared with ssh's", compared)
}

// offered returns the names in a program's KEXINIT.
func offered(t *testing.T, program, option, known string) map[string][]string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	file := filepath.Join(t.TempDir(), "known_hosts")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(known, "HOST", "[127.0.0.1]:"+port)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"-F", "none", "-n", "-p", port, "-o", "BatchMode=yes", "-o", "UserKnownHostsFile=" + file, "-o", "GlobalKnownHostsFile=none"}
	if option != "" {
		args = append(args, "-o", option)
	}
	args = append(args, "127.0.0.1", "true")
	if program == "adit" {
		args = append([]string{"ssh"}, args...)
	}
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Env = append(os.Environ(), "HOME="+filepath.Dir(file), "SSH_AUTH_SOCK=")
	ended := make(chan error, 1)
	go func() { // ends with the program, which ends when we hang up
		out, err := cmd.CombinedOutput()
		l.Close()
		ended <- fmt.Errorf("%w\n%s", errors.Join(err), out)
	}()
	nc, err := l.Accept()
	if err != nil {
		t.Fatalf("%s with %s does not connect: %v", program, option, <-ended)
	}
	lists, err := readKexInit(nc)
	nc.Close()
	<-ended
	if err != nil {
		t.Fatalf("%s with %s: %v", program, option, err)
	}
	return lists
}

// readKexInit reads a version line and KEXINIT (RFC 4253, section 7.1).
func readKexInit(nc net.Conn) (map[string][]string, error) {
	if _, err := io.WriteString(nc, "SSH-2.0-Listener\r\n"); err != nil {
		return nil, err
	}
	r := bufio.NewReader(nc)
	if _, err := r.ReadString('\n'); err != nil {
		return nil, err
	}
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	body := make([]byte, min(binary.BigEndian.Uint32(head[:]), 1<<16)-1)
	if _, err := io.ReadFull(r, body); err != nil {
		return nil, err
	}
	body = body[1+16:] // number and cookie
	lists := map[string][]string{}
	for _, what := range []string{"kex", "hostkey", "cipher", "cipher back", "mac"} {
		n := binary.BigEndian.Uint32(body)
		names := strings.Split(string(body[4:4+n]), ",")
		lists[what] = slices.DeleteFunc(names, func(n string) bool {
			return strings.HasPrefix(n, "ext-info-") || strings.HasPrefix(n, "kex-strict-")
		})
		body = body[4+n:]
	}
	return lists, nil
}
