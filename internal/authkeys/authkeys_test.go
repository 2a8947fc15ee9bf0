package authkeys

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/testpeer"
)

var testTime = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// keyLine returns "keytype base64" of a key.
func keyLine(k gossh.PublicKey) string {
	return strings.TrimSpace(string(gossh.MarshalAuthorizedKey(k)))
}

func mustParse(t testing.TB, text string) *Keys {
	t.Helper()
	k, warnings, err := ParseKeys(strings.NewReader(text), "keys")
	if err != nil {
		t.Fatal(err)
	}
	if len(warnings) > 0 {
		t.Fatalf("warnings: %v", warnings)
	}
	return k
}

func query(k gossh.PublicKey) Query {
	return Query{User: "alice", Key: k, Addr: netip.MustParseAddr("192.0.2.7"), Now: testTime}
}

func TestOptionsOfALine(t *testing.T) {
	key := testpeer.NewSigner(t).PublicKey()
	with := func(change func(o *Options)) *Options {
		o := Unrestricted()
		change(o)
		return o
	}
	for _, tt := range []struct {
		options string
		want    *Options
	}{
		{"", Unrestricted()},
		{"restrict ", new(Options)},
		{"restrict,pty ", &Options{PTY: true}},
		{"pty,restrict ", new(Options)},
		{"RESTRICT,Port-Forwarding\t", &Options{PortForwarding: true}},
		{"restrict,X11-forwarding,agent-forwarding,user-rc ", &Options{X11Forwarding: true, AgentForwarding: true, UserRC: true}},
		{"no-pty,no-agent-forwarding,no-X11-forwarding,no-user-rc,no-port-forwarding ", new(Options)},
		{"no-touch-required ", Unrestricted()},
		{`command="echo \"a, b\" # c" `, with(func(o *Options) { o.Forced, o.Command = true, `echo "a, b" # c` })},
		{`command="" `, with(func(o *Options) { o.Forced = true })},
		{`command="a\\b" `, with(func(o *Options) { o.Forced, o.Command = true, `a\\b` })},
		{`permitopen="db:5432",permitopen="[2001:db8::1]:*" `, with(func(o *Options) {
			o.PermitOpen = []HostPort{{"db", 5432}, {"2001:db8::1", 0}}
		})},
		{`permitlisten="8080",permitlisten="local*:1" `, with(func(o *Options) {
			o.PermitListen = []HostPort{{"*", 8080}, {"local*", 1}}
		})},
		{`environment="A=1",environment="B=x=y",environment="A=2" `, with(func(o *Options) { o.Environment = []string{"A=1", "B=x=y"} })},
		{`tunnel="3" `, with(func(o *Options) { o.Tunnel = "3" })},
	} {
		k := mustParse(t, tt.options+keyLine(key)+" a comment\n")
		got, err := k.Check(query(key))
		if err != nil {
			t.Errorf("%s: %v", tt.options, err)
		} else if !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: got %+v, want %+v", tt.options, got, tt.want)
		}
	}
}

func TestBadLinesAreSkippedWithAWarning(t *testing.T) {
	good, bad := testpeer.NewSigner(t).PublicKey(), testpeer.NewSigner(t).PublicKey()
	line := keyLine(bad)
	blob := strings.Fields(line)[1]
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	smallKey, err := gossh.NewPublicKey(&small.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ line, want string }{
		{"nonsense " + line, `unknown option "nonsense"`},
		{"restrict,nonsense=\"1\" " + line, `unknown option "nonsense"`},
		{"no-restrict " + line, "unknown option"},
		{"no-no-pty " + line, "unknown option"},
		{"restrict, pty " + line, "not followed by another"},
		{"restrict, " + line, "not followed by another"},
		{`restrict="yes" ` + line, "takes no value"},
		{"command " + line, "needs a value"},
		{"command=ls " + line, "not in quotes"},
		{`command="ls ` + line, "unterminated quote"},
		{`command="a"b ` + line, "not followed by another"},
		{`command="a",command="b" ` + line, "more than once"},
		{`from="10.0.0.0/8",from="*" ` + line, "more than once"},
		{`from="10.0.0.1/8" ` + line, "bits beyond"},
		{`from="10.0.0.0/40" ` + line, "not address/length"},
		{`from="" ` + line, "empty pattern"},
		{`from="a,,b" ` + line, "empty pattern"},
		{`principals="a",principals="b" ` + line, "more than once"},
		{`principals="" ` + line, "empty name"},
		{`expiry-time="2026" ` + line, "YYYYMMDD"},
		{`expiry-time="20261301" ` + line, "YYYYMMDD"},
		{`environment="X" ` + line, "NAME=value"},
		{`environment="a b=c" ` + line, "NAME=value"},
		{`permitopen="db" ` + line, "not host:port"},
		{`permitopen="db:0" ` + line, "not 1 to 65535"},
		{`permitopen="db:65536" ` + line, "not 1 to 65535"},
		{`permitopen=":80" ` + line, "no host"},
		{`permitopen="::1:80" ` + line, "brackets"},
		{`permitopen="[::1:80" ` + line, "closing bracket"},
		{`tunnel="x" ` + line, "device number"},
		{"verify-required " + line, "can't be enforced"},
		{"restrict", "no key found"},
		{"ssh-ed25519", "no key found"},
		{"ssh-ed25519 !!!!", "not base64"},
		{"ssh-ed25519 " + blob[:20], "can't be parsed"},
		{"ssh-rsa " + blob, "labelled"},
		{keyLine(smallKey), "too small"},
		{"restrict " + strings.Repeat("x", MaxLine), "exceeds"},
	} {
		k, warnings, err := ParseKeys(strings.NewReader("# comment\n\n"+tt.line+"\n"+keyLine(good)), "keys")
		if err != nil {
			t.Fatalf("%.60s: %v", tt.line, err)
		}
		if len(warnings) != 1 || warnings[0].Line != 3 || !strings.Contains(warnings[0].String(), tt.want) {
			t.Errorf("%.60s: warnings %v, want one on line 3 with %q", tt.line, warnings, tt.want)
		}
		if _, err := k.Check(query(bad)); !errors.Is(err, ErrNotListed) {
			t.Errorf("%.60s: a key on a bad line is taken: %v", tt.line, err)
		}
		if _, err := k.Check(query(good)); err != nil {
			t.Errorf("%.60s: the line behind it is lost: %v", tt.line, err)
		}
	}
}

func TestTooLargeFileFails(t *testing.T) {
	line := "# " + strings.Repeat("x", 1000) + "\n"
	if _, _, err := ParseKeys(strings.NewReader(strings.Repeat(line, MaxFile/len(line)+2)), "keys"); err == nil {
		t.Error("a file beyond MaxFile was read")
	}
}

func TestFrom(t *testing.T) {
	for _, tt := range []struct {
		from, addr, host string
		want             bool
	}{
		{"192.0.2.7", "192.0.2.7", "", true},
		{"192.0.2.8", "192.0.2.7", "", false},
		{"192.0.2.*", "192.0.2.7", "", true},
		{"192.0.2.?", "192.0.2.77", "", false},
		{"192.0.2.0/24", "192.0.2.7", "", true},
		{"192.0.2.0/24", "::ffff:192.0.2.7", "", true},
		{"192.0.2.0/24,!192.0.2.7", "192.0.2.7", "", false},
		{"!192.0.2.7,192.0.2.0/24", "192.0.2.8", "", true},
		{"!192.0.2.7", "192.0.2.8", "", false},
		{"2001:db8::/32", "2001:db8::1", "", true},
		{"fe80::/10", "fe80::1%eth0", "", true},
		{"0.0.0.0/0", "2001:db8::1", "", false},
		{"*.example.org", "192.0.2.7", "A.Example.org", true},
		{"*.example.org", "192.0.2.7", "", false},
		{"*", "", "", false},
		{"!192.0.2.7,*", "", "", false},
	} {
		ps, err := parsePatterns(tt.from)
		if err != nil {
			t.Fatalf("%s: %v", tt.from, err)
		}
		var addr netip.Addr
		if tt.addr != "" {
			addr = netip.MustParseAddr(tt.addr)
		}
		if got := matchFrom(ps, Query{Addr: addr}.client(), tt.host); got != tt.want {
			t.Errorf("from=%q, client %q %q: %v, want %v", tt.from, tt.addr, tt.host, got, tt.want)
		}
	}
}

func TestExpiryTime(t *testing.T) {
	key := testpeer.NewSigner(t).PublicKey()
	k := mustParse(t, `expiry-time="20260501120000Z",expiry-time="20270101Z" `+keyLine(key))
	q := query(key)
	q.Now = testTime.Add(-time.Second)
	if _, err := k.Check(q); err != nil {
		t.Errorf("a second before: %v", err)
	}
	q.Now = testTime
	if _, err := k.Check(q); err == nil || !strings.Contains(err.Error(), "keys:1: key expired") {
		t.Errorf("at the time itself: %v", err)
	}
	for s, want := range map[string]time.Time{
		"20260501":        time.Date(2026, 5, 1, 0, 0, 0, 0, time.FixedZone("", 3600)),
		"202605011230":    time.Date(2026, 5, 1, 12, 30, 0, 0, time.FixedZone("", 3600)),
		"20260501123005":  time.Date(2026, 5, 1, 12, 30, 5, 0, time.FixedZone("", 3600)),
		"20260501123005Z": time.Date(2026, 5, 1, 12, 30, 5, 0, time.UTC),
	} {
		if got, err := parseExpiry(s, time.FixedZone("", 3600)); err != nil || !got.Equal(want) {
			t.Errorf("%s: %v, %v, want %v", s, got, err, want)
		}
	}
}

func TestTheNextLineMayServe(t *testing.T) {
	key := testpeer.NewSigner(t).PublicKey()
	k := mustParse(t, `from="10.0.0.0/8" `+keyLine(key)+"\nrestrict "+keyLine(key)+"\n"+keyLine(key))
	o, err := k.Check(query(key))
	if err != nil || o.PTY {
		t.Errorf("got %+v, %v, want line 2's options", o, err)
	}
}

func TestPermits(t *testing.T) {
	open := &Options{PortForwarding: true, PermitOpen: []HostPort{{"db", 5432}, {"web", 0}, {"*", 53}}}
	listen := &Options{PortForwarding: true, PermitListen: []HostPort{{"local*", 8080}, {"*", 9000}}}
	shut := &Options{PortForwarding: true, PermitOpen: []HostPort{}, PermitListen: []HostPort{}}
	for _, tt := range []struct {
		what string
		got  bool
		want bool
	}{
		{"the port named", open.PermitsOpen("db", 5432), true},
		{"another port", open.PermitsOpen("db", 5433), false},
		{"port modulo 65536", open.PermitsOpen("db", 5432+65536), false},
		{"any port", open.PermitsOpen("web", 1), true},
		{"any host", open.PermitsOpen("elsewhere", 53), true},
		{"another host", open.PermitsOpen("elsewhere", 80), false},
		{"hosts are no patterns", (&Options{PortForwarding: true, PermitOpen: []HostPort{{"d*", 1}}}).PermitsOpen("db", 1), false},
		{"no list", Unrestricted().PermitsOpen("x", 1), true},
		{"empty list", shut.PermitsOpen("x", 1), false},
		{"no forwarding", new(Options).PermitsOpen("x", 1), false},
		{"listen, pattern", listen.PermitsListen("localhost", 8080), true},
		{"listen, other", listen.PermitsListen("0.0.0.0", 8080), false},
		{"listen, bare port", listen.PermitsListen("", 9000), true},
		{"listen, empty list", shut.PermitsListen("x", 1), false},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %v, want %v", tt.what, tt.got, tt.want)
		}
	}
}

func TestMergeIsTheStrictestOfBoth(t *testing.T) {
	a := &Options{PortForwarding: true, PTY: true, PermitOpen: []HostPort{{"db", 0}, {"web", 80}}, Environment: []string{"A=1"}}
	b := &Options{PortForwarding: true, UserRC: true, Forced: true, Command: "ls", PermitOpen: []HostPort{{"*", 5432}, {"web", 81}}, Environment: []string{"A=2", "B=1"}}
	got, err := Merge(a, b)
	if err != nil {
		t.Fatal(err)
	}
	want := &Options{PortForwarding: true, Forced: true, Command: "ls", PermitOpen: []HostPort{{"db", 5432}}, Environment: []string{"A=1", "B=1"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for _, lists := range [][2][]HostPort{{nil, {}}, {{}, nil}, {{{"a", 1}}, {{"b", 1}}}} {
		m, err := Merge(&Options{PortForwarding: true, PermitOpen: lists[0]}, &Options{PortForwarding: true, PermitOpen: lists[1]})
		if err != nil || m.PermitsOpen("a", 1) {
			t.Errorf("%v and %v permit what one of them does not", lists[0], lists[1])
		}
	}
	if _, err := Merge(b, &Options{Forced: true, Command: "rm"}); err == nil {
		t.Error("two different forced commands were merged")
	}
}

func FuzzParseKeys(f *testing.F) {
	key := testpeer.NewSigner(f).PublicKey()
	line := keyLine(key)
	for _, s := range []string{
		line, "restrict,pty " + line, `command="a \" b",from="!1.2.3.4,10.0.0.0/8" ` + line,
		`cert-authority,principals="a,b" ` + line, `permitopen="[::1]:*",permitlisten="1" ` + line,
		`expiry-time="20260501Z",environment="A=b",tunnel="0" ` + line, "# x\n\n\x00" + line, `a="\" ` + line,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		k, warnings, err := ParseKeys(strings.NewReader(text), "f")
		if err != nil {
			return
		}
		if lines := strings.Count(text, "\n") + 1; k.Len()+len(warnings) > lines {
			t.Fatalf("%d keys and %d warnings from %d lines", k.Len(), len(warnings), lines)
		}
		for i := range k.entries {
			if _, err := gossh.ParsePublicKey(k.entries[i].key); err != nil {
				t.Fatalf("entry without a key: %v", err)
			}
		}
		for _, w := range warnings {
			if strings.ContainsAny(w.Text, "\x1b\n\r\x00") {
				t.Fatalf("warning is not printable: %q", w.Text)
			}
		}
		if bytes.HasPrefix([]byte(text), []byte("restrict ")) && k.Len() > 0 && k.entries[0].line == 1 && k.entries[0].options.PTY {
			t.Fatal("restrict permits a pty")
		}
		_, _ = k.Check(query(key))
	})
}

func ExampleWarning() {
	fmt.Println(Warning{File: "authorized_keys", Line: 3, Text: "key is not base64"})
	// Output: authorized_keys:3: key is not base64
}
