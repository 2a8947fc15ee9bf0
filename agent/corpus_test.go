package agent

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/binary"
	"fmt"
	"testing"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/wire"
)

// keyPair is a private key with its public half, and a certificate for it.
type keyPair struct {
	name    string
	private any
	public  gossh.PublicKey
	cert    *gossh.Certificate
	// repeats says that the same data has the same signature.
	repeats bool
}

func newKeyPair(t testing.TB, name string, private any) keyPair {
	t.Helper()
	signer, err := gossh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	_, ec := private.(*ecdsa.PrivateKey)
	k := keyPair{name: name, private: private, public: signer.PublicKey(), repeats: !ec}
	k.cert = &gossh.Certificate{Key: k.public, CertType: gossh.UserCert, KeyId: name, ValidPrincipals: []string{"alice"}, ValidBefore: gossh.CertTimeInfinity}
	if err := k.cert.SignCert(rand.Reader, testKeys.other); err != nil {
		t.Fatal(err)
	}
	return k
}

// keyPairs are one of each kind that is held.
func keyPairs(t testing.TB) []keyPair {
	t.Helper()
	var all []keyPair
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	all = append(all, newKeyPair(t, "ed25519", ed))
	for _, c := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		k, err := ecdsa.GenerateKey(c, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, newKeyPair(t, c.Params().Name, k))
	}
	for _, bits := range []int{1024, 2048} {
		k, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, newKeyPair(t, fmt.Sprint("rsa ", bits), k))
	}
	return all
}

func addRequest(t testing.TB, k AddedKey) []byte {
	t.Helper()
	b, err := k.append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func signing(key gossh.PublicKey, data string, flags uint32) []byte {
	return (&signRequest{key.Marshal(), []byte(data), flags}).append(nil)
}

func removing(key gossh.PublicKey) []byte {
	return wire.AppendString([]byte{numRemove}, key.Marshal())
}

func extension(name string, body ...byte) []byte {
	return append(wire.AppendString([]byte{numExtension}, name), body...)
}

func binding(s Session, forwarding bool) []byte {
	return (&Binding{s, forwarding}).append(nil)
}

// Both agents answer the same to keys of all kinds, as they are added, listed,
// used and removed.
func TestRepliesForKeys(t *testing.T) {
	d := newDuo(t)
	pairs := keyPairs(t)
	l := d.line()
	l.ask("list of nothing", []byte{numRequestKeys})
	for _, k := range pairs {
		for _, cert := range []*gossh.Certificate{nil, k.cert} {
			public, what := k.public, k.name
			if cert != nil {
				public, what = cert, k.name+" certificate"
			}
			l.ask("use of what is not there: "+what, signing(public, "data", 0))
			l.ask("removal of what is not there: "+what, removing(public))
			l.ask("add "+what, addRequest(t, AddedKey{PrivateKey: k.private, Certificate: cert, Comment: what}))
			l.ask("add again "+what, addRequest(t, AddedKey{PrivateKey: k.private, Certificate: cert, Comment: what + " again"}))
			l.ask("list with "+what, []byte{numRequestKeys})
			for _, flags := range []uint32{0, FlagRSASHA256, FlagRSASHA512, FlagRSASHA256 | FlagRSASHA512, 1, 8, 1 << 31} {
				request := signing(public, "data", flags)
				if k.repeats {
					l.ask(fmt.Sprintf("sign with %s, flags %d", what, flags), request)
					continue
				}
				for who, reply := range map[string][]byte{"ours": l.ours.Answer(t.Context(), request), "ssh-agent's": l.real(request)} {
					p := wire.NewParser(reply)
					num, blob := p.Byte(), p.Bytes()
					sig, err := parseSignature(blob)
					if err == nil {
						err = k.public.Verify([]byte("data"), sig)
					}
					if num != numSignature || p.Done() != nil || err != nil || sig.Rest != nil {
						t.Errorf("%s signature with %s, flags %d: %x, %v", who, what, flags, reply, err)
					}
				}
			}
		}
	}
	other := d.line()
	other.ask("list on another connection", []byte{numRequestKeys})
	for i, k := range pairs {
		public := k.public
		if i%2 == 0 {
			public = k.cert
		}
		other.ask("remove "+k.name, removing(public))
		l.ask("list without "+k.name, []byte{numRequestKeys})
		l.ask("use after removal", signing(public, "data", 0))
	}
	l.ask("version 1's remove all", []byte{numRemoveAllV1})
	l.ask("list of nothing again", []byte{numRequestKeys})
	t.Logf("%d replies compared", d.compared)
}

// stories are requests that belong together, all on one connection.
func stories(t testing.TB) map[string][][]byte {
	k := newKeyPair(t, "user", testKeys.raw)
	sk := newSKKey(t, "ssh:", 1)
	list := []byte{numRequestKeys}
	sign := signing(k.public, "data", 0)
	add := func(limits []byte) []byte {
		plain := addRequest(t, AddedKey{PrivateKey: k.private, Comment: "user"})
		plain[0] = numAddConstrained
		return append(plain, limits...)
	}
	lock := func(num byte, text string) []byte { return wire.AppendString([]byte{num}, text) }
	constraint := func(name string, body []byte) []byte {
		return wire.AppendString(wire.AppendString([]byte{constrainExtension}, name), body)
	}
	lifetime := []byte{constrainLifetime, 0, 0, 14, 16}
	hop := func(user, name string, keys ...gossh.Signer) Hop {
		h := Hop{User: user, Hostname: name}
		for _, key := range keys {
			h.Keys = append(h.Keys, HostKey{Blob: key.PublicKey().Marshal()})
		}
		return h
	}
	hosts := testKeys.hosts
	ok := Destination{To: hop("", "a", hosts[0])}
	restrict := func(ds ...Destination) []byte { return constraint(extRestrict, appendDestinations(nil, ds)) }
	many := make([]Destination, maxDestinations)
	for i := range many {
		many[i] = ok
	}
	s0, s1 := session(t, hosts[0], "id 0"), session(t, hosts[1], "id 1")
	otherKey := s1
	otherKey.ID = s0.ID
	sig, _ := hosts[1].Sign(rand.Reader, s0.ID)
	otherKey.Signature = appendSignature(nil, sig)[5:]
	wrong := s1
	wrong.Signature = s0.Signature
	longest := session(t, hosts[0], string(bytes.Repeat([]byte("x"), maxSessionID)))
	full := [][]byte{}
	for i := range maxBindings + 2 {
		full = append(full, binding(session(t, hosts[0], fmt.Sprint("id ", i)), true))
	}
	cat := func(bs ...[]byte) []byte { return bytes.Join(bs, nil) }
	return map[string][][]byte{
		"kinds of messages": func() (all [][]byte) {
			for num := range 256 {
				switch num {
				case numLock, numUnlock: // ssh-agent ends without a passphrase
				default:
					all = append(all, []byte{byte(num)})
				}
			}
			return all
		}(),
		"constraints": {
			add(lifetime), list, sign,
			add([]byte{constrainConfirm}), list, sign, // nobody is there to confirm
			add(nil), sign,
			add(cat(lifetime, lifetime)), add([]byte{constrainConfirm, constrainConfirm}), add([]byte{3}), add([]byte{0}),
			add(cat(lifetime, []byte{constrainConfirm})), sign, add(cat([]byte{constrainConfirm}, lifetime)), sign,
			add(constraint("unheard@example.com", nil)), add(constraint("", nil)), add(constraint(extRestrict, nil)[:9]),
			add(constraint(extSKProvider, wire.AppendString(nil, "internal"))),
			add([]byte{constrainExtension}), list,
		},
		"destinations": {
			add(restrict(ok)), list, sign, removing(k.public), list,
			add(restrict(ok, ok)), add(restrict(many...)), add(restrict(append(many, ok)...)), list, {numRemoveAll},
			add(cat(restrict(ok), restrict(ok))),
			add(restrict(Destination{From: hop("root", "a", hosts[0]), To: ok.To})),
			add(restrict(Destination{From: hop("", "a"), To: ok.To})),
			add(restrict(Destination{From: hop("", "", hosts[0]), To: ok.To})),
			add(restrict(Destination{From: hop("", "a", hosts[0]), To: hop("", "b", hosts[1])})), list,
			add(restrict(Destination{To: hop("", "", hosts[0])})),
			add(restrict(Destination{To: hop("", "a")})),
			add(restrict(Destination{})), add(restrict(Destination{To: hop("us*", "a", hosts[0])})), list,
			add(restrict(Destination{To: Hop{Hostname: "a", Keys: []HostKey{{Blob: []byte("no key")}}}})),
			add(constraint(extRestrict, wire.AppendString(nil, ""))), add(constraint(extRestrict, []byte{0})),
			add(constraint(extRestrict, wire.AppendString(nil, cat(wire.AppendString(nil, ok.From.append(nil)), wire.AppendString(nil, ok.To.append(nil)))))),
			add(constraint(extRestrict, wire.AppendString(nil, cat(wire.AppendString(nil, ok.From.append(nil)), wire.AppendString(nil, ok.To.append(nil)), wire.AppendString(nil, "x"))))),
			list,
		},
		"bindings": {
			binding(s0, true), binding(s0, true), binding(s0, false), binding(session(t, hosts[0], "id 0 again"), true),
			binding(longest, true), binding(s1, false), binding(s0, true), binding(s1, false), binding(s1, true), list,
			append(binding(s0, true), "behind"...),
		},
		"a wrong binding":                   {binding(s0, true), binding(wrong, true), binding(s0, true), list},
		"a binding with another's host key": {binding(s0, true), binding(otherKey, true), binding(s0, true), list},
		"a binding with more behind it":     {append(binding(s0, true), "behind"...), binding(s0, true), append(binding(s0, true)[:len(binding(s0, true))-1], 7)},
		"a binding for a login":             {binding(s0, false), binding(s0, false), binding(s1, true)},
		"too many bindings":                 full,
		"extensions":                        {extension("unheard@example.com", 1, 2, 3), extension(""), extension(extSessionBind), extension("session-bind"), {numExtension}, {numExtension, 0, 0, 0, 9}},
		"locking": {
			add(nil), lock(numUnlock, "none"), lock(numLock, ""), lock(numLock, "word"), list, sign, add(nil), removing(k.public), {numRemoveAll}, {numRemoveAllV1},
			lock(numLock, "word"), lock(numUnlock, ""), lock(numUnlock, "wrong"), extension("unheard@example.com"), list, lock(numUnlock, "word"), list, sign, lock(numUnlock, "word"),
			{numRemoveAll},
		},
		"tokens": {
			cat([]byte{numAddToken}, wire.AppendString(nil, "/nowhere"), wire.AppendString(nil, "pin")),
			cat([]byte{numAddTokenLimited}, wire.AppendString(nil, "/nowhere"), wire.AppendString(nil, "pin"), lifetime),
			cat([]byte{numRemoveToken}, wire.AppendString(nil, "/nowhere"), wire.AppendString(nil, "")),
			addingToken("/nowhere", "pin", associated(true, k.cert)...),
		},
		"security keys": { // without a device
			sk.add("internal"), list, signing(sk.public, "data", 0), removing(sk.public), list,
			sk.add(""), signing(sk.public, "data", 0), sk.add("/nowhere.so"), sk.add("/etc/passwd"), list,
		},
		"odd names": {
			addRequest(t, AddedKey{PrivateKey: k.private, Comment: ""}), list,
			addRequest(t, AddedKey{PrivateKey: k.private, Comment: "with\x00zero"}), list,
			addRequest(t, AddedKey{PrivateKey: k.private, Comment: "zero\x00"}), list,
			addRequest(t, AddedKey{PrivateKey: k.private, Comment: "\xff\x1b[2J"}), list, {numRemoveAll},
			wire.AppendString([]byte{numAdd}, "ssh-unheard"), wire.AppendString([]byte{numAdd}, "ssh-dss"), {numAdd}, {numAddConstrained},
			wire.AppendString([]byte{numRemove}, "no key"), wire.AppendString([]byte{numSignRequest}, "no key"),
			append(sign, "behind"...), append(list, "behind"...), append(removing(k.public), "behind"...),
		},
	}
}

// Both agents answer the same to whatever stands in stories.
func TestRepliesForStories(t *testing.T) {
	d := newDuo(t)
	for name, requests := range stories(t) {
		d.empty()
		l := d.line()
		for i, request := range requests {
			l.ask(fmt.Sprintf("%s, request %d", name, i), request)
		}
	}
	t.Logf("%d replies compared", d.compared)
}

// Both agents answer the same to requests that are cut short anywhere, or have a
// length in them that is wrong. That leaves out what is between lock and unlock,
// where ssh-agent ends, and numbers of keys: we don't take keys that can't work.
func TestRepliesForMalformed(t *testing.T) {
	d := newDuo(t)
	k := newKeyPair(t, "user", testKeys.raw)
	s := session(t, testKeys.hosts[0], "id")
	to := Hop{User: "u*", Hostname: "a", Keys: []HostKey{{Blob: testKeys.hosts[0].PublicKey().Marshal()}}}
	from := Hop{Hostname: "b", Keys: []HostKey{{Blob: testKeys.hosts[1].PublicKey().Marshal(), Authority: true}}}
	whole := map[string][]byte{
		"add":             addRequest(t, AddedKey{PrivateKey: k.private, Comment: "user"}),
		"add certificate": addRequest(t, AddedKey{PrivateKey: k.private, Certificate: k.cert, Comment: "user"}),
		"add constrained": addRequest(t, AddedKey{PrivateKey: k.private, Comment: "user", Lifetime: 3600, Confirm: true, Destinations: []Destination{{To: to}, {from, to}}}),
		"sign":            signing(k.public, "data", 0),
		"remove":          removing(k.public),
		"bind":            binding(s, true),
		"extension":       extension("unheard@example.com", 1),
	}
	for _, p := range keyPairs(t)[1:] {
		whole["add "+p.name] = addRequest(t, AddedKey{PrivateKey: p.private, Comment: p.name})
	}
	for name, request := range whole {
		step := max(1, len(request)/200)
		if testing.Short() {
			step = max(1, len(request)/40)
		}
		d.empty()
		var l *line
		for n := 1; n < len(request); n += step {
			if l == nil || name == "bind" { // once it is bound, all is refused
				l = d.line()
			}
			l.ask(fmt.Sprintf("%s, its first %d of %d bytes", name, n, len(request)), request[:n])
		}
		d.line().ask(name+": list after it was cut short", []byte{numRequestKeys})
		// Each four bytes that could be a length.
		for i := 1; i+4 < len(request); i++ {
			n := binary.BigEndian.Uint32(request[i:])
			if n == 0 || int(n) > len(request)-i-4 {
				continue
			}
			for _, wrong := range []uint32{0, n - 1, n + 1, 1 << 31, 0xffffffff} {
				broken := bytes.Clone(request)
				binary.BigEndian.PutUint32(broken[i:], wrong)
				if name == "bind" {
					l = d.line()
				}
				l.ask(fmt.Sprintf("%s, length %d at %d made %d", name, n, i, wrong), broken)
			}
		}
		d.line().ask(name+": list after wrong lengths", []byte{numRequestKeys})
	}
	t.Logf("%d replies compared", d.compared)
}
