package sshconfig

import (
	"testing"

	"github.com/adit-ssh/adit/internal/testpeer"
)

// Forms of addresses that getaddrinfo takes, and what ssh makes of them.
var addressForms = []struct{ in, want string }{
	{"10.1", "10.0.0.1"}, {"0x7f.1", "127.0.0.1"}, {"0x7f000001", "127.0.0.1"}, {"0177.0.0.1", "127.0.0.1"}, {"2130706433", "127.0.0.1"},
	{"1.2.3", "1.2.0.3"}, {"1.2.3.4", "1.2.3.4"}, {"0", "0.0.0.0"}, {"FE80::AB", "FE80::AB"}, {"2001:DB8:0:0::1", "2001:db8::1"},
	{"1.2.3.256", "1.2.3.256"}, {"1.2.3.4.5", "1.2.3.4.5"}, {"4294967296", "4294967296"}, {"1.16777216", "1.16777216"}, {"09.1.1.1", "09.1.1.1"},
	{"1..2", "1..2"}, {"0x", "0x"}, {"Host.Example", "host.example"}, {"FE80::1%nosuch0", "FE80::1%nosuch0"}, {"0X7F.1", "127.0.0.1"},
}

func TestAddressForms(t *testing.T) {
	for _, f := range addressForms {
		c, err := Load(t.Context(), Options{Host: f.in, File: "none"})
		if err != nil || c.HostName != f.want {
			t.Errorf("HostName of %s: got %v, %v, want %s", f.in, c, err, f.want)
		}
	}
}

func TestAddressFormsAreThoseOfSSH(t *testing.T) {
	testpeer.Need(t, "ssh")
	o := &oracle{path: "ssh", home: t.TempDir()}
	for _, f := range addressForms {
		lines, err := o.ask(t, "-F", "none", f.in)
		if err != nil {
			t.Errorf("%s: %v", f.in, err)
			continue
		}
		for _, l := range lines {
			if len(l) > 9 && l[:9] == "hostname " && l[9:] != f.want {
				t.Errorf("ssh makes %s of %s, want %s", l[9:], f.in, f.want)
			}
		}
	}
}
