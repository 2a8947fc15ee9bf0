package setup

import (
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/adit-ssh/adit/internal/testnet"
)

// Which agent each form of ForwardAgent means, as ssh_config(5) has it.
func TestForwardAgent(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("USERPROFILE", home) // Windows
	var listening []string
	for range 2 {
		path, _ := testnet.ServeLocal(t, func(net.Conn) {})
		listening = append(listening, path)
	}
	t.Setenv("SSH_AUTH_SOCK", listening[0])
	t.Setenv("OTHER", listening[1])
	t.Setenv("EMPTY", "")
	for _, tt := range []struct{ forward, identity, want, says string }{
		{"", "", "", ""},
		{"no", "", "", ""},
		{"yes", "", listening[0], ""},
		{"yes", listening[1], listening[1], ""},
		{"yes", "none", "", ""},
		{"yes", "SSH_AUTH_SOCK", listening[0], ""},
		{listening[1], "", listening[1], ""},
		{listening[1], "none", listening[1], ""},
		{"$OTHER", "", listening[1], ""},
		{"$EMPTY", "", "", "$EMPTY"},
		{"$UNHEARD", "", "", "$UNHEARD"},
		{"~/nowhere", "", filepath.Join(home, "nowhere"), "Cannot forward agent socket path"},
	} {
		said := ""
		o := &Options{ForwardAgent: tt.forward, IdentityAgent: tt.identity,
			Notice: func(text string) { said += text }, Say: func(_, text string) { said += text }}
		f := o.AgentForwarder()
		got := ""
		if f != nil {
			got = "unreachable"
			if nc, err := f.Dial(t.Context()); err == nil {
				got = nc.RemoteAddr().String()
				nc.Close()
			} else if strings.Contains(err.Error(), tt.want) && tt.want != "" {
				got = tt.want
			}
		}
		if got != tt.want || !strings.Contains(said, tt.says) || tt.says == "" && said != "" && tt.want != "" {
			t.Errorf("ForwardAgent %q, IdentityAgent %q: forwards %q and says %q, want %q and %q", tt.forward, tt.identity, got, said, tt.want, tt.says)
		}
		if again := o.AgentForwarder(); again != f {
			t.Errorf("ForwardAgent %q: two sessions get two forwarders", tt.forward)
		}
	}
}
