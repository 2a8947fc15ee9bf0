package agent

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/testnet"
	"github.com/adit-ssh/adit/internal/testpeer"
	"github.com/adit-ssh/adit/internal/wire"
)

func run(t testing.TB, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
}

// softToken makes a PKCS#11 token of software with two keys.
func softToken(t testing.TB) (keys []keyPair) {
	t.Helper()
	testpeer.Need(t, "softhsm", "softhsm2-util")
	dir := t.TempDir()
	conf := filepath.Join(dir, "softhsm2.conf")
	if err := os.WriteFile(conf, []byte("directories.tokendir = "+dir+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOFTHSM2_CONF", conf)
	run(t, "softhsm2-util", "--init-token", "--free", "--label", "adit", "--pin", "1234", "--so-pin", "12345678")
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	e, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for i, k := range []any{r, e} {
		b, err := x509.MarshalPKCS8PrivateKey(k)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, "key.pem")
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: b}), 0o600); err != nil {
			t.Fatal(err)
		}
		run(t, "softhsm2-util", "--import", file, "--token", "adit", "--label", fmt.Sprint("key ", i), "--id", fmt.Sprint("0", i+1), "--pin", "1234")
		keys = append(keys, newKeyPair(t, fmt.Sprint("key ", i), k))
	}
	return keys
}

// Both agents do the same with a PKCS#11 token, through OpenSSH's helper.
func TestTokenAsSSHAgent(t *testing.T) {
	testnet.Census(t)
	keys := softToken(t)
	d := newDuo(t)
	l := d.line()
	provider := testpeer.TokenProvider
	use := func(what string) {
		t.Helper()
		d.list(l, what)
		for _, k := range keys {
			for _, public := range []gossh.PublicKey{k.public, k.cert} {
				for _, flags := range []uint32{0, FlagRSASHA256, FlagRSASHA512, 1} {
					d.sign(l, k, public, fmt.Sprintf("%s: sign with %s, %s, flags %d", what, k.name, public.Type(), flags), flags)
				}
			}
		}
	}
	l.ask("wrong PIN", addingToken(provider, "4321"))
	use("after a wrong PIN")
	l.ask("no PIN", addingToken(provider, ""))
	l.ask("remove all", []byte{numRemoveAll}) // without a PIN there may be keys that don't sign
	l.ask("add", addingToken(provider, "1234"))
	use("added")
	if n := d.ours.Len(); n != len(keys) {
		t.Fatalf("there are %d keys, want %d", n, len(keys))
	}
	if !d.real.since(10, 2) { // which loses the token then, and ends at the next removal
		l.ask("add again", addingToken(provider, "1234"))
	}
	l.ask("remove one", removing(keys[0].public))
	use("one is removed")
	l.ask("lock", wire.AppendString([]byte{numLock}, "word"))
	use("locked")
	l.ask("remove while locked", removingToken(provider))
	l.ask("unlock", wire.AppendString([]byte{numUnlock}, "word"))
	use("unlocked")
	perProvider := d.real.since(9, 4) // before, a helper refused what it did not know
	if perProvider {
		l.ask("remove another", removingToken("/usr/lib/os-release"))
	}
	l.ask("remove what is not there", removingToken("/nowhere.so"))
	l.ask("remove", removingToken(provider))
	use("removed")
	if perProvider {
		l.ask("remove again", removingToken(provider))
	}
	to := Destination{To: Hop{Hostname: "a", Keys: []HostKey{{Blob: testKeys.hosts[0].PublicKey().Marshal()}}}}
	l.ask("add with destinations", addingToken(provider, "1234", (&AddedKey{Destinations: []Destination{to}}).appendConstraints(nil)...))
	use("with destinations")
	l.ask("remove the token", removingToken(provider)) // ssh-agent 9.2 does not add it again after "remove all"
	l.ask("confirmed", addingToken(provider, "1234", constrainConfirm))
	use("to be confirmed")
	l.ask("remove the token", removingToken(provider))
	for _, limits := range [][]byte{{3}, {constrainLifetime, 0, 0}, {constrainConfirm, constrainConfirm}, wire.AppendString(wire.AppendString([]byte{constrainExtension}, extSKProvider), "internal")} {
		l.ask("limits that are not known", addingToken(provider, "1234", limits...))
	}
	l.ask("no library", addingToken("/usr/lib/os-release", "1234"))
	l.ask("not allowed", addingToken("/etc/passwd", "1234"))
	if d.real.since(9, 6) {
		l.ask("certificates only", addingToken(provider, "1234", associated(true, keys[0].cert, keys[1].public)...))
		use("certificates only")
		l.ask("remove the token", removingToken(provider))
		l.ask("more certificates, and keys", addingToken(provider, "1234", associated(false, keys[1].cert, keys[0].cert)...))
		use("certificates and keys")
		l.ask("twice", addingToken(provider, "1234", append(associated(true, keys[0].cert), associated(true, keys[0].cert)...)...))
	}
	if d.real.since(9, 4) {
		bound := d.line()
		bound.ask("bind", binding(session(t, testKeys.hosts[0], "id"), true))
		bound.ask("from another host", addingToken(provider, "1234"))
		bound.ask("remove from another host", removingToken(provider))
	}
	t.Logf("%d replies compared", d.compared)
	d.ours.Close()
}

// list asks both for their keys. SoftHSM has no order.
func (d *duo) list(l *line, what string) {
	d.Helper()
	var sorted [2]string
	for i, reply := range [][]byte{l.ours.Answer(d.Context(), []byte{numRequestKeys}), l.real([]byte{numRequestKeys})} {
		ids, err := parseKeys(reply[1:])
		if err != nil || reply[0] != numKeys {
			d.Fatalf("%s: list: %x, %v", what, reply, err)
		}
		slices.SortFunc(ids, func(a, b Identity) int { return bytes.Compare(a.Blob, b.Blob) })
		sorted[i] = fmt.Sprintf("%q", ids)
	}
	d.compared++
	if sorted[0] != sorted[1] {
		d.Errorf("%s: list: got %s, ssh-agent's is %s", what, sorted[0], sorted[1])
	}
}

// sign asks both for a signature, which is another one each time with ECDSA.
func (d *duo) sign(l *line, k keyPair, public gossh.PublicKey, what string, flags uint32) {
	d.Helper()
	request := signing(public, "data", flags)
	if k.repeats {
		l.ask(what, request)
		return
	}
	ours, real := l.ours.Answer(d.Context(), request), l.real(request)
	d.compared++
	if ours[0] != real[0] {
		d.Errorf("%s: got %x, ssh-agent answers %x", what, ours, real)
	}
	if ours[0] == numSignature {
		wantSignature(d, public, []byte("data"), ours)
		wantSignature(d, public, []byte("data"), real)
	}
}

// recorded are the requests with which ssh-add adds a file's key.
func recorded(t testing.TB, args ...string) (requests [][]byte) {
	t.Helper()
	path, ended := listenAgent(t, false, func(nc net.Conn) {
		answers(func(request []byte) []byte {
			switch request[0] {
			case numAdd, numAddConstrained:
				requests = append(requests, request)
				return []byte{numSuccess}
			}
			return []byte{numFailure}
		})(nc)
	})
	cmd := exec.Command("ssh-add", args...)
	cmd.Env = append(os.Environ(), "SSH_AUTH_SOCK="+path)
	out, err := cmd.CombinedOutput()
	ended()
	if err != nil || len(requests) == 0 {
		t.Fatalf("ssh-add %q: %v, %d requests\n%s", args, err, len(requests), out)
	}
	return requests
}

// Both agents do the same with keys in OpenSSH's software security key, as ssh-keygen
// makes them and ssh-add adds them, through OpenSSH's helper.
func TestSecurityKeyAsSSHAgent(t *testing.T) {
	testpeer.Need(t, "sk-dummy", "ssh-keygen", "ssh-add")
	testnet.Census(t)
	d := newDuo(t)
	ca := testpeer.NewKey(t, "ed25519")
	provider := testpeer.SKProvider
	step := 1
	if testing.Short() {
		step = 9
	}
	for _, typ := range []string{"ed25519-sk", "ecdsa-sk"} {
		for _, option := range []string{"application=ssh:adit", "no-touch-required"} {
			d.empty()
			file := filepath.Join(t.TempDir(), "id")
			run(t, "ssh-keygen", "-q", "-t", typ, "-N", "", "-C", "a comment", "-f", file, "-w", provider, "-O", option)
			run(t, "ssh-keygen", "-q", "-s", ca.Path, "-I", "id", "-n", "alice", file+".pub")
			k := keyPair{name: typ + " " + option, repeats: typ == "ed25519-sk"}
			var publics []gossh.PublicKey
			for _, name := range []string{file + ".pub", file + "-cert.pub"} {
				line, err := os.ReadFile(name)
				if err != nil {
					t.Fatal(err)
				}
				public, _, _, _, err := gossh.ParseAuthorizedKey(line)
				if err != nil {
					t.Fatal(err)
				}
				publics = append(publics, public)
			}
			l := d.line()
			for _, request := range recorded(t, "-q", "-S", provider, file) {
				for n := 1; n < len(request); n += step {
					l.ask(fmt.Sprintf("%s: its first %d of %d bytes", k.name, n, len(request)), request[:n])
				}
				l.ask(k.name+": add", request)
			}
			list := l.ask(k.name+": list", []byte{numRequestKeys})
			if ids, err := parseKeys(list[1:]); err != nil || len(ids) != 2 {
				t.Fatalf("%s: %d keys, %v, want it and its certificate", k.name, len(ids), err)
			}
			for _, public := range publics {
				request := signing(public, "data", 0)
				got := l.ours.Answer(t.Context(), request)
				if option != "no-touch-required" { // x/crypto takes those for wrong
					wantSignature(t, public, []byte("data"), got)
				}
				if k.repeats {
					l.ask(k.name+": sign with "+public.Type(), request)
				} else if real := l.real(request); real[0] != got[0] || len(got) < 60 {
					t.Errorf("%s: got %x, ssh-agent answers %x", k.name, got, real)
				}
				l.ask(k.name+": sign with RSA's flags", signing(testKeys.user.PublicKey(), "data", FlagRSASHA256))
			}
			for _, request := range recorded(t, "-q", "-c", "-t", "60", "-S", provider, file) {
				l.ask(k.name+": to be confirmed", request)
			}
			l.ask(k.name+": nobody confirms", signing(publics[0], "data", 0))
			for _, request := range recorded(t, "-q", "-S", "/nowhere.so", file) {
				l.ask(k.name+": no such provider", request)
			}
			for _, request := range recorded(t, "-q", "-S", "/etc/passwd", file) {
				l.ask(k.name+": a provider that is not allowed", request)
			}
			if d.real.since(9, 4) {
				bound := d.line()
				bound.ask("bind", binding(session(t, testKeys.hosts[0], "id"), true))
				for _, request := range recorded(t, "-q", "-S", provider, file) {
					bound.ask(k.name+": from another host", request)
				}
			}
			// A library that is none: that shows at the signature.
			for _, request := range recorded(t, "-q", "-S", "/usr/lib/os-release", file) {
				l.ask(k.name+": no library", request)
			}
			l.ask(k.name+": sign without a library", signing(publics[0], "data", 0))
			l.ask(k.name+": remove", removing(publics[1]))
			l.ask(k.name+": list", []byte{numRequestKeys})
		}
	}
	t.Logf("%d replies compared", d.compared)
}
