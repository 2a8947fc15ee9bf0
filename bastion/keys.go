package bastion

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/authkeys"
)

// Permissions are what a login may do.
type Permissions struct {
	// NoForwarding refuses every channel.
	NoForwarding bool
	// PermitOpen limits targets, as "host:port" or "[address]:port". Either
	// part may be "*" for any; a host is compared as the client wrote it, as
	// sshd compares permitopen (channels.c, open_match). Empty allows all.
	PermitOpen []string
}

// Allows reports whether host:port may be reached. An entry of PermitOpen that
// is not host:port allows nothing.
func (p *Permissions) Allows(host string, port uint16) bool {
	if p == nil || p.NoForwarding {
		return false
	}
	return len(p.PermitOpen) == 0 || slices.ContainsFunc(p.PermitOpen, func(o string) bool {
		h, n, err := net.SplitHostPort(o)
		return err == nil && (h == "*" || h == host) && (n == "*" || n == strconv.Itoa(int(port)))
	})
}

// Keys is the content of authorized_keys files. The user's name does not matter
// but for certificates, whose principals must name it.
type Keys struct {
	Warnings []string // file:line: what was skipped and why

	files []*authkeys.Keys
}

// LoadKeys reads authorized_keys files (sshd(8), "AUTHORIZED_KEYS FILE FORMAT").
// A line that can't be understood, or that limits its key in a way that this
// server can't keep up, is skipped with a warning.
func LoadKeys(files ...string) (*Keys, error) {
	k := new(Keys)
	for _, name := range files {
		if err := k.load(name); err != nil {
			return nil, fmt.Errorf("authorized keys: %w", err)
		}
	}
	return k, nil
}

func (k *Keys) load(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	keys, warnings, err := authkeys.ParseKeys(f, name)
	if err != nil {
		return err
	}
	k.files = append(k.files, keys)
	for _, w := range warnings {
		k.Warnings = append(k.Warnings, w.String())
	}
	return nil
}

// Len returns the number of keys.
func (k *Keys) Len() int {
	n := 0
	for _, f := range k.files {
		n += f.Len()
	}
	return n
}

// Authorize is a Config.Authorize. Files are asked in order.
func (k *Keys) Authorize(_ context.Context, user string, remote net.Addr, key gossh.PublicKey) *Permissions {
	q := authkeys.Query{User: user, Key: key, Now: time.Now()}
	if a, ok := remote.(*net.TCPAddr); ok {
		q.Addr = a.AddrPort().Addr()
	}
	for _, f := range k.files {
		if o, err := f.Check(q); err == nil {
			return permissionsOf(o)
		}
	}
	return nil
}

// permissionsOf keeps what concerns forwarding. The rest is about what this
// server does not do at all.
func permissionsOf(o *authkeys.Options) *Permissions {
	p := &Permissions{NoForwarding: !o.PortForwarding || o.PermitOpen != nil && len(o.PermitOpen) == 0}
	for _, hp := range o.PermitOpen {
		port := "*"
		if hp.Port != 0 {
			port = strconv.Itoa(int(hp.Port))
		}
		p.PermitOpen = append(p.PermitOpen, net.JoinHostPort(hp.Host, port))
	}
	return p
}
