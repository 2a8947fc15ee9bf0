package agent

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/testnet"
	"github.com/adit-ssh/adit/internal/wire"
)

// skKey is a key in the device that playSK is.
type skKey struct {
	public gossh.PublicKey
	raw    []byte // private form
}

func newSKKey(t testing.TB, application string, flags byte) skKey {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	blob := wire.AppendString(wire.AppendString(nil, gossh.KeyAlgoSKED25519), private[32:])
	blob = wire.AppendString(blob, application)
	public, err := gossh.ParsePublicKey(blob)
	if err != nil {
		t.Fatal(err)
	}
	raw := wire.AppendString(append(blob, flags), private.Seed())
	return skKey{public, wire.AppendString(raw, "")}
}

// add is the request to add the key with a provider, "" for none.
func (k *skKey) add(provider string) []byte {
	b := wire.AppendString(append([]byte{numAddConstrained}, k.raw...), "the security key")
	if provider == "" {
		return b
	}
	return wire.AppendString(wire.AppendString(append(b, constrainExtension), extSKProvider), provider)
}

// skRing is a ring whose security keys are asked through a helper that behaves so.
func skRing(t testing.TB, how string) *Keyring {
	t.Helper()
	r := &Keyring{Tokens: &Tokens{SKHelper: helperIs(t, how)}}
	t.Cleanup(r.Close)
	return r
}

// wantAnswer asks and fails the test unless the answer is of a kind. Why is what the
// log has to say.
func wantAnswer(t testing.TB, c *Connection, what string, request []byte, want byte, why string) []byte {
	t.Helper()
	var err error
	c.Log = func(_ string, e error) { err = e }
	got := c.Answer(t.Context(), request)
	if got[0] != want {
		t.Errorf("%s: got %x (%v), want message %d", what, got, err, want)
	}
	if why != "" && (err == nil || !strings.Contains(err.Error(), why)) {
		t.Errorf("%s: %v, want %q in it", what, err, why)
	}
	return got
}

func wantSignature(t testing.TB, key gossh.PublicKey, data, reply []byte) {
	t.Helper()
	p := wire.NewParser(reply[1:])
	sig, err := parseSignature(p.Bytes())
	if err == nil {
		err = bare(key).Verify(data, sig)
	}
	if err != nil || p.Done() != nil {
		t.Errorf("the signature %x: %v", reply, err)
	}
}

// A security key's person is told to touch it, and asked for its PIN when the key
// wants one.
func TestSecurityKey(t *testing.T) {
	testnet.Census(t)
	for _, tt := range []struct {
		how   string
		flags byte
		pin   string // "" for no answer
		want  byte
		why   string
		asked string
	}{
		{"sk", 1, "", numSignature, "", "touch done"},
		{"sk", 0, "", numSignature, "", ""},
		{"sk PIN", 1, "1234", numSignature, "", "touch done PIN and touch"},
		{"sk PIN", 4, "1234", numSignature, "", "PIN"},
		{"sk PIN", 1, "4321", numFailure, "wants its PIN", "touch done PIN and touch"},
		{"sk PIN", 1, "", numFailure, "wants its PIN", "touch done PIN and touch"},
		{"sk absent", 1, "", numFailure, "is not there", "touch done"},
		{"sk other data", 1, "", numFailure, "the security key's signature", "touch done"},
	} {
		r := skRing(t, tt.how)
		k := newSKKey(t, "ssh:", tt.flags)
		var asked []string
		r.Tokens.Touch = func(c Confirmation) func() {
			if c.Comment != "the security key" || string(c.Key.Marshal()) != string(k.public.Marshal()) {
				t.Errorf("%s: told of %+v", tt.how, c)
			}
			asked = append(asked, "touch")
			return func() { asked = append(asked, "done") }
		}
		r.Tokens.PIN = func(_ context.Context, c Confirmation, touch bool) (string, bool) {
			asked = append(asked, "PIN")
			if touch {
				asked = append(asked, "and touch")
			}
			return tt.pin, tt.pin != ""
		}
		c := r.NewConnection()
		wantAnswer(t, c, tt.how, k.add("internal"), numSuccess, "")
		reply := wantAnswer(t, c, tt.how, signing(k.public, "data", 0), tt.want, tt.why)
		if tt.want == numSignature && tt.flags == 1 {
			wantSignature(t, k.public, []byte("data"), reply)
		}
		if got := strings.Join(asked, " "); got != tt.asked {
			t.Errorf("%s, flags %d: asked %q, want %q", tt.how, tt.flags, got, tt.asked)
		}
		wantNoChildren(t)
	}
}

// A helper that is not as it should be costs its signature, in time, and leaves
// nothing behind.
func TestSecurityKeyHelpers(t *testing.T) {
	testnet.Census(t)
	for how, why := range map[string]string{
		"hangs":     "no answer for",
		"ends":      "has ended without an answer",
		"complains": "the device is on fire",
		"chatters":  "malformed message length",
		"long":      "malformed message length",
		"short":     "has ended",
		"empty":     "malformed message length",
		"version 6": "speaks version 6",
		"success":   "speaks version 6", // SUCCESS is 6
	} {
		r := skRing(t, how)
		r.Tokens.limit = 300 * time.Millisecond
		k := newSKKey(t, "ssh:", 1)
		c := r.NewConnection()
		wantAnswer(t, c, how, k.add("internal"), numSuccess, "")
		if how != "hangs" {
			r.Tokens.limit = patience
		}
		wantAnswer(t, c, how, signing(k.public, "data", 0), numFailure, why)
		wantNoChildren(t)
		wantAnswer(t, c, how+", and then", []byte{numRequestKeys}, numKeys, "")
	}
}

// Who hangs up is not waited for, and the next one's turn comes.
func TestSecurityKeyHangUp(t *testing.T) {
	r := skRing(t, "hangs")
	k := newSKKey(t, "ssh:", 1)
	touched := make(chan struct{}, 2)
	r.Tokens.Touch = func(Confirmation) func() {
		if len(r.Tokens.sk) != 0 {
			t.Error("another one may ask to touch the key meanwhile")
		}
		touched <- struct{}{}
		return func() {}
	}
	wantAnswer(t, r.NewConnection(), "add", k.add("internal"), numSuccess, "")
	first, hangUp := context.WithCancel(t.Context())
	second, hangUpToo := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	for _, ctx := range []context.Context{first, second} {
		asking.Go(func() {
			if got := r.NewConnection().Answer(ctx, signing(k.public, "data", 0)); got[0] != numFailure {
				t.Errorf("got %x", got)
			}
		})
		if ctx == first {
			<-touched
		}
	}
	select {
	case <-touched:
		t.Error("two are asked to touch the key at once")
	default:
	}
	hangUp()
	<-touched
	hangUpToo()
	asking.Wait()
	wantNoChildren(t)
}

// A provider is a library that somebody loads: not any, and not for those at other
// hosts.
func TestSecurityKeyProviders(t *testing.T) {
	needUnixPaths(t)
	dir := t.TempDir()
	lib, link := filepath.Join(dir, "provider.so"), filepath.Join(dir, "usr")
	if err := os.WriteFile(lib, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	r := skRing(t, "sk")
	k := newSKKey(t, "ssh:", 1)
	local := r.NewConnection()
	wantAnswer(t, local, "not in the default folders", k.add(lib), numFailure, "is none of those allowed: /usr/lib")
	r.Tokens.Providers = link + "/*"
	wantAnswer(t, local, "by a link", k.add(link+"/provider.so"), numFailure, "none of those allowed")
	r.Tokens.Providers = "/nowhere/*," + dir + "/*"
	wantAnswer(t, local, "allowed", k.add(link+"/provider.so"), numSuccess, "")
	if got := r.keys[0].device.provider; got != lib {
		t.Errorf("the provider is %q, want %q", got, lib)
	}
	r.Tokens.Providers = dir + "/*,!*provider*"
	wantAnswer(t, local, "excluded", k.add(lib), numFailure, "none of those allowed")
	wantAnswer(t, local, "not there", k.add(dir+"/other.so"), numFailure, "no such file")
	r.Tokens.Providers = dir + "/*"
	bound := r.NewConnection()
	wantAnswer(t, bound, "bind", binding(session(t, testKeys.hosts[0], "id"), true), numSuccess, "")
	wantAnswer(t, bound, "from another host", k.add(lib), numFailure, "who is at another host")
	wantAnswer(t, bound, "none to load", k.add("INTERNAL"), numSuccess, "")
	failed := r.NewConnection()
	wantAnswer(t, failed, "bind", append(binding(session(t, testKeys.hosts[0], "id"), true)[:40], 1), numExtensionFailure, "")
	wantAnswer(t, failed, "after a binding that failed", k.add(lib), numFailure, "who is at another host")
	r.Tokens.Remote = true
	wantAnswer(t, bound, "from another host, allowed", k.add(lib), numSuccess, "")

	wantAnswer(t, local, "none named", k.add(""), numSuccess, "")
	wantAnswer(t, local, "none named", signing(k.public, "data", 0), numFailure, "without its provider")
	wantAnswer(t, local, "twice", append(k.add(lib), k.add(lib)[len(k.add("")):]...), numFailure, "twice")
	wantAnswer(t, local, "for a key in memory", append(addRequest(t, AddedKey{PrivateKey: testKeys.raw, Lifetime: 9}), k.add(lib)[len(k.add("")):]...), numFailure, "in none")
	r.Tokens.SKHelper, r.Tokens.Remote = "", false
	folders := helperFolders
	defer func() { helperFolders = folders }()
	helperFolders = []string{dir}
	wantAnswer(t, local, "without a helper", k.add("internal"), numFailure, "ssh-sk-helper is not installed")
	r.Tokens = nil
	wantAnswer(t, local, "without Tokens", k.add("internal"), numFailure, "holds no keys of security keys")
}

// A key that is a web site's would log in there, if it signed what a site asks for.
func TestWebSafe(t *testing.T) {
	r := skRing(t, "sk")
	c := r.NewConnection()
	for _, application := range []string{"ssh:", "ssh:work", "https://example.org", ""} {
		k := newSKKey(t, application, 1)
		wantAnswer(t, c, application, k.add("internal"), numSuccess, "")
		login := loginData([]byte("id"), "alice", wire.MethodPublickey, gossh.KeyAlgoSKED25519, k.public.Marshal(), nil)
		hash := sha256.Sum256([]byte("a file"))
		sshsig := wire.AppendString(wire.AppendString([]byte("SSHSIG"), "file"), "")
		sshsig = wire.AppendString(wire.AppendString(sshsig, "sha256"), hash[:])
		for what, data := range map[string][]byte{"login": login, "SSHSIG": sshsig} {
			reply := wantAnswer(t, c, application+": "+what, signing(k.public, string(data), 0), numSignature, "")
			wantSignature(t, k.public, data, reply)
		}
		other := loginData([]byte("id"), "alice", wire.MethodPublickey, gossh.KeyAlgoED25519, testKeys.user.PublicKey().Marshal(), nil)
		for what, data := range map[string][]byte{"challenge": hash[:], "login and more": append(login, 0), "SSHSIG and more": append(sshsig, 0), "another's login": other, "SSHSIG": sshsig[:len(sshsig)-1], "none": nil} {
			want := byte(numFailure)
			if strings.HasPrefix(application, "ssh:") {
				want = numSignature
			}
			wantAnswer(t, c, application+": "+what, signing(k.public, string(data), 0), want, "")
			if application == "" {
				continue
			}
			r.Tokens.WebSafe = "*.com,https://*.org"
			wantAnswer(t, c, application+", allowed: "+what, signing(k.public, string(data), 0), numSignature, "")
			r.Tokens.WebSafe = ""
		}
		r.Tokens.AnySignature = true
		wantAnswer(t, c, application+", anything", signing(k.public, "anything", 0), numSignature, "")
		r.Tokens.AnySignature = false
	}
}

// Security keys are held with destinations, confirmation, certificates and locked as
// others are.
func TestSecurityKeyLimits(t *testing.T) {
	r := skRing(t, "sk")
	k := newSKKey(t, "ssh:", 1)
	host := testKeys.hosts[0]
	to := Destination{To: Hop{User: "alice", Hostname: "a", Keys: []HostKey{{Blob: host.PublicKey().Marshal()}}}}
	add := append(k.add("internal"), (&AddedKey{Destinations: []Destination{to}}).appendConstraints(nil)...)
	wantAnswer(t, r.NewConnection(), "add", add, numSuccess, "")
	c := r.NewConnection()
	s := session(t, host, "id")
	wantAnswer(t, c, "bind", binding(s, false), numSuccess, "")
	login := func(user string) []byte {
		return signing(k.public, string(loginData(s.ID, user, wire.MethodPublickey, gossh.KeyAlgoSKED25519, k.public.Marshal(), nil)), 0)
	}
	wantAnswer(t, c, "alice's login", login("alice"), numSignature, "")
	wantAnswer(t, c, "bob's login", login("bob"), numFailure, "allows this way")

	cert := &gossh.Certificate{Key: k.public, CertType: gossh.UserCert, ValidPrincipals: []string{"alice"}, ValidBefore: gossh.CertTimeInfinity}
	if err := cert.SignCert(rand.Reader, testKeys.other); err != nil {
		t.Fatal(err)
	}
	p := wire.NewParser(k.raw)
	p.Bytes()
	raw := wire.AppendString(wire.AppendString([]byte{numAddConstrained}, cert.Type()), cert.Marshal())
	raw = wire.AppendString(append(raw, p.Rest()...), "the certificate")
	raw = append(raw, add[len(k.add("")):]...)
	c = r.NewConnection()
	wantAnswer(t, c, "add a certificate", raw, numSuccess, "")
	wantAnswer(t, c, "bind", binding(s, false), numSuccess, "")
	if ids := r.list(c.sees(&Request{})); len(ids) != 2 || ids[1].Comment != "the certificate" {
		t.Errorf("listed %v", ids)
	}
	data := loginData(s.ID, "alice", wire.MethodPublickey, cert.Type(), cert.Marshal(), nil)
	wantAnswer(t, c, "a login with it", signing(cert, string(data), 0), numFailure, "") // playSK knows no certificates
	for what, change := range map[string]func(b []byte){
		"another's public key": func(b []byte) {
			copy(b[len(numBytes(cert))+4:], testKeys.raw[32:])
		},
		"another application": func(b []byte) { b[len(numBytes(cert))+4+32+4] = 'S' },
	} {
		broken := append([]byte(nil), raw...)
		change(broken)
		wantAnswer(t, c, what, broken, numFailure, "")
	}
	wantAnswer(t, c, "lock", wire.AppendString([]byte{numLock}, "word"), numSuccess, "")
	wantAnswer(t, c, "locked", login("alice"), numFailure, "locked")
	wantAnswer(t, c, "unlock", wire.AppendString([]byte{numUnlock}, "word"), numSuccess, "")
	wantAnswer(t, c, "unlocked", login("alice"), numSignature, "")
}

// numBytes is what stands before the public key in a request to add a certificate's
// private key.
func numBytes(cert *gossh.Certificate) []byte {
	return wire.AppendString(wire.AppendString([]byte{numAddConstrained}, cert.Type()), cert.Marshal())
}

// What a helper answers does no harm.
func FuzzSKReply(f *testing.F) {
	f.Add([]byte{skHelperVersion, 0, 0, 0, skHelperError, 0, 0, 0, skErrPIN})
	f.Add(wire.AppendString([]byte{skHelperVersion, 0, 0, 0, skHelperSign}, string(wire.AppendString(wire.AppendString(nil, gossh.KeyAlgoSKED25519), "sig"))+"\x01\x00\x00\x00\x07"))
	f.Fuzz(func(t *testing.T, reply []byte) {
		sig, err := parseSKReply(reply)
		if err == nil && !bytes.HasSuffix(reply, appendSignature(nil, sig)[1:]) {
			t.Errorf("%x is read as %+v", reply, sig)
		}
	})
}

// needUnixPaths skips a test of libraries' paths: where there are helpers, those are
// unix's.
func needUnixPaths(t testing.TB) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("the paths are those of unix")
	}
}
