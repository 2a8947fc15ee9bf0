package agent

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/wire"
)

// inBubble has a ring's clock be the test's.
func inBubble(r *Keyring) *Keyring {
	begin := time.Now()
	r.clock = func() time.Duration { return time.Since(begin) }
	return r
}

// Keys are wiped when their time has come, though nobody asks for them.
func TestLifetime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := inBubble(&Keyring{Lifetime: time.Hour})
		defer r.Close()
		c := r.NewConnection()
		for i, seconds := range []uint32{10, 0, 7200} {
			c.Answer(t.Context(), addRequest(t, AddedKey{PrivateKey: testKeys.hostRaw[i], Lifetime: seconds}))
		}
		mortal := slices.Clone(r.keys)
		at := func(when time.Duration, want ...bool) {
			t.Helper()
			<-time.After(when - r.now())
			synctest.Wait()
			r.mu.Lock()
			defer r.mu.Unlock()
			for i, k := range mortal {
				if got := k.secret != nil && k.raw != nil; got != want[i] {
					t.Errorf("after %v key %d is there: %v, want %v", when, i, got, want[i])
				}
			}
		}
		at(9*time.Second, true, true, true)
		at(10*time.Second, false, true, true)
		at(59*time.Minute, false, true, true)
		at(time.Hour, false, false, true)
		at(2*time.Hour, false, false, false)
		if n := r.Len(); n != 0 {
			t.Errorf("%d keys are left", n)
		}
	})
}

// The machine slept: the clock has gone on while timers stood still. A key that is
// over then can't be used, and goes away by itself soon.
func TestLifetimeAsleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := inBubble(&Keyring{})
		defer r.Close()
		awake, slept := r.clock, time.Duration(0)
		r.clock = func() time.Duration { return awake() + slept }
		c := r.NewConnection()
		c.Answer(t.Context(), addRequest(t, AddedKey{PrivateKey: testKeys.raw, Lifetime: 3600}))
		k := r.keys[0]
		r.mu.Lock()
		slept = 2 * time.Hour
		r.mu.Unlock()
		<-time.After(expiryPatience)
		synctest.Wait()
		r.mu.Lock()
		if k.raw != nil {
			t.Error("the key is still there a minute after the machine woke up")
		}
		r.mu.Unlock()
		if got := c.Answer(t.Context(), signing(testKeys.user.PublicKey(), "data", 0)); got[0] != numFailure {
			t.Errorf("a key that is over signs: %x", got)
		}
	})
}

// Adding a key again replaces comment, lifetime and limits.
func TestAddAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := inBubble(ringWith(t, AddedKey{Lifetime: 10, Confirm: true}))
		c := r.NewConnection()
		c.Answer(t.Context(), addRequest(t, AddedKey{PrivateKey: testKeys.raw, Comment: "again"}))
		<-time.After(time.Minute)
		synctest.Wait()
		if ids := r.list(c.sees(&Request{})); len(ids) != 1 || ids[0].Comment != "again" {
			t.Fatalf("got %v", ids)
		}
		if got := c.Answer(t.Context(), signing(testKeys.user.PublicKey(), "data", 0)); got[0] != numSignature {
			t.Errorf("the key still wants confirmation: %x", got)
		}
	})
}

// A person is asked with what they need to know; meanwhile others are served, and
// who hangs up is not waited for.
func TestConfirm(t *testing.T) {
	r := ringWith(t, AddedKey{Confirm: true, Comment: "the key"})
	asked := make(chan Confirmation)
	answer := make(chan bool)
	r.Confirm = func(ctx context.Context, u Confirmation) bool {
		asked <- u
		select {
		case yes := <-answer:
			return yes
		case <-ctx.Done():
			return false
		}
	}
	user := testKeys.user.PublicKey()
	c := r.NewConnection()
	a, b := session(t, testKeys.hosts[0], "a"), session(t, testKeys.hosts[1], "b")
	c.Answer(t.Context(), binding(a, true))
	c.Answer(t.Context(), binding(b, false))
	request := signing(user, string(loginData(b.ID, "alice", wire.MethodPublickey, gossh.KeyAlgoED25519, user.Marshal(), nil)), 0)
	for _, tt := range []struct {
		name string
		do   func(hangUp context.CancelFunc)
		want byte
	}{
		{"yes", func(context.CancelFunc) { answer <- true }, numSignature},
		{"no", func(context.CancelFunc) { answer <- false }, numFailure},
		{"hung up", func(hangUp context.CancelFunc) { hangUp() }, numFailure},
		{"removed meanwhile", func(context.CancelFunc) { r.RemoveAll(); answer <- true }, numFailure},
	} {
		ctx, hangUp := context.WithCancel(t.Context())
		var got []byte
		var wg sync.WaitGroup
		wg.Go(func() { got = c.Answer(ctx, request) })
		u := <-asked
		if u.Comment != "the key" || u.User != "alice" || len(u.Hops) != 1 || string(u.Hops[0]) != string(a.HostKey) || string(u.Host) != string(b.HostKey) || string(u.Key.Marshal()) != string(user.Marshal()) {
			t.Errorf("%s: asked about %+v", tt.name, u)
		}
		if ids := r.list(func(*heldKey) error { return nil }); len(ids) != 1 {
			t.Errorf("%s: %d keys while a person is asked", tt.name, len(ids))
		}
		tt.do(hangUp)
		wg.Wait()
		hangUp()
		if got[0] != tt.want {
			t.Errorf("%s: got %x, want message %d", tt.name, got, tt.want)
		}
	}
}

// While the ring is locked its keys are of no use to who reads its memory, and
// bindings are recorded all the same.
func TestLock(t *testing.T) {
	r := ringWith(t, AddedKey{Destinations: []Destination{{To: Hop{Hostname: "a", Keys: []HostKey{{Blob: testKeys.hosts[0].PublicKey().Marshal()}}}}}})
	k := r.keys[0]
	held := k.secret
	seed := string(testKeys.raw.Seed())
	if !strings.Contains(string(k.raw), seed) {
		t.Fatal("the test looks in the wrong place")
	}
	c := r.NewConnection()
	ask := func(what string, request []byte, want byte) {
		t.Helper()
		if got := c.Answer(t.Context(), request); got[0] != want {
			t.Errorf("%s: got %x, want message %d", what, got, want)
		}
	}
	ask("lock", wire.AppendString([]byte{numLock}, "word"), numSuccess)
	if k.raw != nil || k.secret != nil || !gone(held) || strings.Contains(string(k.sealed), seed) {
		t.Error("a locked key is still in memory")
	}
	ask("bind to another host", binding(session(t, testKeys.hosts[1], "b"), false), numSuccess)
	ask("query", extension(extQuery), numFailure)
	ask("unlock", wire.AppendString([]byte{numUnlock}, "word"), numSuccess)
	ask("list", []byte{numRequestKeys}, numKeys)
	if !strings.Contains(string(k.raw), seed) {
		t.Error("the key is not back")
	}
	if ids := r.list(c.sees(&Request{})); len(ids) != 0 {
		t.Error("a connection that was bound while the agent was locked counts as one from here")
	}
	if ids := r.list(r.NewConnection().sees(&Request{})); len(ids) != 1 {
		t.Error("the key is not seen from here")
	}
}

// What ssh-agent ends at is refused.
func TestMalformedLock(t *testing.T) {
	r := ringWith(t, AddedKey{})
	c := r.NewConnection()
	for _, request := range [][]byte{{numLock}, {numUnlock}, {numLock, 0, 0}, {numLock, 0, 0, 0, 9, 'x'}, {numLock, 0xff, 0xff, 0xff, 0xff}, wire.AppendString([]byte{numLock}, "a\x00b")} {
		if got := c.Answer(t.Context(), request); got[0] != numFailure {
			t.Errorf("%x: got %x", request, got)
		}
	}
	if r.Len() != 1 || r.locked != nil {
		t.Error("a malformed lock has changed something")
	}
}

// Each wrong passphrase costs more time than the one before, on whatever
// connection.
func TestUnlockDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := inBubble(&Keyring{})
		defer r.Close()
		r.NewConnection().Answer(t.Context(), wire.AppendString([]byte{numLock}, "word"))
		begin := time.Now()
		for i := range 3 {
			r.NewConnection().Answer(t.Context(), wire.AppendString([]byte{numUnlock}, "wrong"))
			if got, want := time.Since(begin), time.Duration((i+1)*(i+2)/2)*100*time.Millisecond; got != want {
				t.Errorf("after %d wrong passphrases %v have passed, want %v", i+1, got, want)
			}
		}
		if got := r.NewConnection().Answer(t.Context(), wire.AppendString([]byte{numUnlock}, "word")); got[0] != numSuccess {
			t.Errorf("the right one: %x", got)
		}
	})
}

// Key material is overwritten when its key goes.
func TestWiped(t *testing.T) {
	for name, end := range map[string]func(*Keyring){
		"remove":     func(r *Keyring) { r.NewConnection().Answer(t.Context(), removing(testKeys.user.PublicKey())) },
		"remove all": func(r *Keyring) { r.RemoveAll() },
		"close":      (*Keyring).Close,
		"add again": func(r *Keyring) {
			r.NewConnection().Answer(t.Context(), addRequest(t, AddedKey{PrivateKey: testKeys.raw}))
		},
	} {
		r := ringWith(t, AddedKey{})
		held := r.keys[0].secret
		end(r)
		if !gone(held) {
			t.Errorf("%s: the key's memory is still there", name)
		}
	}
	r := ringWith(t, AddedKey{})
	r.Close()
	if got := r.NewConnection().Answer(t.Context(), addRequest(t, AddedKey{PrivateKey: testKeys.raw})); got[0] != numFailure || r.Len() != 0 {
		t.Errorf("a closed ring takes keys: %x", got)
	}
}

// Keys that don't fit together are refused: ssh-agent takes some of them, and
// signs what nobody can verify.
func TestKeysThatDoNotFit(t *testing.T) {
	r := &Keyring{}
	defer r.Close()
	pair := newKeyPair(t, "user", testKeys.raw)
	stranger := newKeyPair(t, "other", testKeys.hostRaw[1])
	good := addRequest(t, AddedKey{PrivateKey: pair.private})
	swapped := []byte(strings.ReplaceAll(string(good), string(testKeys.raw[32:]), string(testKeys.hostRaw[1][32:])))
	certified := addRequest(t, AddedKey{PrivateKey: pair.private, Certificate: pair.cert})
	otherCert := []byte(strings.Replace(string(certified), string(pair.cert.Marshal()), string(stranger.cert.Marshal()), 1))
	for name, request := range map[string][]byte{"another public half": swapped, "another's certificate": otherCert} {
		if got := r.NewConnection().Answer(t.Context(), request); got[0] != numFailure {
			t.Errorf("%s: got %x", name, got)
		}
	}
	if _, err := (&AddedKey{PrivateKey: pair.private, Certificate: stranger.cert}).append(nil); err == nil {
		t.Error("a key with another's certificate can be asked for")
	}
}

// A log line never has a byte of a key or of a passphrase in it.
func TestLogHasNoSecrets(t *testing.T) {
	r := &Keyring{}
	defer r.Close()
	c := r.NewConnection()
	var said []string
	c.Log = func(operation string, err error) {
		said = append(said, operation)
		if err != nil {
			said = append(said, err.Error())
		}
	}
	add := addRequest(t, AddedKey{PrivateKey: testKeys.raw, Comment: "the comment"})
	for n := range add {
		c.Answer(t.Context(), add[:n])
	}
	c.Answer(t.Context(), add)
	c.Answer(t.Context(), wire.AppendString([]byte{numLock}, "hunter seven"))
	c.Answer(t.Context(), wire.AppendString([]byte{numUnlock}, "hunter eight"))
	all := strings.Join(said, "\n")
	for _, secret := range []string{"hunter", string(testKeys.raw[:8]), string(testKeys.raw[24:32])} {
		if strings.Contains(all, secret) {
			t.Errorf("the log has %q in it:\n%s", secret, all)
		}
	}
	if len(said) < 4 {
		t.Errorf("the log has only %q", said)
	}
}

// The most keys that can be listed are held, and no more.
func TestFull(t *testing.T) {
	r := ringWith(t, AddedKey{})
	for len(r.keys) < MaxIdentities {
		r.keys = append(r.keys, &heldKey{blob: "x" + string(rune(len(r.keys))), public: testKeys.other.PublicKey()})
	}
	c := r.NewConnection()
	if err := c.add(addRequest(t, AddedKey{PrivateKey: testKeys.hostRaw[0]})[1:], &Request{}); !errors.Is(err, errFull) {
		t.Errorf("one more than the limit: %v, want %v", err, errFull)
	}
	if err := c.add(addRequest(t, AddedKey{PrivateKey: testKeys.raw})[1:], &Request{}); err != nil {
		t.Errorf("one that is there: %v", err)
	}
}

// Whatever comes, there is an answer, and no harm.
func FuzzAnswer(f *testing.F) {
	for _, requests := range stories(f) {
		for _, request := range requests[:min(4, len(requests))] {
			f.Add(request)
		}
	}
	f.Fuzz(func(t *testing.T, request []byte) {
		if len(request) > 0 && (request[0] == numLock || request[0] == numUnlock) {
			return // slow on purpose
		}
		r := ringWith(t, AddedKey{})
		r.Tokens = &Tokens{SKHelper: "/nowhere", PKCS11Helper: "/nowhere", Providers: "/nowhere/*"}
		c := r.NewConnection()
		for range 2 {
			reply := c.Answer(t.Context(), request)
			if len(reply) == 0 || len(reply) > MaxFrame {
				t.Fatalf("a reply of %d bytes", len(reply))
			}
			if !slices.Contains([]byte{numFailure, numSuccess, numKeys, numSignature, numExtensionFailure, numExtensionReply}, reply[0]) {
				t.Fatalf("reply %x", reply)
			}
		}
		if reply := c.Answer(t.Context(), []byte{numRequestKeys}); reply[0] != numKeys {
			t.Fatalf("then no list: %x", reply)
		}
	})
}

// A binding that failed leaves the connection unlike one from here: who wanted to
// say that it is another's must not be taken for a program of this machine.
func TestBindingFailed(t *testing.T) {
	c := ringWith(t, AddedKey{Destinations: []Destination{{To: Hop{Hostname: "a", Keys: []HostKey{{Blob: testKeys.hosts[0].PublicKey().Marshal()}}}}}}).NewConnection()
	if ids := c.ring.list(c.sees(&Request{})); len(ids) != 1 {
		t.Fatalf("%d keys are seen from here", len(ids))
	}
	wrong := session(t, testKeys.hosts[0], "id")
	wrong.ID = []byte("other")
	if got := c.Answer(t.Context(), binding(wrong, true)); got[0] != numExtensionFailure {
		t.Errorf("a wrong proof: %x", got)
	}
	if ids := c.ring.list(c.sees(&Request{})); len(ids) != 0 {
		t.Errorf("%d keys are seen after a binding that failed", len(ids))
	}
}

// Who sends a list of destinations wants a limit; ssh-agent takes an empty one for
// none.
func TestNoDestinations(t *testing.T) {
	r := &Keyring{}
	t.Cleanup(r.Close)
	request := addRequest(t, AddedKey{PrivateKey: testKeys.raw})
	request[0] = numAddConstrained
	request = wire.AppendString(append(request, constrainExtension), extRestrict)
	if got := r.NewConnection().Answer(t.Context(), wire.AppendString(request, "")); got[0] != numFailure || r.Len() != 0 {
		t.Errorf("got %x, and %d keys", got, r.Len())
	}
}

// An RSA key is opened for each signature: that must not take longer than to sign.
func BenchmarkSignRSA4096(b *testing.B) {
	k, err := rsa.GenerateKey(rand.Reader, 4096)
	if err != nil {
		b.Fatal(err)
	}
	r := &Keyring{}
	defer r.Close()
	if err := r.Add(AddedKey{PrivateKey: k}); err != nil {
		b.Fatal(err)
	}
	c, request := r.NewConnection(), signing(newKeyPair(b, "rsa", k).public, "data", FlagRSASHA256)
	b.Run("keyring", func(b *testing.B) {
		for b.Loop() {
			if c.Answer(b.Context(), request)[0] != numSignature {
				b.Fatal("refused")
			}
		}
	})
	hash := sha256.Sum256([]byte("data"))
	b.Run("bare", func(b *testing.B) {
		for b.Loop() {
			if _, err := rsa.SignPKCS1v15(nil, k, crypto.SHA256, hash[:]); err != nil {
				b.Fatal(err)
			}
		}
	})
}
