package setup

import (
	"context"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/adit-ssh/adit/internal/sshfp"
	"github.com/adit-ssh/adit/internal/testpeer"
)

// VerifyHostKeyDNS, in the words of ssh (sshconnect.c): only a validated match goes
// without known_hosts, and only with "yes".
func TestVerifyHostKeyDNS(t *testing.T) {
	k, o := testpeer.NewKey(t, "ed25519"), testpeer.NewKey(t, "ed25519")
	record := func(k *testpeer.Key) sshfp.Record {
		sum := sha256.Sum256(k.Public.Marshal())
		return sshfp.Record{Algorithm: 4, Type: 2, Fingerprint: sum[:]}
	}
	mine, other := []sshfp.Record{record(k)}, []sshfp.Record{record(o)}
	const update = "Update the SSHFP RR in DNS with the new host key to get rid of this message."
	const unknown = "No ED25519 host key is known for db and you have requested strict checking.\nHost key verification failed."
	for name, c := range map[string]struct {
		option string
		answer sshfp.Answer
		err    error
		known  string
		strict string
		ok     bool
		asked  string // in the question
		said   []string
		silent bool
	}{
		"validated match":              {"yes", sshfp.Answer{Records: mine, Secure: true}, nil, "", "yes", true, "", nil, true},
		"validated match, ask":         {"ask", sshfp.Answer{Records: mine, Secure: true}, nil, "", "ask", true, "\nMatching host key fingerprint found in DNS.\n", nil, false},
		"match, not validated":         {"yes", sshfp.Answer{Records: mine}, nil, "", "ask", true, "\nMatching host key fingerprint found in DNS.\n", nil, false},
		"match, not validated, strict": {"yes", sshfp.Answer{Records: mine}, nil, "", "yes", false, "", []string{unknown}, false},
		"match beside another known":   {"yes", sshfp.Answer{Records: mine}, nil, "db " + o.Line() + "\n", "yes", false, "", []string{"REMOTE HOST IDENTIFICATION HAS CHANGED"}, false},
		"validated, another one known": {"yes", sshfp.Answer{Records: mine, Secure: true}, nil, "db " + o.Line() + "\n", "yes", true, "", nil, true},
		"differs, known":               {"yes", sshfp.Answer{Records: other, Secure: true}, nil, "db " + k.Line() + "\n", "yes", true, "", []string{"REMOTE HOST IDENTIFICATION HAS CHANGED", update}, false},
		"differs, unknown":             {"yes", sshfp.Answer{Records: other, Secure: true}, nil, "", "ask", true, "\nNo matching host key fingerprint found in DNS.\n", []string{update}, false},
		"nothing there":                {"yes", sshfp.Answer{Secure: true}, nil, "", "ask", true, "\nNo matching host key fingerprint found in DNS.\n", nil, false},
		"no answer":                    {"yes", sshfp.Answer{}, errors.New("name server 10.0.0.1:53: timeout"), "", "yes", false, "", []string{"DNS lookup error: name server 10.0.0.1:53: timeout", unknown}, false},
		"revoked, whatever DNS has":    {"yes", sshfp.Answer{Records: mine, Secure: true}, nil, "revoked", "yes", false, "", []string{"revoked by file"}, false},
		"off":                          {"no", sshfp.Answer{Records: mine, Secure: true}, nil, "", "yes", false, "", []string{unknown}, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "known_hosts")
			var said []string
			p := &typist{answers: []string{"yes"}}
			opts := &Options{Host: "DB", StrictHostKey: c.strict, KnownHosts: []string{file}, GlobalKnownHosts: []string{"none"}, Prompter: p,
				HostKeyOptions: HostKeyOptions{VerifyHostKeyDNS: c.option, Fingerprints: func(_ context.Context, host string) (sshfp.Answer, error) {
					if host != "db" || c.option == "no" {
						t.Errorf("DNS is asked for %q", host)
					}
					return c.answer, c.err
				}}, Say: func(_, text string) { said = append(said, text) }}
			if c.known == "revoked" {
				c.known = ""
				opts.RevokedHostKeys = []string{filepath.Join(dir, "revoked")}
				if err := os.WriteFile(opts.RevokedHostKeys[0], []byte(k.Line()+"\n"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(file, []byte(c.known), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := opts.Config(); err != nil {
				t.Fatal(err)
			}
			err := opts.hostKeys.check("db:22", "ssh-ed25519", k.Public)
			if (err == nil) != c.ok {
				t.Errorf("got %v", err)
			}
			text := strings.Join(said, "\n")
			for _, want := range c.said {
				if !strings.Contains(text, want) {
					t.Errorf("said\n%s\nwant\n%s", text, want)
				}
			}
			if c.silent && text != "" {
				t.Errorf("said\n%s", text)
			}
			if asked := strings.Join(p.questions, ""); !strings.Contains(asked, c.asked) || c.asked == "" && asked != "" {
				t.Errorf("asked %q, want %q", asked, c.asked)
			}
		})
	}
}
