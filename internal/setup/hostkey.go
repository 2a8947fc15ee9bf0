package setup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/internal/algo"
	"github.com/adit-ssh/adit/internal/sshfp"
	"github.com/adit-ssh/adit/knownhosts"
)

func (o *Options) hostKeyAlgorithms() []string {
	if o.HostKeyAlgorithms != nil {
		return o.HostKeyAlgorithms
	}
	return algo.DefaultHostKeys()
}

// hostKeys decides about host keys as StrictHostKeyChecking says (OpenSSH,
// sshconnect.c, check_host_key). The texts are OpenSSH's, since scripts and
// people search for them.
type hostKeys struct {
	o       *Options
	db      *knownhosts.DB // the files
	ordered *knownhosts.DB // db, and what KnownHostsCommand said in advance
	user    []string       // files of the user's, expanded; keys are added to the first
	global  []string
	revoked *knownhosts.Revoked
	memory  *memory // nil for none

	remembered string // under which name memory has the server
	expects    bool   // Config.Expect is not empty

	// Set by dialling and by check, which come one after the other.
	peer    netip.Addr // the server's address, when it is reached directly
	host    knownhosts.Host
	inDNS   sshfp.Verdict
	trusted bool // known by the user's own files, or confirmed
}

// name returns what is looked up: HostKeyAlias goes before the address.
func (h *hostKeys) name(address string) knownhosts.Host {
	if h.o.HostKeyAlias != "" {
		return knownhosts.Host{Name: h.o.HostKeyAlias, Port: 22}
	}
	host := knownhosts.SplitAddr(address)
	if host.Port == 0 {
		host.Port = 22
	}
	return host
}

// notePeer notes the address of a server that is reached directly. Behind
// proxies nobody knows it.
func (h *hostKeys) notePeer(dial func(context.Context, string) (net.Conn, error)) func(context.Context, string) (net.Conn, error) {
	return func(ctx context.Context, address string) (net.Conn, error) {
		nc, err := dial(ctx, address)
		if err == nil {
			if a, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
				h.peer = a.AddrPort().Addr().Unmap()
			}
		}
		return nc, err
	}
}

// UnknownHostError is an unknown key that nobody accepted.
type UnknownHostError struct{ *knownhosts.UnknownError }

func (e *UnknownHostError) Unwrap() error { return e.UnknownError }

// check is Config.CheckHostKey.
func (h *hostKeys) check(address, _ string, key gossh.PublicKey) error {
	h.host, h.trusted = h.name(address), false
	err := h.judge(key)
	if err != nil && !errors.Is(err, adit.ErrUnverified) && !errors.Is(err, errForwardFailure) {
		h.o.say(levelFatal, "Host key verification failed.")
	}
	return err
}

func (h *hostKeys) judge(key gossh.PublicKey) error {
	o := h.o
	if err := h.revoked.Check(key); err != nil {
		if listed, ok := errors.AsType[*knownhosts.ListedError](err); ok {
			o.say(levelError, "Host key %s %s revoked by file %s", knownhosts.TypeName(key), o.fingerprint(key), listed.File)
		}
		return err
	}
	if err := o.largeEnough(key); err != nil {
		return err
	}
	if o.NoAuthForLocalhost && h.peer.IsLoopback() && o.HostKeyAlias == "" {
		return nil // the home folder may be that of many machines, each of them localhost
	}
	if accepted := h.lookupDNS(key); accepted {
		return nil
	}
	db, err := h.command(h.db, "HOSTNAME", h.host.String(), key)
	if err != nil {
		return err
	}
	v := db.Judge(h.host, key, time.Now())
	ip, err := h.lookupAddress(v, key)
	if err != nil {
		return err
	}
	if e, ok := errors.AsType[*knownhosts.CertificateError](v.Certificate); ok {
		o.say(levelError, "%s", printable(e.Text))
	}
	switch v.Status {
	case knownhosts.IsRevoked:
		// OpenSSH goes on here with StrictHostKeyChecking=no. A key that somebody
		// marked as stolen is not one to be lenient about.
		h.sayRevoked(v)
		return db.Error(h.host, v)
	case knownhosts.IsChanged:
		h.sayChanged(v, ip)
		if o.StrictHostKey != "no" && o.StrictHostKey != "off" {
			o.say(levelError, "Host key for %s has changed and you have requested strict checking.", h.host)
			return db.Error(h.host, v)
		}
		return h.goOnUnsafe(db.Error(h.host, v))
	case knownhosts.IsKnown:
		h.trusted = h.own(v) && (ip == nil || ip.status != knownhosts.IsKnown || slices.Contains(h.user, ip.entry.File))
		h.addAddress(v, ip)
	default:
		if err := h.unknown(v, ip); err != nil {
			return err
		}
	}
	return h.compareAddress(v, ip)
}

// own reports whether a key is known by a line of the user's own files that
// UpdateHostKeys may look after.
func (h *hostKeys) own(v knownhosts.Verdict) bool {
	_, cert := v.Key.(*gossh.Certificate)
	return !cert && !v.PortLess && slices.Contains(h.user, v.Entry.File) && !slices.Contains(h.global, v.Entry.File)
}

// unknown deals with a host that no line is for.
func (h *hostKeys) unknown(v knownhosts.Verdict, ip *addressStatus) error {
	unknown := &UnknownHostError{&knownhosts.UnknownError{Host: h.host, Key: v.Key, Files: h.db.Files}}
	if len(h.user) == 0 {
		return unknown // nowhere to write it down
	}
	switch h.o.StrictHostKey {
	case "yes":
		h.o.say(levelError, "No %s host key is known for %s and you have requested strict checking.", knownhosts.TypeName(v.Key), h.host)
		return unknown
	case "no", "off", "accept-new":
	default:
		ok, err := h.ask(v.Key)
		if err != nil {
			return err
		}
		if !ok {
			return unknown
		}
		h.trusted = true
	}
	h.add(v.Key, ip)
	return nil
}

// add writes an unknown key down, and says so.
func (h *hostKeys) add(key gossh.PublicKey, ip *addressStatus) {
	address, what := "", h.host.String()
	if ip != nil && ip.status == knownhosts.IsUnknown {
		address = ip.name
		what += "," + address
	}
	h.o.makeFolder(h.user[0])
	if err := knownhosts.AppendAddress(h.user[0], h.host, address, key, h.o.HashKnown); err != nil {
		h.o.say(levelInfo, "Failed to add the host to the list of known hosts (%s): %v", h.user[0], errors.Unwrap(err))
		return
	}
	h.o.say(levelInfo, "Warning: Permanently added '%s' (%s) to the list of known hosts.", what, knownhosts.TypeName(key))
}

// makeFolder makes ~/.ssh if file is to lie in it. Other folders are for the
// person to make (OpenSSH, hostfile.c, hostfile_create_user_ssh_dir).
func (o *Options) makeFolder(file string) {
	dir := Expand("~/.ssh")
	if filepath.Dir(file) != dir {
		return
	}
	switch err := os.Mkdir(dir, 0o700); {
	case err == nil:
		o.say(levelInfo, "Created directory '%s'.", dir)
	case !errors.Is(err, fs.ErrExist):
		o.say(levelError, "Could not create directory '%s' (%v).", dir, plainPathError(err))
	}
}

// errForwardFailure ends a connection that must not be without its forwards.
var errForwardFailure = errors.New("ExitOnForwardFailure, and forwards to an unverified server are disabled")

// goOnUnsafe goes on with a server that may be another one, without all that it
// could take advantage of.
func (h *hostKeys) goOnUnsafe(why error) error {
	o := h.o
	for _, what := range o.Risks {
		o.say(levelError, "%s is disabled to avoid man-in-the-middle attacks.", what)
	}
	if o.UpdateHostKeys == "yes" || o.UpdateHostKeys == "ask" {
		o.say(levelError, "UpdateHostkeys is disabled because the host key is not trusted.")
	}
	if o.ExitOnForwardFailure && len(o.Risks) > 0 {
		o.say(levelError, "Error: forwarding disabled due to host key check failure")
		return fmt.Errorf("%w: %w", errForwardFailure, why)
	}
	return fmt.Errorf("%w: %w", adit.ErrUnverified, why)
}

// largeEnough refuses RSA keys below RequiredRSASize, ours and the servers'.
func (o *Options) largeEnough(key gossh.PublicKey) error {
	if n, ok := algo.RSABits(key); ok && n < o.RSABits {
		return fmt.Errorf("the RSA key %s has %d bits, and RequiredRSASize is %d", gossh.FingerprintSHA256(key), n, o.RSABits)
	}
	return nil
}

// ask asks the person whether an unknown key is right.
func (h *hostKeys) ask(key gossh.PublicKey) (bool, error) {
	fp := h.o.fingerprint(key)
	return h.o.confirm(h.question(key, fp), "Please type 'yes', 'no' or the fingerprint: ", fp)
}

// maxAnswers is how many words that are no answer a question bears: a script in
// SSH_ASKPASS that always types the password would be asked for ever.
const maxAnswers = 20

// confirm asks until there is an answer: yes, a word that stands for it, or no,
// which silence is too.
func (o *Options) confirm(question, again, yes string) (bool, error) {
	if !o.asks() {
		return false, nil
	}
	for range maxAnswers {
		answer, ok, err := o.Prompter.Ask(o.lifetime(), question, true)
		if err != nil {
			return false, err
		}
		answer, _, _ = strings.Cut(strings.Trim(answer, " \t"), " ")
		switch {
		case !ok, answer == "", strings.EqualFold(answer, "no"):
			return false, nil
		case strings.EqualFold(answer, "yes"), yes != "" && answer == yes:
			return true, nil
		}
		question = again
	}
	return false, nil
}
