package setup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit"
)

// defaultIdentities are tried when none is named, in OpenSSH's order.
var defaultIdentities = []string{"~/.ssh/id_rsa", "~/.ssh/id_ecdsa", "~/.ssh/id_ecdsa_sk", "~/.ssh/id_ed25519", "~/.ssh/id_ed25519_sk"}

// keys returns the agent's keys and those in files. What cannot be used is told
// as a warning; only a file that was asked for by name and is not there is worth
// one.
func (o *Options) keys(ctx context.Context) ([]adit.Key, error) {
	fromAgent, agentErr := o.agentKeys(ctx)
	if agentErr != nil {
		o.notice("warning: " + agentErr.Error())
	}
	files, named := o.IdentityFiles, true
	if files == nil {
		files, named = defaultIdentities, false
	}
	var first, rest, fromFiles []adit.Key
	wanted := map[string]bool{}
	for _, f := range files {
		if f == "none" {
			continue
		}
		keys, err := o.fileKeys(ctx, Expand(f))
		switch {
		case err == nil:
			fromFiles = append(fromFiles, keys...)
			for _, k := range keys {
				wanted[string(k.PublicKey().Marshal())] = true
			}
		case named && namesAgentKey(Expand(f), errors.Is(err, fs.ErrNotExist), wanted):
		case named || !errors.Is(err, fs.ErrNotExist):
			o.notice("warning: " + err.Error())
		}
	}
	// Keys that were asked for by name go first, signed by the agent where it
	// has them: nobody has to type a passphrase then.
	have := map[string]bool{}
	for _, k := range fromAgent {
		id := string(k.PublicKey().Marshal())
		have[id] = true
		switch {
		case named && wanted[id]:
			first = append(first, k)
		case !o.IdentitiesOnly || wanted[id]:
			rest = append(rest, k)
		}
	}
	for _, k := range fromFiles {
		if have[string(k.PublicKey().Marshal())] {
			continue
		}
		if named {
			first = append(first, k)
		} else {
			rest = append(rest, k)
		}
	}
	return slices.DeleteFunc(o.certificates(append(first, rest...)), func(k adit.Key) bool {
		err := o.largeEnough(k.PublicKey())
		if err != nil {
			o.notice(fmt.Sprintf("warning: %s is left out: %v", k.Comment, err))
		}
		return err != nil
	}), nil
}

// namesAgentKey notes a public key that stands in the file, or beside it when
// there is no private one: such a key may be in the agent (ssh_config:
// IdentityFile).
func namesAgentKey(path string, missing bool, wanted map[string]bool) bool {
	if missing {
		path += ".pub"
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return false
	}
	k, _, _, _, err := gossh.ParseAuthorizedKey(b)
	if err != nil {
		return false
	}
	wanted[string(k.Marshal())] = true
	return true
}

// fileKeys reads a private key, and the certificate beside it when there is one,
// which goes first.
func (o *Options) fileKeys(ctx context.Context, path string) ([]adit.Key, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("identity file: %w", err)
	}
	if err := tooOpen(path); err != nil {
		return nil, err
	}
	signer, err := gossh.ParsePrivateKey(b)
	locked := false
	if missing, ok := errors.AsType[*gossh.PassphraseMissingError](err); ok {
		if o.BatchMode || o.Prompter == nil {
			return nil, fmt.Errorf("identity file %s needs a passphrase, and there is nobody to ask", path)
		}
		unlock := &unlocker{o: o, path: path, file: b}
		if locked = missing.PublicKey != nil; locked {
			signer, err = &lockedSigner{unlock, missing.PublicKey}, nil
		} else {
			signer, err = unlock.signer(ctx) // PEM does not tell whose key it is
		}
	}
	if err != nil {
		return nil, fmt.Errorf("identity file %s: %w", path, err)
	}
	keys := []adit.Key{{Signer: signer, Comment: path, Probe: locked}}
	if cert, err := readCertificate(path+"-cert.pub", signer); err == nil {
		keys = append([]adit.Key{{Signer: cert, Comment: path + "-cert.pub", Probe: locked}}, keys...)
	} else if !errors.Is(err, fs.ErrNotExist) {
		o.notice("warning: " + err.Error())
	}
	return keys, nil
}

func readCertificate(path string, signer gossh.Signer) (gossh.Signer, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	cert, err := parseCertificate(path, b)
	if err != nil {
		return nil, err
	}
	s, err := gossh.NewCertSigner(cert, signer)
	if err != nil {
		return nil, fmt.Errorf("certificate %s: %w", path, err)
	}
	if l, ok := signer.(*lockedSigner); ok {
		return &lockedSigner{l.unlock, cert}, nil
	}
	return s, nil
}
