package setup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit"
)

// defaultIdentities are tried when none is named, in OpenSSH's order.
var defaultIdentities = []string{"~/.ssh/id_rsa", "~/.ssh/id_ecdsa", "~/.ssh/id_ecdsa_sk", "~/.ssh/id_ed25519", "~/.ssh/id_ed25519_sk"}

// keys returns the keys to try. The order is OpenSSH's (sshconnect2.c,
// pubkey_prepare) but for one thing: keys in files that are named go before keys
// that the agent has besides, so that those can't use up the server's patience.
//
//  1. certificates of CertificateFile
//  2. keys of the agent that stand in files too
//  3. keys in files that are named
//  4. other keys of the agent, unless IdentitiesOnly
//  5. keys in the default files
//
// The certificate that lies beside a file goes right behind its key. What can't
// be used is told as a warning, but for default files that are not there.
func (o *Options) keys(ctx context.Context) ([]adit.Key, error) {
	fromAgent, err := o.agentKeys(ctx)
	if err != nil {
		o.notice("warning: " + err.Error())
	}
	paths, named := o.IdentityFiles, true
	if paths == nil {
		paths, named = defaultIdentities, false
	}
	inAgent := func(public gossh.PublicKey) bool {
		return public != nil && slices.ContainsFunc(fromAgent, func(k adit.Key) bool { return sameKey(k.PublicKey(), public) })
	}
	var files []*keyFile
	for _, p := range paths {
		if p == "none" {
			continue
		}
		f, err := o.readKeyFile(ctx, Expand(p))
		if err == nil {
			f = o.known(f)
		}
		switch {
		case err == nil || inAgent(f.public): // the agent has what the file lacks
			files = append(files, f)
		case named || !errors.Is(err, fs.ErrNotExist):
			o.notice("warning: " + err.Error())
		}
	}

	if o.KeepKeys {
		o.kept = files
	}
	var first, rest, last []adit.Key
	for _, k := range fromAgent {
		inFile := slices.ContainsFunc(files, func(f *keyFile) bool { return sameKey(k.PublicKey(), f.public) })
		switch {
		case inFile:
			first = append(first, k)
		case !o.IdentitiesOnly:
			rest = append(rest, k)
		}
	}
	for _, f := range files {
		switch {
		case inAgent(f.public): // nobody has to type a passphrase then
		case named:
			first = append(first, f.key())
		default:
			last = append(last, f.key())
		}
	}
	keys := slices.Concat(first, rest, last)
	if len(o.CertificateFiles) > 0 {
		keys = o.certificates(keys) // those beside keys don't count then (OpenSSH, ssh.c)
	} else {
		keys = o.certificatesBeside(files, keys)
	}
	return slices.DeleteFunc(keys, func(k adit.Key) bool {
		if k.Signer == nil {
			return false // see keyFile.open
		}
		err := o.largeEnough(k.PublicKey())
		if err != nil {
			o.notice(fmt.Sprintf("warning: %s is left out: %v", k.Comment, err))
		}
		return err != nil
	}), nil
}

func sameKey(a, b gossh.PublicKey) bool {
	return a != nil && b != nil && string(a.Marshal()) == string(b.Marshal())
}

// known is a key file, or what an earlier login has made of it: unlocked, or not to
// be asked for again.
func (o *Options) known(f *keyFile) *keyFile {
	for _, k := range o.kept {
		if k.path == f.path && (k.signer != nil || k.err != nil) && (f.public == nil || sameKey(k.public, f.public)) {
			return k
		}
	}
	return f
}
