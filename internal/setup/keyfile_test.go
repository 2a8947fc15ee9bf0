package setup

import (
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	gossh "golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/adit-ssh/adit/internal/testnet"
	"github.com/adit-ssh/adit/internal/testpeer"
)

// keygen runs ssh-keygen.
func keygen(t *testing.T, args ...string) {
	t.Helper()
	testpeer.Need(t, "ssh-keygen")
	if out, err := exec.Command("ssh-keygen", args...).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen %q: %v\n%s", args, err, out)
	}
}

// Each format that ssh-keygen writes can be read, with and without a passphrase,
// and signs what its public key verifies.
func TestKeyFormats(t *testing.T) {
	for _, format := range []string{"RFC4716", "PEM", "PKCS8"} {
		for _, typ := range []string{"ed25519", "ecdsa-256", "ecdsa-384", "ecdsa-521", "rsa-1024"} {
			name, bits, _ := strings.Cut(typ, "-")
			if name == "ed25519" && format != "RFC4716" {
				continue // ssh-keygen writes OpenSSH's format all the same
			}
			for _, pass := range []string{"", "open sesame"} {
				t.Run(format+"/"+typ+"/"+pass, func(t *testing.T) {
					t.Parallel()
					path := filepath.Join(t.TempDir(), "id")
					args := []string{"-q", "-t", name, "-a", "1", "-N", pass, "-m", format, "-f", path}
					if bits != "" {
						args = append(args, "-b", bits)
					}
					keygen(t, args...)
					public, _, _, _, err := gossh.ParseAuthorizedKey(readFile(t, path+".pub"))
					if err != nil {
						t.Fatal(err)
					}
					for _, beside := range []bool{true, false} {
						if !beside {
							if err := os.Remove(path + ".pub"); err != nil {
								t.Fatal(err)
							}
						}
						if format == "RFC4716" && !beside && pass != "" && typ != "ed25519" {
							continue // it tells its public key; each passphrase costs a bcrypt
						}
						who := &typist{answers: []string{"wrong", "open sesame"}}
						o := &Options{IdentityFiles: []string{path}, IdentityAgent: "none", Prompter: who}
						keys, err := o.keys(t.Context())
						if err != nil || len(keys) != 1 {
							t.Fatalf("%d keys, %v, want one", len(keys), err)
						}
						if who.asked > 0 {
							t.Error("the passphrase was asked for before it was the key's turn")
						}
						if told := beside || pass == "" || format == "RFC4716"; told != (keys[0].Open == nil) {
							t.Errorf("public key beside %v: it has to be opened first: %v", beside, keys[0].Open != nil)
						}
						if open := keys[0].Open; open != nil {
							if keys[0].Signer, err = open(t.Context()); err != nil {
								t.Fatal(err)
							}
						}
						if !sameKey(keys[0].PublicKey(), public) {
							t.Error("it is another key")
						}
						sig, err := keys[0].Sign(nil, []byte("data"))
						if err == nil {
							err = public.Verify([]byte("data"), sig)
						}
						if err != nil || (pass != "") != (who.asked == 2) {
							t.Errorf("public key beside %v: %v after %d questions", beside, err, who.asked)
						}
					}
				})
			}
		}
	}
}

// What is no usable private key is told in a line that names the file and says
// what is wrong with it.
func TestBadKeyFiles(t *testing.T) {
	good := testpeer.NewKey(t, "ed25519")
	text := string(readFile(t, good.Path))
	lines := strings.SplitAfter(text, "\n")
	for _, tt := range []struct{ name, text, want string }{
		{"empty", "", "it is empty"},
		{"cut off", text[:200], "it is cut off"},
		{"garbage", "hello\n", "it holds no private key"},
		{"headless", strings.Join(lines[1:], ""), "it holds no private key"},
		{"public", good.Line(), "it holds a public key"},
		{"putty", "PuTTY-User-Key-File-3: ssh-ed25519\n", "puttygen"},
		{"damaged", lines[0] + "%%%%\n" + lines[len(lines)-2], "it is damaged"},
		{"half", strings.Join(slices.Delete(slices.Clone(lines), 2, 3), ""), "it is damaged"},
		{"too long", strings.Repeat("x", maxKeyFile+1), "more than 1048576 bytes"},
		{"unknown", "-----BEGIN SECRET PRIVATE KEY-----\nAAAA\n-----END SECRET PRIVATE KEY-----\n", "of a kind that is not known here"},
		{"pkcs8", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n", "needs a passphrase, and there is nobody to ask"},
	} {
		path := filepath.Join(t.TempDir(), "id")
		if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		wantOneNotice(t, tt.name, path, "identity file "+path+": ", tt.want)
	}
	wantOneNotice(t, "missing", good.Path+"x", "no such identity: "+good.Path+"x: ", "")
	wantOneNotice(t, "directory", filepath.Dir(good.Path), "identity file ", "it is a directory")
	if runtime.GOOS != "windows" {
		if err := os.Chmod(good.Path, 0o640); err != nil {
			t.Fatal(err)
		}
		wantOneNotice(t, "open to others", good.Path, "identity file ", "WARNING: UNPROTECTED PRIVATE KEY FILE! Permissions 0640 for '"+good.Path+"' are too open")
	}

	// Windows' line ends do no harm, and neither does a wrong public key beside.
	crlf := filepath.Join(t.TempDir(), "id")
	if err := os.WriteFile(crlf, []byte(strings.ReplaceAll(text, "\n", "\r\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(crlf+".pub", []byte(testpeer.NewKey(t, "ecdsa").Line()), 0o600); err != nil {
		t.Fatal(err)
	}
	keys, notices := keysOf(t, &Options{IdentityFiles: []string{crlf}, IdentityAgent: "none"})
	if len(keys) != 1 || !sameKey(keys[0].PublicKey(), good.Public) || len(notices) != 1 || !strings.Contains(notices[0], ".pub is of another key than ") {
		t.Errorf("%d keys, told %q; want the private key's own, and a word about the other", len(keys), notices)
	}
}

func wantOneNotice(t *testing.T, name, path, prefix, want string) {
	t.Helper()
	keys, notices := keysOf(t, &Options{IdentityFiles: []string{path}, IdentityAgent: "none"})
	if len(keys) != 0 || len(notices) != 1 || !strings.HasPrefix(notices[0], "warning: "+prefix) || !strings.Contains(notices[0], want) {
		t.Errorf("%s: %d keys, told %q; want a line with %q", name, len(keys), notices, want)
	}
}

// keysOf returns the keys that are tried, and what the person is told.
func keysOf(t *testing.T, o *Options) (_ []gossh.Signer, notices []string) {
	t.Helper()
	o.Notice = func(text string) { notices = append(notices, text) }
	keys, err := o.keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var signers []gossh.Signer
	for _, k := range keys {
		signers = append(signers, k.Signer)
	}
	return signers, notices
}

// Keys that both a file and the agent have go first, then named files, then what
// else the agent has, then the default files; certificates behind their keys.
func TestOrderOfKeys(t *testing.T) {
	testpeer.Need(t, "ssh-keygen")
	home := t.TempDir()
	t.Setenv("HOME", home)
	if err := os.Mkdir(filepath.Join(home, ".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	ring := agent.NewKeyring()
	names := map[string]string{}
	add := func(name string, inAgent bool) *testpeer.Key {
		k := testpeer.NewKey(t, "ed25519")
		names[string(k.Public.Marshal())] = name
		if inAgent {
			raw, err := gossh.ParseRawPrivateKey(readFile(t, k.Path))
			if err != nil {
				t.Fatal(err)
			}
			if err := ring.Add(agent.AddedKey{PrivateKey: raw}); err != nil {
				t.Fatal(err)
			}
		}
		return k
	}
	add("agent only", true)
	file := add("file", false)
	pub := add("agent, .pub alone", true)
	both := add("agent and file", true)
	std := add("default file", false)
	if err := os.Remove(pub.Path); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(std.Path, filepath.Join(home, ".ssh", "id_ed25519")); err != nil {
		t.Fatal(err)
	}
	ca := testpeer.NewKey(t, "ed25519")
	for _, k := range []*testpeer.Key{file, pub} { // the second has no private key in a file
		names[string(k.Certify(t, ca, "user", []string{"u"}).Marshal())] = "certificate of " + names[string(k.Public.Marshal())]
	}
	path, _ := testnet.ServeLocal(t, func(nc net.Conn) { agent.ServeAgent(ring, nc) })
	for _, tt := range []struct {
		files []string
		only  bool
		want  string
	}{
		{nil, false, "agent only, agent, .pub alone, agent and file, default file"},
		{nil, true, "default file"},
		{[]string{file.Path, both.Path, pub.Path}, false, "agent, .pub alone, certificate of agent, .pub alone, agent and file, file, certificate of file, agent only"},
		{[]string{file.Path, pub.Path + ".pub"}, true, "agent, .pub alone, file, certificate of file"},
	} {
		keys, notices := keysOf(t, &Options{IdentityFiles: tt.files, IdentitiesOnly: tt.only, IdentityAgent: path})
		var got []string
		for _, k := range keys {
			got = append(got, names[string(k.PublicKey().Marshal())])
		}
		if strings.Join(got, ", ") != tt.want || len(notices) > 0 {
			t.Errorf("only %v: tries %s; told %q\nwant %s", tt.only, strings.Join(got, ", "), notices, tt.want)
		}
	}
}

// A file that can't be used still tells, without a .pub, which key of the agent
// is meant.
func TestUnusableFileNamesAgentKey(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("file modes are not looked at")
	}
	k := testpeer.NewKey(t, "ed25519")
	raw, err := gossh.ParseRawPrivateKey(readFile(t, k.Path))
	if err != nil {
		t.Fatal(err)
	}
	ring := agent.NewKeyring()
	if err := errors.Join(ring.Add(agent.AddedKey{PrivateKey: raw}), os.Remove(k.Path+".pub"), os.Chmod(k.Path, 0o644)); err != nil {
		t.Fatal(err)
	}
	path, _ := testnet.ServeLocal(t, func(nc net.Conn) { agent.ServeAgent(ring, nc) })
	keys, notices := keysOf(t, &Options{IdentityFiles: []string{k.Path}, IdentitiesOnly: true, IdentityAgent: path})
	if len(keys) != 1 || len(notices) > 0 {
		t.Errorf("%d keys, told %q; want the agent's, and no word", len(keys), notices)
	}
}

func FuzzPKCS8(f *testing.F) {
	f.Add([]byte{0x30, 0x00})
	f.Add([]byte("\x30\x1d\x30\x1b\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0d\x30\x0e\x30\x05\x06\x03\x2a\x03\x04\x30\x05\x06\x03\x2a\x03\x04"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if k, err := decryptPKCS8(b, []byte("x"), kdfLimits{rounds: 100, bytes: 1 << 20}); (k == nil) == (err == nil) {
			t.Errorf("got %v, %v", k, err)
		}
		clearPublic(b)
	})
}

// One wrong passphrase in 256 seems to open a key of the old format: it is wrong all
// the same, and asked for again.
func TestWrongPassphraseThatSeemsRight(t *testing.T) {
	path := filepath.Join(t.TempDir(), "id")
	keygen(t, "-q", "-t", "ecdsa", "-m", "PEM", "-N", "open sesame", "-f", path)
	if err := os.Remove(path + ".pub"); err != nil {
		t.Fatal(err)
	}
	text := readFile(t, path)
	block, _ := pem.Decode(text)
	wrong := ""
	for i := 0; !nonsense(block, []byte(wrong)); i++ {
		wrong = fmt.Sprint("wrong", i)
	}
	who := &typist{answers: []string{wrong, "open sesame"}}
	o := &Options{IdentityFiles: []string{path}, IdentityAgent: "none", Prompter: who}
	keys, err := o.keys(t.Context())
	if err != nil || len(keys) != 1 {
		t.Fatalf("%d keys, %v, want one", len(keys), err)
	}
	if _, err := keys[0].Open(t.Context()); err != nil || who.asked != 2 {
		t.Errorf("%v after %d questions, want the key after 2", err, who.asked)
	}
}
