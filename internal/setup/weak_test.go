package setup

import (
	"strings"
	"testing"
	"time"

	"github.com/adit-ssh/adit/trace"
)

// The warning comes once, for what is not post-quantum, if a configuration asks.
func TestWarnWeakCrypto(t *testing.T) {
	for name, c := range map[string]struct {
		line, kex string
		first     bool
		warns     bool
	}{
		"asked for":      {"WarnWeakCrypto yes", "curve25519-sha256", true, true},
		"post-quantum":   {"WarnWeakCrypto yes", "mlkem768x25519-sha256", true, false},
		"rekey":          {"WarnWeakCrypto yes", "curve25519-sha256", false, false},
		"not asked for":  {"", "curve25519-sha256", true, false},
		"not wanted":     {"WarnWeakCrypto no", "curve25519-sha256", true, false},
		"not this one":   {"WarnWeakCrypto no-pq-kex", "curve25519-sha256", true, false},
		"first one wins": {"WarnWeakCrypto no\nWarnWeakCrypto yes", "curve25519-sha256", true, false},
	} {
		t.Run(name, func(t *testing.T) {
			o, _, err := options(t, c.line+"\n")
			if err != nil {
				t.Fatal(err)
			}
			var said []string
			o.Say = func(_, text string) { said = append(said, text) }
			o.Tracer = trace.NewRecorder(trace.LevelConn, 10)
			cfg, err := o.Config()
			if err != nil {
				t.Fatal(err)
			}
			cfg.Tracer.Trace(time.Now(), trace.KexDone{Kex: c.kex, First: c.first})
			text := strings.Join(said, "\n")
			if warns := strings.Contains(text, "not using a post-quantum key exchange"); warns != c.warns {
				t.Errorf("said %q", text)
			}
			if n := len(o.Tracer.(*trace.Recorder).Records()); n != 1 {
				t.Errorf("%d events reach the tracer behind it, want 1", n)
			}
		})
	}
}
