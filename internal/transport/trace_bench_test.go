package transport

import (
	"testing"

	"github.com/adit-ssh/adit/trace"
)

type nowhere struct{}

func (nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (nowhere) Close() error                { return nil }

// BenchmarkTrace is BenchmarkTransfer with aes128-gcm, by what the sender's
// tracer wants. "nobody" must be what it is without the hooks, and allocate
// nothing for a packet.
func BenchmarkTrace(b *testing.B) {
	for _, tt := range []struct {
		name  string
		level trace.Level
	}{{"nobody", trace.LevelOff}, {"channel", trace.LevelChannel}, {"packet", trace.LevelPacket}, {"data", trace.LevelData}} {
		b.Run(tt.name, func(b *testing.B) {
			x, y := tcpPipe(b)
			cfg := Config{Ciphers: []string{"aes128-gcm@openssh.com"}}
			traced := cfg
			if tt.level != trace.LevelOff {
				f := trace.NewFile(nowhere{}, tt.level, "bench", new(trace.JSON))
				defer f.Close()
				traced.Tracer = trace.Branch(f)
			}
			c, s := connect(b, x, y, traced, cfg)
			benchTransfer(b, c, s)
		})
	}
}
