package bastion

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	gossh "golang.org/x/crypto/ssh"
)

// Permissions are what a login may do.
type Permissions struct {
	// NoForwarding refuses every channel.
	NoForwarding bool
	// PermitOpen limits targets, as "host:port" where the host may be a pattern
	// with * and ? and the port "*". Empty allows all.
	PermitOpen []string
}

// Allows reports whether host:port may be reached. Names are compared as the
// client wrote them, without regard to case.
func (p *Permissions) Allows(host string, port uint16) bool {
	if p == nil || p.NoForwarding {
		return false
	}
	if len(p.PermitOpen) == 0 {
		return true
	}
	for _, o := range p.PermitOpen {
		h, ps, err := net.SplitHostPort(o)
		if err != nil {
			continue
		}
		ok, _ := path.Match(strings.ToLower(strings.ReplaceAll(h, "[", "\\[")), strings.ToLower(host))
		if ok && (ps == "*" || ps == strconv.Itoa(int(port))) {
			return true
		}
	}
	return false
}

// Key is one line of authorized_keys.
type Key struct {
	File        string
	Line        int
	Key         gossh.PublicKey
	Authority   bool     // cert-authority
	Principals  []string // with Authority: who its certificates may be for; nil: the user's name
	From        []netip.Prefix
	Expires     time.Time
	Permissions Permissions
}

// Keys is the content of authorized_keys files. The user's name does not matter
// but for certificates, whose principals must name it.
type Keys struct {
	Keys     []Key
	Warnings []string // file:line: what was skipped and why
}

// LoadKeys reads authorized_keys files (sshd(8), "AUTHORIZED_KEYS FILE FORMAT").
// A line that can't be understood, or that limits its key in a way that this
// server can't keep up, is skipped with a warning.
func LoadKeys(files ...string) (*Keys, error) {
	k := new(Keys)
	for _, name := range files {
		b, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("authorized keys: %w", err)
		}
		if err != nil {
			return nil, fmt.Errorf("authorized keys: %w", err)
		}
		k.parse(name, b)
	}
	return k, nil
}

func (k *Keys) parse(name string, b []byte) {
	for i, line := range bytes.Split(b, []byte("\n")) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		key, _, options, _, err := gossh.ParseAuthorizedKey(line)
		var e *Key
		if err == nil {
			e, err = newKey(key, options)
		}
		if err != nil {
			k.Warnings = append(k.Warnings, fmt.Sprintf("%s:%d: %v", name, i+1, err))
			continue
		}
		e.File, e.Line = name, i+1
		k.Keys = append(k.Keys, *e)
	}
}

func newKey(key gossh.PublicKey, options []string) (*Key, error) {
	e := &Key{Key: key}
	for _, o := range options {
		name, value, _ := strings.Cut(o, "=")
		value = strings.Trim(value, `"`)
		switch strings.ToLower(name) {
		case "cert-authority":
			e.Authority = true
		case "principals":
			e.Principals = strings.Split(value, ",")
		case "permitopen":
			if _, _, err := net.SplitHostPort(value); err != nil {
				return nil, fmt.Errorf("permitopen: %w", err)
			}
			e.Permissions.PermitOpen = append(e.Permissions.PermitOpen, value)
		case "restrict", "no-port-forwarding":
			e.Permissions.NoForwarding = true
		case "port-forwarding":
			e.Permissions.NoForwarding = false
		case "from":
			for f := range strings.SplitSeq(value, ",") {
				p, err := prefix(f)
				if err != nil {
					return nil, fmt.Errorf("from: %q is no address or network", f)
				}
				e.From = append(e.From, p)
			}
		case "expiry-time":
			t, err := expiry(value)
			if err != nil {
				return nil, err
			}
			e.Expires = t
		case "no-pty", "pty", "no-agent-forwarding", "agent-forwarding", "no-x11-forwarding", "x11-forwarding",
			"no-user-rc", "user-rc", "command", "environment", "permitlisten", "tunnel":
			// About what this server does not do at all.
		default:
			return nil, fmt.Errorf("unknown option %q", name)
		}
	}
	return e, nil
}

func prefix(s string) (netip.Prefix, error) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p, nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, err
	}
	return a.Prefix(a.BitLen())
}

func expiry(s string) (time.Time, error) {
	s, utc := strings.CutSuffix(s, "Z")
	loc := time.Local
	if utc {
		loc = time.UTC
	}
	for _, layout := range []string{"20060102", "200601021504", "20060102150405"} {
		if len(layout) == len(s) {
			return time.ParseInLocation(layout, s, loc)
		}
	}
	return time.Time{}, fmt.Errorf("expiry-time: %q is no time", s)
}

// Authorize is a Config.Authorize.
func (k *Keys) Authorize(_ context.Context, user string, remote net.Addr, key gossh.PublicKey) *Permissions {
	for i := range k.Keys {
		e := &k.Keys[i]
		if !e.matches(user, key, time.Now()) || !e.reaches(remote) {
			continue
		}
		return &e.Permissions
	}
	return nil
}

func (e *Key) matches(user string, key gossh.PublicKey, now time.Time) bool {
	if !e.Expires.IsZero() && !now.Before(e.Expires) {
		return false
	}
	cert, isCert := key.(*gossh.Certificate)
	if isCert != e.Authority {
		return false
	}
	if !isCert {
		return bytes.Equal(e.Key.Marshal(), key.Marshal())
	}
	if !bytes.Equal(e.Key.Marshal(), cert.SignatureKey.Marshal()) || cert.CertType != gossh.UserCert || len(cert.CriticalOptions) > 0 {
		return false // no critical option is known here
	}
	if _, ok := cert.Extensions["permit-port-forwarding"]; !ok {
		return false
	}
	names := e.Principals
	if names == nil {
		names = []string{user}
	}
	for _, name := range names {
		// A certificate without principals is for everybody in x/crypto and for
		// nobody in OpenSSH; here it is for nobody.
		c := gossh.CertChecker{Clock: func() time.Time { return now }}
		if slices.Contains(cert.ValidPrincipals, name) && c.CheckCert(name, cert) == nil {
			return true
		}
	}
	return false
}

func (e *Key) reaches(remote net.Addr) bool {
	if len(e.From) == 0 {
		return true
	}
	a, ok := remote.(*net.TCPAddr)
	if !ok {
		return false
	}
	addr := a.AddrPort().Addr().Unmap()
	return slices.ContainsFunc(e.From, func(p netip.Prefix) bool { return p.Contains(addr) })
}
