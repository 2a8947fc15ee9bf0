package setup

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"strings"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/algo"
	"github.com/adit-ssh/adit/knownhosts"
)

func (o *Options) hostKeyAlgorithms() []string {
	if o.HostKeyAlgorithms != nil {
		return o.HostKeyAlgorithms
	}
	return algo.DefaultHostKeys()
}

// hostKeys decides about host keys as StrictHostKeyChecking says.
type hostKeys struct {
	o       *Options
	db      *knownhosts.DB
	revoked *knownhosts.Revoked
	memory  *memory // nil for none

	remembered string // under which name memory has the server
}

// host returns the name that is looked up: HostKeyAlias goes before the address.
func (h *hostKeys) host(address string) knownhosts.Host {
	if h.o.HostKeyAlias != "" {
		return knownhosts.Host{Name: h.o.HostKeyAlias, Port: 22}
	}
	host := knownhosts.SplitAddr(address)
	if host.Port == 0 {
		host.Port = 22
	}
	return host
}

// UnknownHostError is an unknown key that nobody accepted.
type UnknownHostError struct{ *knownhosts.UnknownError }

func (e *UnknownHostError) Unwrap() error { return e.UnknownError }

func (h *hostKeys) check(address, algorithm string, key gossh.PublicKey) error {
	host := h.host(address)
	if err := errors.Join(h.revoked.Check(key), h.o.largeEnough(key)); err != nil {
		return err
	}
	err := h.db.CheckHostKey(host.String(), algorithm, key)
	unknown, ok := errors.AsType[*knownhosts.UnknownError](err)
	if !ok {
		return err
	}
	switch h.o.StrictHostKey {
	case "yes":
		return &UnknownHostError{unknown}
	case "no", "off", "accept-new":
	default:
		if err := h.ask(unknown); err != nil {
			return err
		}
	}
	return h.add(host, key)
}

// largeEnough refuses RSA keys below RequiredRSASize, ours and the servers'.
func (o *Options) largeEnough(key gossh.PublicKey) error {
	if cert, ok := key.(*gossh.Certificate); ok {
		key = cert.Key
	}
	crypto, ok := key.(gossh.CryptoPublicKey)
	if !ok {
		return nil
	}
	if k, ok := crypto.CryptoPublicKey().(*rsa.PublicKey); ok && k.N.BitLen() < o.RSABits {
		return fmt.Errorf("the RSA key %s has %d bits, and RequiredRSASize is %d", gossh.FingerprintSHA256(key), k.N.BitLen(), o.RSABits)
	}
	return nil
}

// ask asks the person whether an unknown key is right.
func (h *hostKeys) ask(unknown *knownhosts.UnknownError) error {
	o := h.o
	if o.BatchMode || o.Prompter == nil {
		return &UnknownHostError{unknown}
	}
	fp := gossh.FingerprintSHA256(unknown.Key)
	question := fmt.Sprintf("The host %s is not known. Its %s key has the fingerprint\n%s\nIs that right (yes, no, or the fingerprint)? ",
		unknown.Host, unknown.Key.Type(), fp)
	for range 3 {
		answer, ok, err := o.Prompter.Ask(context.Background(), question, true)
		if err != nil {
			return err
		}
		switch answer = strings.TrimSpace(answer); {
		case !ok, strings.EqualFold(answer, "no"):
			return &UnknownHostError{unknown}
		case strings.EqualFold(answer, "yes"), answer == fp:
			return nil
		}
		question = "Please type yes, no, or the fingerprint: "
	}
	return &UnknownHostError{unknown}
}

// add writes the key down, and says so. A certificate's authority is not known,
// so its bare key is what is written.
func (h *hostKeys) add(host knownhosts.Host, key gossh.PublicKey) error {
	if cert, ok := key.(*gossh.Certificate); ok {
		key = cert.Key
	}
	file := "~/.ssh/known_hosts"
	if h.o.KnownHosts != nil {
		file = h.o.KnownHosts[0]
	}
	what := fmt.Sprintf("%s key %s of %s", key.Type(), gossh.FingerprintSHA256(key), host)
	if file == "/dev/null" || file == "none" {
		h.o.notice("warning: accepted the unknown " + what)
		return nil
	}
	if err := knownhosts.Append(Expand(file), host, key, h.o.HashKnown); err != nil {
		h.o.notice(fmt.Sprintf("warning: could not add the %s: %v", what, err))
		return nil
	}
	h.o.notice(fmt.Sprintf("warning: added the %s to %s", what, file))
	return nil
}
