package sshconfig

import (
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"os/user"
	"path/filepath"
	"strings"
)

// tokens is what %c stands for, by c.
type tokens map[byte]string

// expand puts tokens in place of %c, and variables in place of ${NAME} (misc.c,
// vdollar_percent_expand). Without tokens, or without getenv, that kind is left
// as it is. A variable that is not set is an error.
func expand(s string, t tokens, getenv func(string) (string, bool)) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case getenv != nil && strings.HasPrefix(s[i:], "${"):
			name, _, ok := strings.Cut(s[i+2:], "}")
			if !ok || name == "" {
				return "", fmt.Errorf("%q has a ${ without a name and a }", s)
			}
			v, ok := getenv(name)
			if !ok {
				return "", withHint{fmt.Errorf("the environment variable %s is not set", name), "export " + name + "=..."}
			}
			b.WriteString(v)
			i += len(name) + 2
		case s[i] == '%' && t != nil:
			if i++; i == len(s) {
				return "", fmt.Errorf("%q ends with a single %%; write %%%% for a percent sign", s)
			}
			if s[i] == '%' {
				b.WriteByte('%')
				break
			}
			v, ok := t[s[i]]
			if !ok {
				return "", fmt.Errorf("%%%c in %q means nothing here; write %%%% for a percent sign", s[i], s)
			}
			b.WriteString(v)
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String(), nil
}

// expandPath does both and puts the home folder in place of a leading ~.
func (r *reader) expandPath(s string, t tokens) (string, error) {
	s, err := r.tilde(s)
	if err != nil {
		return "", err
	}
	return expand(s, t, r.o.Getenv)
}

// tilde puts a home folder in place of ~ or ~name (misc.c, tilde_expand).
func (r *reader) tilde(s string) (string, error) {
	if !strings.HasPrefix(s, "~") {
		return s, nil
	}
	name, path, _ := strings.Cut(s[1:], "/")
	home := r.o.Home
	if name != "" {
		u, err := user.Lookup(name)
		if err != nil {
			return "", fmt.Errorf("%s: %w", s, err)
		}
		home = u.HomeDir
	}
	if home == "" {
		return "", fmt.Errorf("%s: nobody knows the home folder", s)
	}
	return strings.TrimSuffix(home, "/") + "/" + strings.TrimLeft(path, "/"), nil
}

// tokens returns what most keywords can use (ssh.c,
// DEFAULT_CLIENT_PERCENT_EXPAND_ARGS). host is the address as known so far, and
// keyAlias what stands for it when there is no HostKeyAlias.
func (r *reader) tokens(host, keyAlias string) tokens {
	o := r.o
	portText := r.s.text("port")
	if portText == "" {
		portText = "22"
	}
	remote := r.s.text("user")
	if remote == "" {
		remote = o.User
	}
	if alias := r.s.text("hostkeyalias"); alias != "" {
		keyAlias = alias
	}
	short, _, _ := strings.Cut(o.LocalHost, ".")
	t := tokens{
		'L': short, 'l': o.LocalHost, 'd': o.Home, 'u': o.User, 'i': o.UID,
		'h': host, 'n': o.Host, 'k': keyAlias, 'p': portText, 'r': remote, 'j': r.jumpHost(),
	}
	t.hash()
	return t
}

// hash sets %C from the other tokens. SHA-1 only makes a short name of them.
func (t tokens) hash() {
	sum := sha1.Sum([]byte(t['l'] + t['h'] + t['p'] + t['r'] + t['j']))
	t['C'] = hex.EncodeToString(sum[:])
}

// expandHostName puts the host in place of %h in HostName, which knows no other.
func expandHostName(name, host string) (string, error) {
	return expand(name, tokens{'h': host}, nil)
}

// only returns those of the named tokens.
func (t tokens) only(names string) tokens {
	some := tokens{}
	for _, c := range []byte(names) {
		some[c] = t[c]
	}
	return some
}

// finish expands what -G shows expanded, in the order of ssh.c.
func (r *reader) finish(host string) error {
	s := r.s
	t := r.tokens(host, r.o.Host)
	if v := s["user"]; v[0].from != (Origin{}) && !r.userTyped {
		noUser := t.only("Llduihnkpj") // without those that User is a part of
		name, err := expand(v[0].text, noUser, r.o.Getenv)
		if err != nil {
			return lineError(v[0].from, "user", err)
		}
		if name != v[0].text && !validUser(name) {
			return lineError(v[0].from, "user", errors.New("the name has characters that are not safe"))
		}
		v[0].text, t['r'] = name, name
		t.hash()
	}
	plain := func(text string) (string, error) { return expand(text, t, nil) }
	path := func(text string) (string, error) { return r.expandPath(text, t) }
	both := func(text string) (string, error) { return expand(text, t, r.o.Getenv) }
	for _, step := range []struct {
		name   string
		expand func(string) (string, error)
	}{
		{"remotecommand", plain},
		{"controlpath", path},
		{"identityagent", path},
		{forwardAgentPath, path},
		{"revokedhostkeys", path},
		{"userknownhostsfile", path},
		{"versionaddendum", both},
		{"setenv", func(text string) (string, error) {
			name, v, _ := strings.Cut(text, "=")
			v, err := both(v)
			return name + "=" + v, err
		}},
		{"localforward", plain},
		{"dynamicforward", plain},
		{"remoteforward", plain},
	} {
		for i := range s[step.name] {
			v := &s[step.name][i]
			var err error
			if v.fwd != nil {
				err = v.fwd.expand(step.expand)
			} else if v.text != "none" || step.name == "versionaddendum" {
				v.text, err = step.expand(v.text)
			}
			if err != nil {
				name, _, _ := strings.Cut(step.name, " ")
				return lineError(v.from, name, err)
			}
		}
	}
	return nil
}

func (f *Forward) expand(expand func(string) (string, error)) (err error) {
	for _, p := range []*string{&f.ListenPath, &f.TargetPath} {
		if *p, err = expand(*p); err != nil {
			return err
		}
	}
	return nil
}

// absolute reports whether a path does not depend on the current folder.
func absolute(path string) bool {
	return strings.HasPrefix(path, "/") || filepath.IsAbs(path)
}
