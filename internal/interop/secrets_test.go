package interop

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/trace"
	"github.com/adit-ssh/adit/trace/pcapng"
)

// A trace of logins by password and by keyboard-interactive has neither the
// password nor any secret of the key exchange, at any level and in any format.
func TestTraceHasNoSecrets(t *testing.T) {
	for _, p := range passwordServers {
		if p.name == "otp" || p.name == "dropbear" {
			continue // three servers, one of them with keyboard-interactive by PAM, tell the rest
		}
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			s := p.start(t)
			dir := t.TempDir()
			var keys bytes.Buffer
			var files []*trace.File
			var tracers []trace.Tracer
			recorder := trace.NewRecorder(trace.LevelData, 10000)
			tracers = append(tracers, recorder)
			for name, format := range map[string]trace.Format{"t.jsonl": new(trace.JSON), "t.txt": new(trace.Lines), "t.pcapng": new(pcapng.Format)} {
				f, err := trace.CreateFile(filepath.Join(dir, name), trace.LevelData, "adit test", format)
				if err != nil {
					t.Fatal(err)
				}
				files, tracers = append(files, f), append(tracers, f)
			}
			methods := []string{"password"}
			if p.kbdint {
				methods = append(methods, "keyboard-interactive")
			}
			for _, method := range methods {
				c, err := adit.Dial(withLimit(t), s.User+"@"+s.Addr, &adit.Config{
					CheckHostKey: adit.FixedHostKey(s.HostKeys[0]), Methods: []string{method}, Tracer: trace.Tee(tracers...), KeyLog: &keys,
					Password: func(context.Context) (string, error) { return s.Password, nil },
					Answer: func(_ context.Context, _, _ string, prompts []adit.Prompt) ([]string, error) {
						answers := make([]string, len(prompts))
						for i := range answers {
							answers[i] = s.Password
						}
						return answers, nil
					},
				})
				if err != nil {
					t.Fatal(err)
				}
				c.Close()
			}
			var all []byte
			for _, f := range files {
				if err := f.Close(); err != nil {
					t.Fatal(err)
				}
			}
			for _, name := range []string{"t.jsonl", "t.txt", "t.pcapng"} {
				b, err := os.ReadFile(filepath.Join(dir, name))
				if err != nil || len(b) < 1000 {
					t.Fatalf("%s: %d bytes, %v", name, len(b), err)
				}
				all = append(all, b...)
			}
			for _, r := range recorder.Records() {
				b, err := json.Marshal(r.Event)
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, b...)
				if e, ok := r.Event.(trace.Packet); ok && e.Msg != nil {
					all = e.Msg.Append(all)
				}
			}
			mustLack(t, all, s.Password, keys.String())
		})
	}
}

// mustLack looks for a password and for what a key log has.
func mustLack(t *testing.T, all []byte, password, keys string) {
	t.Helper()
	if bytes.Contains(all, []byte(password)) {
		t.Error("the password is in the trace")
	}
	secrets := 0
	for _, w := range strings.Fields(keys) {
		raw, err := hex.DecodeString(w)
		if err != nil || len(raw) < 31 { // a label, or a cookie, which is public
			continue
		}
		secrets++
		if bytes.Contains(all, raw) || bytes.Contains(all, []byte(w)) {
			t.Error("a secret of the key exchange is in the trace")
		}
	}
	if secrets == 0 {
		t.Error("the key log has no secrets: the test looks for nothing")
	}
}
