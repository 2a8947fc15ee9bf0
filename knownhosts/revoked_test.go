package knownhosts

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/testpeer"
)

// keygen runs ssh-keygen in dir.
func keygen(t *testing.T, dir string, args ...string) string {
	t.Helper()
	testpeer.Need(t, "ssh-keygen")
	cmd := exec.Command("ssh-keygen", args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		t.Fatal(err)
	}
	return string(out)
}

func readKey(t *testing.T, path string) gossh.PublicKey {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	k, _, _, _, err := gossh.ParseAuthorizedKey(b)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// Lists that ssh-keygen makes say the same to us as to ssh-keygen -Q.
func TestRevokedAsSSHKeygen(t *testing.T) {
	dir := t.TempDir()
	names := []string{"ca.pub", "ca2.pub"}
	for _, k := range []string{"ca", "ca2", "a", "b", "c"} {
		keygen(t, dir, "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", k)
	}
	for _, ca := range []string{"ca", "ca2"} {
		for _, k := range []string{"a", "b", "c"} {
			for _, n := range []int{0, 1, 5, 6, 70, 1000} {
				name := fmt.Sprintf("%s-%s-%d", k, ca, n)
				keygen(t, dir, "-q", "-s", ca, "-I", "id-"+k+"-"+fmt.Sprint(n), "-h", "-z", fmt.Sprint(n), "-n", "h", k+".pub")
				if err := os.Rename(filepath.Join(dir, k+"-cert.pub"), filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
				names = append(names, name)
			}
		}
	}
	names = append(names, "a.pub", "b.pub", "c.pub")
	plain, err := os.ReadFile(filepath.Join(dir, "b.pub"))
	if err != nil {
		t.Fatal(err)
	}
	for i, tt := range []struct {
		ca   string
		spec string
	}{
		{"", string(plain)},
		{"", "key: " + string(plain)},
		{"", "sha1: " + string(plain)},
		{"", "sha256: " + string(plain)},
		{"", "hash: " + gossh.FingerprintSHA256(readKey(t, filepath.Join(dir, "c.pub"))) + "\n"},
		{"ca.pub", "serial: 5\n"},
		{"ca.pub", "serial: 5-6\nserial: 1000\n"},
		{"ca.pub", "serial: 1\nserial: 3\nserial: 5\nserial: 7\nserial: 9\nserial: 70\n"},
		{"ca2.pub", "serial: 60-18446744073709551615\n"},
		{"ca.pub", "id: id-a-0\nid: id-c-70\n"},
		{"none", "id: id-b-1\n"},
		{"", ""},
	} {
		spec, list := filepath.Join(dir, fmt.Sprint("spec", i)), filepath.Join(dir, fmt.Sprint("krl", i))
		if err := os.WriteFile(spec, []byte(tt.spec), 0o600); err != nil {
			t.Fatal(err)
		}
		args := []string{"-k", "-f", list}
		if tt.ca != "" {
			args = append(args, "-s", tt.ca)
		}
		out := keygen(t, dir, append(args, spec)...)
		r, err := LoadRevoked(list)
		if err != nil {
			t.Errorf("%q: %v; ssh-keygen: %s", tt.spec, err, out)
			continue
		}
		revoked := 0
		for _, name := range names {
			want := strings.Contains(keygen(t, dir, "-Q", "-f", list, name), "REVOKED")
			got := r.Check(readKey(t, filepath.Join(dir, name)))
			if _, listed := errors.AsType[*ListedError](got); listed != want {
				t.Errorf("%q with authority %q: %s is %v, want revoked %v", tt.spec, tt.ca, name, got, want)
			}
			if want {
				revoked++
			}
		}
		if tt.spec != "" && revoked == 0 {
			t.Errorf("%q revokes nothing: the test proves nothing; ssh-keygen: %s", tt.spec, out)
		}
	}
}

func TestRevokedPlain(t *testing.T) {
	dir := t.TempDir()
	for _, k := range []string{"ca", "a", "b"} {
		keygen(t, dir, "-q", "-t", "ed25519", "-N", "", "-f", k)
	}
	keygen(t, dir, "-q", "-s", "ca", "-I", "x", "-h", "b.pub")
	write := func(name string, parts ...string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(strings.Join(parts, "\n")), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	line := func(name string) string {
		return string(gossh.MarshalAuthorizedKey(readKey(t, filepath.Join(dir, name))))
	}
	for _, tt := range []struct {
		list    string
		revoked map[string]bool
	}{
		{write("l1", "# a comment", "", line("a.pub")), map[string]bool{"a.pub": true}},
		{write("l2", line("ca.pub")), map[string]bool{"ca.pub": true, "b-cert.pub": true}},
		{write("l3", line("b.pub")), map[string]bool{"b.pub": true, "b-cert.pub": true}},
		{write("l4", line("b-cert.pub")), map[string]bool{"b.pub": true, "b-cert.pub": true}},
		{write("l5"), nil},
	} {
		r, err := LoadRevoked(tt.list)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"a.pub", "b.pub", "b-cert.pub", "ca.pub"} {
			if err := r.Check(readKey(t, filepath.Join(dir, name))); (err != nil) != tt.revoked[name] {
				t.Errorf("%s: %s is %v, want revoked %v", filepath.Base(tt.list), name, err, tt.revoked[name])
			}
		}
	}
	for what, path := range map[string]string{"a missing list": filepath.Join(dir, "no"), "a folder": dir, "nonsense": write("bad", "ssh-ed25519 AAAA")} {
		if _, err := LoadRevoked(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %v, want an error that names it", what, err)
		}
	}
}

// A list that is cut short anywhere is an error, or one of whole sections.
func FuzzKRL(f *testing.F) {
	f.Add([]byte(krlMagic + "\x00\x00\x00\x01" + strings.Repeat("\x00", 24) + strings.Repeat("\x00", 8) + "\x02\x00\x00\x00\x05\x00\x00\x00\x01x"))
	f.Add([]byte(krlMagic + "\x00\x00\x00\x01" + strings.Repeat("\x00", 24) + strings.Repeat("\x00", 8) +
		"\x01\x00\x00\x00\x1d\x00\x00\x00\x00\x00\x00\x00\x00\x21\x00\x00\x00\x10" + strings.Repeat("\x00", 15) + "\x09"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if !isKRL(b) {
			return
		}
		k, err := parseKRL(b)
		if err != nil {
			return
		}
		k.revokes(&gossh.Certificate{Key: fuzzKey, SignatureKey: fuzzKey, Serial: 7, KeyId: "x"})
	})
}

var fuzzKey = func() gossh.PublicKey {
	k, err := gossh.ParsePublicKey(append([]byte("\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20"), bytes.Repeat([]byte{1}, 32)...))
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return k
}()
