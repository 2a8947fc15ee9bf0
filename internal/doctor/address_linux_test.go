package doctor

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/adit-ssh/adit/internal/testnet"
)

// A port behind a firewall that drops is told from one that refuses.
func TestFilteredPort(t *testing.T) {
	_, port, _ := net.SplitHostPort(testnet.FullBacklog(t))
	p := newPatient(t, base+"ConnectTimeout 1\n", "", "{PORT}", port, "{USER}", "ann")
	r := p.examine(t, Options{})
	if r.ExitStatus() != int(StageAddress) {
		t.Errorf("exit status %d, want %d", r.ExitStatus(), StageAddress)
	}
	if f := r.Failure(); f == nil || f.Took < time.Second || !strings.Contains(f.Meaning, "firewall") {
		t.Errorf("got %+v, want a timeout after a second that speaks of firewalls", f)
	}
	p.wantGolden(t, "filtered", r)
}
