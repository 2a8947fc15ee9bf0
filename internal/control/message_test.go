//go:build unix

package control

import (
	"bytes"
	"encoding/hex"
	"reflect"
	"strings"
	"testing"
)

// samples are messages of all kinds, with the bytes that PROTOCOL.mux says.
var samples = []struct {
	name string
	m    message
	hex  string
}{
	{"hello", message{Kind: kindHello, Value: 4}, "00000001 00000004"},
	{"alive check", message{Kind: kindAliveCheck, ID: 7}, "10000004 00000007"},
	{"alive", message{Kind: kindAlive, ID: 7, Value: 4711}, "80000005 00000007 00001267"},
	{"terminate", message{Kind: kindTerminate, ID: 1}, "10000005 00000001"},
	{"stop listening", message{Kind: kindStopListening, ID: 2}, "10000009 00000002"},
	{"proxy", message{Kind: kindProxy, ID: 3}, "1000000f 00000003"},
	{"proxy opened", message{Kind: kindProxyOpened, ID: 3}, "8000000f 00000003"},
	{"ok", message{Kind: kindOK, ID: 5}, "80000001 00000005"},
	{"denied", message{Kind: kindPermissionDenied, ID: 5, Reason: "no"}, "80000002 00000005 00000002 6e6f"},
	{"failure", message{Kind: kindFailure, ID: 5, Reason: ""}, "80000003 00000005 00000000"},
	{"exit", message{Kind: kindExit, ID: 9, Value: 255}, "80000004 00000009 000000ff"},
	{"session opened", message{Kind: kindSessionOpened, ID: 9, Value: 2}, "80000006 00000009 00000002"},
	{"remote port", message{Kind: kindRemotePort, ID: 9, Value: 8080}, "80000007 00000009 00001f90"},
	{"no terminal", message{Kind: kindTTYAllocFail, ID: 9}, "80000008 00000009"},
	{"session", message{Kind: kindNewSession, ID: 1, Session: &sessionRequest{TTY: true, Agent: true, Escape: '~', Term: "vt", Command: "ls", Env: []string{"A=1", "B="}}},
		"10000002 00000001 00000000 00000001 00000000 00000001 00000000 0000007e 00000002 7674 00000002 6c73 00000003 413d31 00000002 423d"},
	{"subsystem", message{Kind: kindNewSession, ID: 1, Session: &sessionRequest{X11: true, Subsystem: true, Escape: noEscape, Command: "sftp"}},
		"10000002 00000001 00000000 00000000 00000001 00000000 00000001 ffffffff 00000000 00000004 73667470"},
	{"stdio", message{Kind: kindNewStdio, ID: 1, Stdio: &stdioRequest{"db", 5432}}, "10000008 00000001 00000000 00000002 6462 00001538"},
	{"stdio to a path", message{Kind: kindNewStdio, ID: 1, Stdio: &stdioRequest{"/s", pathPort}}, "10000008 00000001 00000000 00000002 2f73 fffffffe"},
	{"open forward", message{Kind: kindOpenForward, ID: 1, Forward: &forwardRequest{forwardLocal, "", 80, "db", 5432}},
		"10000006 00000001 00000001 00000000 00000050 00000002 6462 00001538"},
	{"close forward", message{Kind: kindCloseForward, ID: 1, Forward: &forwardRequest{forwardRemote, "/s", pathPort, "/t", pathPort}},
		"10000007 00000001 00000002 00000002 2f73 fffffffe 00000002 2f74 fffffffe"},
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestMessages(t *testing.T) {
	for _, tt := range samples {
		want := unhex(t, tt.hex)
		if got := tt.m.append(nil); !bytes.Equal(got, want) {
			t.Errorf("%s: got %x, want %x", tt.name, got, want)
		}
		if got, err := decode(want); err != nil || !reflect.DeepEqual(*got, tt.m) {
			t.Errorf("%s: decoded %+v, %v, want %+v", tt.name, got, err, tt.m)
		}
	}
}

// A message that ends too early is an error wherever it ends, but for the list of
// variables, which may end behind each.
func TestTruncatedMessages(t *testing.T) {
	for _, tt := range samples {
		whole := unhex(t, tt.hex)
		for n := range whole {
			variables := tt.name == "session" && (n == len(whole)-13 || n == len(whole)-6)
			if _, err := decode(whole[:n]); (err == nil) != variables {
				t.Errorf("%s, cut at %d of %d: got error %v", tt.name, n, len(whole), err)
			}
		}
	}
}

func TestMalformedMessages(t *testing.T) {
	for _, tt := range []struct{ name, hex, want string }{
		{"another version", "00000001 00000005", "unsupported multiplexing protocol version 5 (expected 4)"},
		{"half an extension", "00000001 00000004 00000001 78", "malformed hello"},
		{"a NUL in a command", "10000002 00000001 00000000 00000000 00000000 00000000 00000000 ffffffff 00000000 00000003 610062", "NUL"},
		{"port 65536", "10000006 00000001 00000001 00000000 00010000 00000001 61 00000001", "65536 is no port"},
		{"a length beyond the end", "80000003 00000001 7fffffff", "malformed message 0x80000003"},
		{"the longest length", "80000003 00000001 ffffffff", "malformed message 0x80000003"},
	} {
		if _, err := decode(unhex(t, tt.hex)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want an error with %q", tt.name, err, tt.want)
		}
	}
	// Extensions of a hello and a message of another kind are no errors.
	for _, ok := range []string{"00000001 00000004 00000001 78 00000002 0000", "100000ff 00000001 7777"} {
		if _, err := decode(unhex(t, ok)); err != nil {
			t.Errorf("%s: %v", ok, err)
		}
	}
}

// Of more variables than maxEnv only so many are kept.
func TestManyVariables(t *testing.T) {
	m := message{Kind: kindNewSession, Session: &sessionRequest{Env: make([]string, maxEnv+9)}}
	got, err := decode(m.append(nil))
	if err != nil || len(got.Session.Env) != maxEnv {
		t.Errorf("got %v variables, %v, want %d", len(got.Session.Env), err, maxEnv)
	}
}

// What decodes is encoded so that it decodes to the same.
func FuzzMessage(f *testing.F) {
	for _, tt := range samples {
		f.Add(unhex(f, tt.hex))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decode(b)
		if err != nil {
			return
		}
		again, err := decode(m.append(nil))
		if err != nil || !reflect.DeepEqual(m, again) {
			t.Errorf("%+v became %+v, %v", m, again, err)
		}
		if m.Forward != nil {
			if s, err := m.Forward.spec(); err == nil {
				if back, err := requestOf(s).spec(); err != nil || back != s {
					t.Errorf("%+v became %+v, %v", s, back, err)
				}
			}
		}
	})
}
