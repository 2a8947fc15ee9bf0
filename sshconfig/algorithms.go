package sshconfig

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/adit-ssh/adit/internal/wildcard"
)

// AlgorithmList says what of one kind the caller's engine has. The zero value
// has what OpenSSH has.
type AlgorithmList struct {
	Default   []string // in order of preference; used when nothing is configured
	Supported []string // patterns are filled in from here, in this order
}

// Algorithms says what the caller's engine has, so that names that OpenSSH knows
// and the engine does not are left out with a warning.
type Algorithms struct {
	Ciphers, MACs, Kex, HostKeys, CASignatures AlgorithmList
}

const (
	knownCiphers = "3des-cbc aes128-cbc aes192-cbc aes256-cbc aes128-ctr aes192-ctr aes256-ctr " +
		"aes128-gcm@openssh.com aes256-gcm@openssh.com chacha20-poly1305@openssh.com rijndael-cbc@lysator.liu.se"
	knownMACs = "hmac-sha1 hmac-sha1-96 hmac-sha2-256 hmac-sha2-512 hmac-md5 hmac-md5-96 umac-64@openssh.com umac-128@openssh.com " +
		"hmac-sha1-etm@openssh.com hmac-sha1-96-etm@openssh.com hmac-sha2-256-etm@openssh.com hmac-sha2-512-etm@openssh.com " +
		"hmac-md5-etm@openssh.com hmac-md5-96-etm@openssh.com umac-64-etm@openssh.com umac-128-etm@openssh.com"
	knownKex = "diffie-hellman-group1-sha1 diffie-hellman-group14-sha1 diffie-hellman-group14-sha256 diffie-hellman-group16-sha512 " +
		"diffie-hellman-group18-sha512 diffie-hellman-group-exchange-sha1 diffie-hellman-group-exchange-sha256 " +
		"ecdh-sha2-nistp256 ecdh-sha2-nistp384 ecdh-sha2-nistp521 curve25519-sha256 curve25519-sha256@libssh.org " +
		"sntrup761x25519-sha512 sntrup761x25519-sha512@openssh.com mlkem768x25519-sha256"
	knownKeys = "ssh-ed25519 ssh-ed25519-cert-v01@openssh.com sk-ssh-ed25519@openssh.com sk-ssh-ed25519-cert-v01@openssh.com " +
		"ecdsa-sha2-nistp256 ecdsa-sha2-nistp256-cert-v01@openssh.com ecdsa-sha2-nistp384 ecdsa-sha2-nistp384-cert-v01@openssh.com " +
		"ecdsa-sha2-nistp521 ecdsa-sha2-nistp521-cert-v01@openssh.com sk-ecdsa-sha2-nistp256@openssh.com " +
		"sk-ecdsa-sha2-nistp256-cert-v01@openssh.com webauthn-sk-ecdsa-sha2-nistp256@openssh.com " +
		"webauthn-sk-ecdsa-sha2-nistp256-cert-v01@openssh.com ssh-dss ssh-dss-cert-v01@openssh.com ssh-rsa ssh-rsa-cert-v01@openssh.com " +
		"rsa-sha2-256 rsa-sha2-256-cert-v01@openssh.com rsa-sha2-512 rsa-sha2-512-cert-v01@openssh.com"
)

// OpenSSH's defaults (myproposal.h).
const (
	defaultCiphers = "chacha20-poly1305@openssh.com aes128-gcm@openssh.com aes256-gcm@openssh.com aes128-ctr aes192-ctr aes256-ctr"
	defaultMACs    = "umac-64-etm@openssh.com umac-128-etm@openssh.com hmac-sha2-256-etm@openssh.com hmac-sha2-512-etm@openssh.com " +
		"hmac-sha1-etm@openssh.com umac-64@openssh.com umac-128@openssh.com hmac-sha2-256 hmac-sha2-512 hmac-sha1"
	defaultKex = "mlkem768x25519-sha256 sntrup761x25519-sha512 sntrup761x25519-sha512@openssh.com curve25519-sha256 " +
		"curve25519-sha256@libssh.org ecdh-sha2-nistp256 ecdh-sha2-nistp384 ecdh-sha2-nistp521"
	defaultCerts = "ssh-ed25519-cert-v01@openssh.com ecdsa-sha2-nistp256-cert-v01@openssh.com ecdsa-sha2-nistp384-cert-v01@openssh.com " +
		"ecdsa-sha2-nistp521-cert-v01@openssh.com sk-ssh-ed25519-cert-v01@openssh.com sk-ecdsa-sha2-nistp256-cert-v01@openssh.com " +
		"webauthn-sk-ecdsa-sha2-nistp256-cert-v01@openssh.com rsa-sha2-512-cert-v01@openssh.com rsa-sha2-256-cert-v01@openssh.com"
	defaultPlain = "ssh-ed25519 ecdsa-sha2-nistp256 ecdsa-sha2-nistp384 ecdsa-sha2-nistp521 sk-ssh-ed25519@openssh.com " +
		"sk-ecdsa-sha2-nistp256@openssh.com webauthn-sk-ecdsa-sha2-nistp256@openssh.com rsa-sha2-512 rsa-sha2-256"
)

// algorithmKind is one of the seven keywords' rules.
type algorithmKind struct {
	keyword  string
	engine   func(*Algorithms) *AlgorithmList
	initial  string
	known    string
	patterns bool // wildcards are taken in every form, not only after -
}

var algorithmKinds = []algorithmKind{
	{"Ciphers", func(a *Algorithms) *AlgorithmList { return &a.Ciphers }, defaultCiphers, knownCiphers, false},
	{"MACs", func(a *Algorithms) *AlgorithmList { return &a.MACs }, defaultMACs, knownMACs, false},
	{"KexAlgorithms", func(a *Algorithms) *AlgorithmList { return &a.Kex }, defaultKex, knownKex, false},
	{"HostKeyAlgorithms", hostKeyList, defaultCerts + " " + defaultPlain, knownKeys, true},
	{"HostbasedAcceptedAlgorithms", hostKeyList, defaultCerts + " " + defaultPlain, knownKeys, true},
	{"PubkeyAcceptedAlgorithms", hostKeyList, defaultCerts + " " + defaultPlain, knownKeys, true},
	{"CASignatureAlgorithms", func(a *Algorithms) *AlgorithmList { return &a.CASignatures }, defaultPlain, knownKeys, true},
}

func hostKeyList(a *Algorithms) *AlgorithmList { return &a.HostKeys }

func kindOf(name string) *algorithmKind {
	i := slices.IndexFunc(algorithmKinds, func(k algorithmKind) bool { return strings.EqualFold(k.keyword, name) })
	return &algorithmKinds[i]
}

// lists returns what the engine has, or OpenSSH's own.
func (k *algorithmKind) lists(a *Algorithms) (initial, supported []string) {
	e := k.engine(a)
	initial, supported = e.Default, e.Supported
	if supported == nil {
		supported = strings.Fields(k.known)
	}
	if initial == nil {
		initial = slices.DeleteFunc(strings.Fields(k.initial), func(n string) bool { return !slices.Contains(supported, n) })
	}
	return initial, supported
}

// algorithms checks the names of a list; which of them are used is decided when
// all is read. After - anything goes, as nothing can be added by it.
func algorithms(l *line) error {
	arg, err := l.need()
	if err != nil {
		return err
	}
	k := kindOf(l.name)
	if names := strings.TrimLeft(arg[:1], "+^") + arg[1:]; arg[0] != '-' {
		if err := k.check(names, &l.r.o.Algorithms); err != nil {
			return err
		}
	}
	l.set(arg)
	return nil
}

func (k *algorithmKind) check(names string, a *Algorithms) error {
	if names == "" {
		return errors.New("a list of algorithms is missing")
	}
	_, supported := k.lists(a)
	known := append(strings.Fields(k.known), supported...)
	for name := range strings.SplitSeq(names, ",") {
		if name == "" {
			break
		}
		if slices.Contains(known, name) {
			continue
		}
		anyMatch := func(n string) bool { matched, denied := matchList(n, name, false); return matched || denied }
		if k.patterns && slices.ContainsFunc(known, anyMatch) {
			continue
		}
		return withHint{fmt.Errorf("%q is not an algorithm of this kind", name), "known here are " + strings.Join(supported, ",")}
	}
	return nil
}

// assemble makes the list that counts of what was configured: a list, or one
// with + (added to the default), - (taken from it) or ^ (put before it) in
// front (kex.c, kex_assemble_names). missing are names that the engine lacks.
func (k *algorithmKind) assemble(said string, a *Algorithms) (all, missing []string, err error) {
	initial, supported := k.lists(a)
	if said == "" {
		return initial, nil, nil
	}
	mode, names := said[0], said
	if strings.IndexByte("+-^", mode) >= 0 {
		names = said[1:]
	}
	if mode == '-' {
		return slices.DeleteFunc(slices.Clone(initial), func(n string) bool {
			matched, _ := matchList(n, names, false)
			return matched
		}), nil, nil
	}
	patterns := strings.Split(names, ",")
	switch mode {
	case '+':
		patterns = append(slices.Clone(initial), patterns...)
	case '^':
		patterns = append(patterns, initial...)
	}
	for _, p := range patterns {
		if strings.HasPrefix(p, "!") {
			return nil, nil, fmt.Errorf("%q: ! can't stand in a list of algorithms", p)
		}
		before := len(all)
		for _, n := range supported {
			if wildcard.Match(p, n) && !slices.Contains(all, n) {
				all = append(all, n)
			}
		}
		if len(all) == before && !strings.ContainsAny(p, "*?") && !slices.Contains(all, p) && p != "" {
			missing = append(missing, p)
		}
	}
	if len(all) == 0 {
		return nil, nil, withHint{errors.New("none of these algorithms is supported"), "supported are " + strings.Join(supported, ",")}
	}
	return all, missing, nil
}
