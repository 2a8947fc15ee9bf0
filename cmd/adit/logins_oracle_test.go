//go:build unix

package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/testpeer"
)

// loginCase is a login at a server that lets in with what needs says: "key" and
// "word" (a password) in any order, or "ask" for its questions, joined by +.
// Identities are those of makeIdentities.
type loginCase struct {
	needs      string
	identities string
	options    string
	answers    string // to questions, one after the other; the last again and again
	// unoffered is a key that we see to be of no use before we offer it; ssh sees
	// it when the server has taken it.
	unoffered string
	// more says why we are let in where ssh is not.
	more string
}

var loginCases = []loginCase{
	{needs: "key", identities: "right"},
	{needs: "key", identities: "a b right c"},
	{needs: "key", identities: "a b c"},
	{needs: "key", identities: "a b c", options: "BatchMode=yes"},
	{needs: "key", identities: "a right", options: "PubkeyAuthentication=no"},
	{needs: "key", identities: "a b c", options: "PasswordAuthentication=no"},
	{needs: "key", identities: "a b c", options: "KbdInteractiveAuthentication=no"},
	{needs: "key", identities: "a locked", answers: "sesame"},
	{needs: "key", identities: "a locked", answers: "barley sesame"},
	{needs: "key", identities: "locked right", answers: "barley"},
	{needs: "key", identities: "locked", answers: "sesame", options: "BatchMode=yes"},
	{needs: "key", identities: "locked", answers: "sesame", options: "NumberOfPasswordPrompts=0"},
	{needs: "key", identities: "a old b right", answers: "sesame"},
	{needs: "key", identities: "right old", answers: "sesame"},
	{needs: "key", identities: "old", answers: "barley oats rye"},
	{needs: "key", identities: "old", answers: "sesame", options: "BatchMode=yes"},
	{needs: "word", identities: "old", answers: "sesame sesame sesame swordfish", options: "KbdInteractiveAuthentication=no"},
	{needs: "word", identities: "a", answers: "swordfish", options: "KbdInteractiveAuthentication=no"},
	{needs: "word", identities: "a", answers: "cod eel swordfish", options: "KbdInteractiveAuthentication=no"},
	{needs: "word", identities: "a", answers: "cod"},
	{needs: "word", identities: "a", answers: "cod", options: "NumberOfPasswordPrompts=1"},
	{needs: "word", identities: "a", answers: "cod", options: "NumberOfPasswordPrompts=5"},
	{needs: "word", identities: "a", answers: "swordfish", options: "NumberOfPasswordPrompts=0"},
	{needs: "word", identities: "a", answers: "swordfish", options: "BatchMode=yes"},
	{needs: "word", identities: "a", answers: "swordfish", options: "PreferredAuthentications=password,publickey"},
	{needs: "word", identities: "a", answers: "swordfish", options: "PreferredAuthentications=publickey"},
	{needs: "word", identities: "a", answers: "cod", options: "PreferredAuthentications=publickey,password"},
	{needs: "word", identities: "a", answers: "cod", options: "PreferredAuthentications=hostbased,password,what,password"},
	{needs: "word", identities: "right", answers: "cod cod cod", options: "PreferredAuthentications=keyboard-interactive,password"},
	{needs: "word", identities: "a", answers: "swordfish", options: "HostKeyAlias=prod KbdInteractiveAuthentication=no"},
	{needs: "ask", identities: "a", answers: "me swordfish"},
	{needs: "ask", identities: "a", answers: "me cod me swordfish"},
	{needs: "ask", identities: "a", answers: "me cod", options: "NumberOfPasswordPrompts=2 PasswordAuthentication=no"},
	{needs: "key+word", identities: "a right b", answers: "swordfish", options: "KbdInteractiveAuthentication=no"},
	{needs: "key+word", identities: "right", answers: "cod", options: "KbdInteractiveAuthentication=no"},
	{needs: "key+word", identities: "a right", answers: "swordfish", options: "PreferredAuthentications=password,publickey"},
	{needs: "key+ask", identities: "right", answers: "me swordfish"},
	{needs: "key+ask", identities: "right", options: "BatchMode=yes"},
	{needs: "word+key", identities: "right", answers: "swordfish", options: "PreferredAuthentications=password,publickey"},
	{needs: "word+key", identities: "right a", answers: "swordfish", options: "KbdInteractiveAuthentication=no",
		more: "a key that was refused may be right after the password"},
	{needs: "key", identities: "rsa small right"},
	{needs: "key", identities: "rsa small right", options: "RequiredRSASize=2048"},
	{needs: "key", identities: "rsa right", options: "RequiredRSASize=2049"},
	{needs: "key", identities: "a rsa right b", options: "PubkeyAcceptedAlgorithms=ssh-ed25519"},
	{needs: "key", identities: "a rsa right b", options: "PubkeyAcceptedAlgorithms=-ssh-ed25519"},
	{needs: "key", identities: "a rsa right b", options: "PubkeyAcceptedAlgorithms=rsa-*"},
	{needs: "key", identities: "a rsa right b", options: "PubkeyAcceptedAlgorithms=^rsa-sha2-256"},
	{needs: "key", identities: "a rsa right b", options: "PubkeyAcceptedAlgorithms=+ssh-rsa"},
	{needs: "key", identities: "b right", options: "PubkeyAcceptedAlgorithms=ecdsa-sha2-nistp256"},
	{needs: "key", identities: "certified a"},
	{needs: "key", identities: "certified a", options: "PubkeyAcceptedAlgorithms=-*-cert-v01@openssh.com"},
	{needs: "key", identities: "missing empty public right", unoffered: "public"},
	{needs: "key", identities: "open right", unoffered: "open"},
	{needs: "key", identities: "none"},
}

// identities are key files, and names of the keys by wire form.
type identities struct {
	dir   string
	names map[string]string
	right gossh.PublicKey
}

func makeIdentities(t *testing.T) *identities {
	t.Helper()
	d := &identities{dir: t.TempDir(), names: map[string]string{}}
	keygen := func(args ...string) {
		if out, err := exec.Command("ssh-keygen", append([]string{"-q"}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen %q: %v\n%s", args, err, out)
		}
	}
	for name, args := range map[string]string{
		"a": "-t ed25519", "b": "-t ecdsa", "c": "-t ed25519", "right": "-t ed25519", "rsa": "-t rsa -b 2048", "small": "-t rsa -b 1024", "certified": "-t ed25519", "open": "-t ed25519",
		"public": "-t ed25519", "ca": "-t ed25519", "locked": "-t ed25519 -a 1 -P sesame", "old": "-t ecdsa -m PEM -P sesame",
	} {
		path := filepath.Join(d.dir, name)
		if !strings.Contains(args, "-P") {
			args += " -P "
		}
		keygen(append(strings.Split(args, " "), "-f", path)...)
		b, err := os.ReadFile(path + ".pub")
		if err != nil {
			t.Fatal(err)
		}
		key, _, _, _, err := gossh.ParseAuthorizedKey(b)
		if err != nil {
			t.Fatal(err)
		}
		d.names[string(key.Marshal())] = name
		if name == "right" {
			d.right = key
		}
	}
	in := func(name string) string { return filepath.Join(d.dir, name) }
	keygen("-s", in("ca"), "-I", "id", "-n", "tester", in("certified.pub"))
	if err := errors.Join(os.Remove(in("old.pub")), os.Rename(in("public.pub"), in("public")), os.Chmod(in("open"), 0o644), os.WriteFile(in("empty"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	return d
}

// attempts is a server that notes what is tried.
type attempts struct {
	addr string
	host gossh.PublicKey

	mu    sync.Mutex
	tried []string // guarded by mu
}

func (a *attempts) note(what string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.tried) == 0 || a.tried[len(a.tried)-1] != what { // a probe, and the signature
		a.tried = append(a.tried, what)
	}
}

// loginServer lets in whoever does what needs says, one after the other.
func loginServer(t *testing.T, needs string, d *identities) *attempts {
	t.Helper()
	host := testpeer.NewKey(t, "ed25519")
	a := &attempts{host: host.Public}
	denied := errors.New("denied")
	steps := strings.Split(needs, "+")
	var callbacks func(i int) gossh.ServerAuthCallbacks
	result := func(i int, kind string, right bool) (*gossh.Permissions, error) {
		switch {
		case !right || !slices.Contains(steps[i:], kind) || kind != steps[i]:
			return nil, denied
		case i+1 < len(steps):
			return nil, &gossh.PartialSuccessError{Next: callbacks(i + 1)}
		}
		return nil, nil
	}
	callbacks = func(i int) gossh.ServerAuthCallbacks {
		return gossh.ServerAuthCallbacks{
			PublicKeyCallback: func(_ gossh.ConnMetadata, key gossh.PublicKey) (*gossh.Permissions, error) {
				name := d.names[string(key.Marshal())]
				if cert, ok := key.(*gossh.Certificate); ok {
					name = "certificate of " + d.names[string(cert.Key.Marshal())]
				}
				a.note("key " + name)
				return result(i, "key", string(key.Marshal()) == string(d.right.Marshal()))
			},
			PasswordCallback: func(_ gossh.ConnMetadata, word []byte) (*gossh.Permissions, error) {
				a.mu.Lock() // the same word again is another attempt
				a.tried = append(a.tried, "password "+string(word))
				a.mu.Unlock()
				return result(i, "word", string(word) == "swordfish")
			},
			KeyboardInteractiveCallback: func(_ gossh.ConnMetadata, ask gossh.KeyboardInteractiveChallenge) (*gossh.Permissions, error) {
				who, err := ask("Gate", "Two rounds", []string{"Who? "}, []bool{true})
				if err != nil {
					return nil, err
				}
				if _, err := ask("", "", nil, nil); err != nil {
					return nil, err
				}
				word, err := ask("", "Now the word", []string{"Word: "}, []bool{false})
				if err != nil {
					return nil, err
				}
				a.mu.Lock()
				a.tried = append(a.tried, fmt.Sprintf("answers %q", slices.Concat(who, word)))
				a.mu.Unlock()
				return result(i, "ask", slices.Equal(slices.Concat(who, word), []string{"me", "swordfish"}))
			},
		}
	}
	first := callbacks(0)
	config := &gossh.ServerConfig{MaxAuthTries: -1, PublicKeyCallback: first.PublicKeyCallback, PasswordCallback: first.PasswordCallback, KeyboardInteractiveCallback: first.KeyboardInteractiveCallback}
	config.AddHostKey(host.Signer)
	a.addr = serveNothing(t, config)
	return a
}

// TestLoginsAsSSH logs in with ssh and with adit. What is tried in which order,
// what is asked, how it ends and the line that it ends with must be the same.
// That we don't ask with "none" first, and sign with an only key at once, is not
// looked at.
func TestLoginsAsSSH(t *testing.T) {
	t.Parallel()
	testpeer.Need(t, "ssh", "ssh-keygen")
	d := makeIdentities(t)
	var in atomic.Int32
	t.Run("login", func(t *testing.T) {
		for _, c := range loginCases {
			t.Run(fmt.Sprintf("%s with %s, %s, answers %s", c.needs, c.identities, c.options, c.answers), func(t *testing.T) {
				t.Parallel()
				theirs, ours := tryLoginWith(t, "ssh", c, d), tryLoginWith(t, "adit", c, d)
				if c.unoffered != "" {
					theirs = strings.Replace(theirs, "key "+c.unoffered+", ", "", 1)
				}
				if strings.HasPrefix(ours, "status 0\n") {
					in.Add(1)
					if c.more != "" && strings.HasPrefix(theirs, "status 255\n") {
						return
					}
				}
				if theirs != ours {
					t.Errorf("adit %s\nssh  %s", ours, theirs)
				}
			})
		}
	})
	t.Logf("%d logins compared with ssh's, %d of them successful", len(loginCases), in.Load())
	if in.Load() < 15 {
		t.Errorf("only %d logins were successful", in.Load())
	}
}

// tryLoginWith tells what a program did, and what the server saw of it.
func tryLoginWith(t *testing.T, program string, c loginCase, d *identities) string {
	t.Helper()
	s := loginServer(t, c.needs, d)
	dir := t.TempDir()
	_, port, _ := net.SplitHostPort(s.addr)
	known := filepath.Join(dir, "known_hosts")
	for name, text := range map[string]string{
		"known_hosts": fmt.Sprintf("[127.0.0.1]:%s,prod %s", port, gossh.MarshalAuthorizedKey(s.host)),
		"answers":     strings.ReplaceAll(c.answers, " ", "\n") + "\n",
		"askpass": "#!/bin/sh\ncd " + dir + "\nprintf '%s\\n' \"$1\" >>asked\n" + // as many answers as questions, or the last
			"while read -r q <&3; do read -r a <&4 && b=$a; done 3<asked 4<answers\nprintf '%s\\n' \"$b\"\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	args := []string{"-F", "none", "-n", cheapKex, "-p", port, "-l", "tester", "-o", "IdentitiesOnly=yes", "-o", "UserKnownHostsFile=" + known, "-o", "GlobalKnownHostsFile=none", "-o", "UpdateHostKeys=no"}
	for _, id := range strings.Fields(c.identities) {
		if id != "none" {
			id = filepath.Join(d.dir, id)
		}
		args = append(args, "-o", "IdentityFile="+id)
	}
	for _, option := range strings.Fields(c.options) {
		args = append(args, "-o", option)
	}
	args = append(args, "127.0.0.1", "true")
	if program == "adit" {
		args = append([]string{"ssh"}, args...)
	}
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_CACHE_HOME="+dir+"/cache", "SSH_AUTH_SOCK=", "DISPLAY=:0", "SSH_ASKPASS="+dir+"/askpass", "SSH_ASKPASS_REQUIRE=force")
	out, err := cmd.CombinedOutput()
	status, err := exitStatusOf(err)
	if err != nil {
		t.Fatal(err)
	}
	asked, _ := os.ReadFile(filepath.Join(dir, "asked"))
	var said []string
	for line := range strings.Lines(strings.ReplaceAll(string(out), "\r", "")) {
		switch {
		case strings.HasPrefix(line, "adit: "), strings.HasPrefix(line, "@"), strings.HasPrefix(line, "Load key "), strings.HasPrefix(line, "load pubkey "), strings.HasPrefix(line, "no such identity: "), strings.HasPrefix(line, "Permissions 0644"), strings.HasPrefix(line, "It is required that"),
			strings.HasPrefix(line, "This private key will be ignored"): // about files we have other words
		default:
			said = append(said, strings.TrimSpace(line))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.tried, "key right"); i >= 0 { // ssh shows it again when it was right, but not enough
		s.tried = slices.Concat(s.tried[:i+1], slices.DeleteFunc(slices.Clone(s.tried[i+1:]), func(what string) bool { return what == "key right" }))
	}
	return fmt.Sprintf("status %d\ntried: %s\nasked:\n%ssaid: %q", status, strings.Join(s.tried, ", "), strings.ReplaceAll(string(asked), d.dir, "DIR"), said)
}
