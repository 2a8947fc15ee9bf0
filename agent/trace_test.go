package agent

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/testnet"
	"github.com/adit-ssh/adit/internal/wire"
	"github.com/adit-ssh/adit/trace"
	"github.com/adit-ssh/adit/trace/view"
)

// traced asks a Server that records, request by request over one connection, and
// returns the entries.
func traced(t *testing.T, ring *Keyring, requests ...[]byte) []trace.Entry {
	t.Helper()
	testnet.Census(t)
	recorder := trace.NewRecorder(trace.LevelData, 1000)
	path, stop := serveRing(t, &Server{Agent: ring, Tracer: recorder})
	nc := dialAgent(t, path)
	for _, r := range requests {
		if err := writeFrame(nc, r); err != nil {
			t.Fatal(err)
		}
		if _, err := readFrame(nc); err != nil {
			t.Fatal(err)
		}
	}
	nc.Close()
	stop()
	return trace.Entries(recorder.Records())
}

// A connection is told message by message, in RFC 9987's names, with what was
// decided in between.
func TestTrace(t *testing.T) {
	user := testKeys.user.PublicKey()
	print := gossh.FingerprintSHA256(user)
	s := session(t, testKeys.hosts[0], "an id of a session")
	got := traced(t, ringWith(t, AddedKey{Comment: "laptop"}),
		binding(s, true),
		[]byte{numRequestKeys},
		signing(user, "data", FlagRSASHA512),
		signing(testKeys.other.PublicKey(), "data", 0),
		signing(user, sshsigData("git", "x"), 0),
		extension("query"),
		[]byte{200},
	)
	want := []string{
		"agent:decision operation=\"extension \\\"session-bind@openssh.com\\\"\" refused=false",
		"<- 27 AGENTC_EXTENSION 1 extension type=session-bind@openssh.com host key=" + gossh.FingerprintSHA256(testKeys.hosts[0].PublicKey()) + " session=616e206964206f66 is forwarding=true",
		"-> 6 AGENT_SUCCESS 1 ",
		"<- 11 AGENTC_REQUEST_IDENTITIES 2 ",
		"-> 12 AGENT_IDENTITIES_ANSWER 2 nkeys=1 keys=\"ssh-ed25519 " + print + " laptop\"",
		"<- 13 AGENTC_SIGN_REQUEST 3 key type=ssh-ed25519 key=" + print + " flags=rsa-sha2-512 data length=4 purpose=unknown",
		"-> 14 AGENT_SIGN_RESPONSE 3 signature format=ssh-ed25519 signature length=64",
		"agent:decision operation=sign key=" + gossh.FingerprintSHA256(testKeys.other.PublicKey()) + " refused=true error=\"there is no such key\"",
		"-> 5 AGENT_FAILURE 4 ",
		"purpose=sshsig namespace=git",
		"-> 29 AGENT_EXTENSION_RESPONSE 6 ",
		"<- 200 \"message 200\" 7 ",
	}
	var lines []string
	for _, e := range got {
		if e.Dir == "" {
			lines = append(lines, e.Event+" "+trace.FieldsText(e.Fields))
			continue
		}
		arrow := map[string]string{"in": "<-", "out": "->"}[e.Dir]
		name := trace.FieldText(trace.Field{Value: e.Message})
		lines = append(lines, fmt.Sprintf("%s %d %s %d %s", arrow, e.Number, name, e.Seq, trace.FieldsText(e.Fields)))
	}
	all := strings.Join(lines, "\n")
	for _, w := range want {
		if !strings.Contains(all, w) {
			t.Errorf("%q is not in\n%s", w, all)
		}
	}
	if first, last := got[0], got[len(got)-1]; first.Event != "connection:start" || first.Text("role") != "agent" || last.Event != "connection:end" {
		t.Errorf("begins with %+v and ends with %+v", first, last)
	}
	// Request, decision and answer of each of the seven, in that order.
	if len(got) != 2+3*7 {
		t.Fatalf("%d entries, want %d:\n%s", len(got), 2+3*7, all)
	}
	for i := 1; i < len(got)-1; i += 3 {
		if got[i].Dir != "in" || got[i+1].Event != "agent:decision" || got[i+2].Dir != "out" || got[i].Seq != got[i+2].Seq {
			t.Errorf("entries %d to %d are no request with its decision and answer:\n%s", i, i+2, all)
		}
	}
}

// Whatever the request, whole or cut, neither a private key nor a passphrase nor a
// PIN nor what is to be signed is in any event, at any level.
func TestTraceHasNoSecrets(t *testing.T) {
	const secret = "correct horse battery staple"
	added, err := (&AddedKey{PrivateKey: testKeys.raw, Comment: "c", Lifetime: 60, Confirm: true}).append(nil)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := (&AddedKey{PrivateKey: testKeys.raw}).append(nil)
	if err != nil {
		t.Fatal(err)
	}
	private := testKeys.raw.Seed()
	requests := [][]byte{
		added,
		plain,
		wire.AppendString([]byte{numLock}, secret),
		wire.AppendString([]byte{numUnlock}, secret),
		wire.AppendString(wire.AppendString([]byte{numAddToken}, "/lib/token.so"), secret),
		wire.AppendString(wire.AppendString([]byte{numAddTokenLimited}, "/lib/token.so"), secret),
		wire.AppendString(wire.AppendString([]byte{numRemoveToken}, "/lib/token.so"), secret),
		signing(testKeys.user.PublicKey(), secret, 0),
		wire.AppendString(wire.AppendString([]byte{numExtension}, "x@example.com"), secret),
		append([]byte{200}, secret...),
	}
	types := map[byte]bool{}
	for _, whole := range requests {
		types[whole[0]] = true
		for n := 1; n <= len(whole); n++ {
			recorder := trace.NewRecorder(trace.LevelData, 10)
			r := (&Server{Tracer: recorder}).trace(Peer{})
			r.request(whole[:n])
			var out bytes.Buffer
			if err := trace.WriteEntries(&out, trace.Header{}, trace.Entries(recorder.Records()), true); err != nil {
				t.Fatal(err)
			}
			for _, s := range []string{secret, secret[:12], string(private), hex.EncodeToString(private[:16]), base64.StdEncoding.EncodeToString(private[:15])} {
				if bytes.Contains(out.Bytes(), []byte(s)) {
					t.Fatalf("message %d, cut to %d bytes: a secret is in the trace: %s", whole[0], n, out.Bytes())
				}
			}
		}
	}
	// Those that carry nothing secret are the rest of what is named.
	for num := range messageNames {
		harmless := []byte{numRequestKeys, numRemove, numRemoveAll, numRemoveAllV1}
		if num > numKeys && !types[num] && !slices.Contains(harmless, num) && !strings.HasPrefix(messageNames[num], "AGENT_") {
			t.Errorf("%s is not among the requests", messageNames[num])
		}
	}
}

// A trace tells no more than there is: a security key is no malformed key, and what only
// begins like a login is none.
func TestTraceAsJudged(t *testing.T) {
	tell := func(request []byte) string { return trace.FieldsText(describeRequest(request)) }
	sk := newSKKey(t, "ssh:", 1)
	want := "key type=sk-ssh-ed25519@openssh.com key=" + fingerprint(sk.public) + " comment=\"the security key\""
	if got := tell(sk.add("internal")); got != want {
		t.Errorf("a security key: got %s, want %s", got, want)
	}
	user := testKeys.user.PublicKey()
	login := string(loginData([]byte("id"), "alice", wire.MethodPublickey, user.Type(), user.Marshal(), nil))
	for data, purpose := range map[string]string{login: "login", login + "x": "unknown", "SSHSIG" + login: "unknown", sshsigData("git", "x"): "sshsig"} {
		if got := tell(signing(user, data, 0)); !strings.Contains(got, "purpose="+purpose) {
			t.Errorf("%.20q: got %s, want purpose=%s", data, got, purpose)
		}
	}
}

// What the audit can't have is refused in the trace, too.
func TestTraceUnaudited(t *testing.T) {
	recorder := trace.NewRecorder(trace.LevelData, 100)
	path, stop := serveRing(t, &Server{Agent: ringWith(t, AddedKey{}), Tracer: recorder, Audit: func(Request) error { return errors.New("the disk is full") }})
	c := NewClient(dialAgent(t, path))
	if _, err := c.List(t.Context()); !errors.Is(err, ErrRefused) {
		t.Errorf("list: %v", err)
	}
	if err := c.RemoveAll(t.Context()); !errors.Is(err, ErrRefused) {
		t.Errorf("remove all: %v", err)
	}
	c.Close()
	stop()
	refused := 0
	for _, e := range trace.Entries(recorder.Records()) {
		if e.Event == "agent:decision" && strings.Contains(trace.FieldsText(e.Fields), "refused=true") {
			refused++
		}
	}
	if refused != 2 {
		t.Errorf("%d of 2 requests are told to be refused", refused)
	}
}

// Every message that has a name has a meaning.
func TestTraceIsExplained(t *testing.T) {
	for _, name := range messageNames {
		if what, where := view.Explain(&trace.Entry{Dir: "in", Event: "agent:message", Message: name}); what == "" || where == "" {
			t.Errorf("%s is not explained", name)
		}
	}
}

// FuzzTrace: whatever is asked, telling of it ends, and the fields are of the types
// that a trace may have.
func FuzzTrace(f *testing.F) {
	f.Add(signing(testKeys.user.PublicKey(), "data", 6))
	f.Add(wire.AppendString([]byte{numExtension}, extSessionBind))
	f.Add([]byte{numAddConstrained, 0, 0, 0, 1, 'x'})
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, fields := range [][]trace.Field{describeRequest(b), describeReply(b)} {
			for _, field := range fields {
				switch field.Value.(type) {
				case string, int64, bool, []string:
				default:
					t.Fatalf("field %s is a %T", field.Name, field.Value)
				}
			}
			trace.FieldsText(fields)
		}
	})
}
