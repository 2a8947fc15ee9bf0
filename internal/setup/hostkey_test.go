package setup

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/internal/testpeer"
	"github.com/adit-ssh/adit/knownhosts"
	"github.com/adit-ssh/adit/sshconfig"
)

// TestCheckHostIP has an address that is not loopback, which no test may dial.
// The texts are ssh's (sshconnect.c).
func TestCheckHostIP(t *testing.T) {
	k, o := testpeer.NewKey(t, "ed25519"), testpeer.NewKey(t, "ed25519")
	key, other := " "+k.Line()+"\n", " "+o.Line()+"\n"
	const changed = "Warning: the ED25519 host key for 'db' differs from the key for the IP address '10.0.0.1'\nOffending key for IP in FILE:"
	for _, c := range []struct {
		name, known, strict string
		answers             []string
		ok                  bool
		said, after         string
	}{
		{"both known", "db,10.0.0.1" + key, "yes", nil, true, "", "db,10.0.0.1" + key},
		{"address unknown", "db" + key, "yes", nil, true,
			"Warning: Permanently added the ED25519 host key for IP address '10.0.0.1' to the list of known hosts.", "db" + key + "10.0.0.1" + bare(key)},
		{"both unknown", "", "no", nil, true, "Warning: Permanently added 'db,10.0.0.1' (ED25519) to the list of known hosts.", "db,10.0.0.1" + bare(key)},
		{"address differs, strict", "10.0.0.1" + other + "db" + key, "yes", nil, false, changed + "1\nMatching host key in FILE:2\nExiting, you have requested strict checking.\nHost key verification failed.", ""},
		{"address differs, off", "10.0.0.1" + other + "db" + key, "no", nil, true, changed + "1\nMatching host key in FILE:2", ""},
		{"address differs, yes", "10.0.0.1" + other + "db" + key, "ask", []string{"what", "yes"}, true, "", ""},
		{"address differs, no", "10.0.0.1" + other + "db" + key, "ask", []string{"no"}, false, "Host key verification failed.", ""},
		{"both differ", "db,10.0.0.1" + other, "yes", nil, false, "@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @", ""},
		{"name differs, address is right", "db" + other + "10.0.0.1" + key, "yes", nil, false, "and its host key have changed at the same time.\nOffending key for IP in FILE:2\n  remove with:\n  ssh-keygen -f \"FILE\" -R \"10.0.0.1\"\n" + frame, ""},
		{"both unknown, hashed", "", "accept-new", nil, true, "Warning: Permanently added 'db,10.0.0.1' (ED25519) to the list of known hosts.", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "known_hosts")
			if err := os.WriteFile(file, []byte(c.known), 0o600); err != nil {
				t.Fatal(err)
			}
			var said []string
			opts := &Options{Host: "db", StrictHostKey: c.strict, KnownHosts: []string{file}, GlobalKnownHosts: []string{"none"}, Prompter: &typist{answers: c.answers}, HashKnown: strings.HasSuffix(c.name, "hashed"),
				HostKeyOptions: HostKeyOptions{CheckHostIP: true}, Say: func(_, text string) { said = append(said, strings.ReplaceAll(text, file, "FILE")) }}
			if _, err := opts.Config(); err != nil {
				t.Fatal(err)
			}
			h := opts.hostKeys
			h.peer = netip.MustParseAddr("10.0.0.1")
			err := h.check("db:22", "ssh-ed25519", k.Public)
			if (err == nil) != c.ok {
				t.Errorf("got %v", err)
			}
			text := strings.Join(said, "\n")
			if c.ok && text != c.said || !strings.Contains(text, c.said) {
				t.Errorf("said\n%s\nwant\n%s", text, c.said)
			}
			if b, err := os.ReadFile(file); c.after != "" && (err != nil || string(b) != c.after) {
				t.Errorf("the file is\n%s\nwant\n%s", b, c.after)
			}
		})
	}
}

// bare is a key without its comment.
func bare(key string) string { return " " + strings.Join(strings.Fields(key)[:2], " ") + "\n" }

// TestLoopbackBehindProxy: an address that nobody knows is not taken for this
// machine's.
func TestLoopbackBehindProxy(t *testing.T) {
	k := testpeer.NewKey(t, "ed25519")
	for _, peer := range []string{"", "127.1.2.3", "::1", "::ffff:127.0.0.1", "10.0.0.1"} {
		opts := &Options{Host: "localhost", StrictHostKey: "yes", KnownHosts: []string{"none"}, GlobalKnownHosts: []string{"none"},
			HostKeyOptions: HostKeyOptions{NoAuthForLocalhost: true}}
		if _, err := opts.Config(); err != nil {
			t.Fatal(err)
		}
		if peer != "" {
			opts.hostKeys.peer = netip.MustParseAddr(peer).Unmap()
		}
		err := opts.hostKeys.check("localhost:22", "ssh-ed25519", k.Public)
		if want := strings.Contains(peer, "127.") || peer == "::1"; (err == nil) != want {
			t.Errorf("peer %q: got %v, want it accepted: %v", peer, err, want)
		}
	}
}

// TestKnownHostsCommandBounds: a command that writes without end is ended.
func TestKnownHostsCommandBounds(t *testing.T) {
	k := testpeer.NewKey(t, "ed25519")
	opts := &Options{Host: "db", KeepHostKeyOrder: true, KnownHosts: []string{"none"}, GlobalKnownHosts: []string{"none"}, HostKeyOptions: HostKeyOptions{
		KnownHostsCommand: func(sshconfig.KnownHostsArgs) ([]string, error) { return []string{"/bin/cat", "/dev/zero"}, nil }}}
	if _, err := os.Stat("/dev/zero"); err != nil {
		t.Skip("no /dev/zero")
	}
	if _, err := opts.Config(); err != nil {
		t.Fatal(err)
	}
	err := opts.hostKeys.check("db:22", "ssh-ed25519", k.Public)
	if err == nil || errors.Is(err, adit.ErrUnverified) || !strings.Contains(err.Error(), "KnownHostsCommand failed: HOSTNAME /bin/cat: more than 16777216 bytes of output") {
		t.Errorf("got %v, want to be told about too much output", err)
	}
}

// TestKnownHostsCommandInterrupted: the command ends with the program.
func TestKnownHostsCommandInterrupted(t *testing.T) {
	interrupted := errors.New("interrupted")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(interrupted)
	opts := &Options{Host: "db", KnownHosts: []string{"none"}, GlobalKnownHosts: []string{"none"}, HostKeyOptions: HostKeyOptions{
		Lifetime: ctx, KnownHostsCommand: func(sshconfig.KnownHostsArgs) ([]string, error) { return []string{"/bin/cat", "/dev/zero"}, nil }}}
	if _, err := opts.Config(); err != interrupted {
		t.Errorf("got %v, want %v", err, interrupted)
	}
}

// TestUpdateHostKeysAsks has ssh's texts (clientloop.c, update_known_hosts).
func TestUpdateHostKeysAsks(t *testing.T) {
	learned, old := testpeer.NewKey(t, "ed25519").Public, testpeer.NewKey(t, "ecdsa").Public
	for _, c := range []struct {
		answers []string
		want    bool
	}{
		{[]string{"yes"}, true}, {[]string{"YES"}, true}, {[]string{"no"}, false}, {[]string{"what", "yes"}, true}, {[]string{"a", "b", "c", "yes"}, false}, {nil, false},
	} {
		said := ""
		h := &hostKeys{o: &Options{Prompter: &typist{answers: c.answers}, HostKeyOptions: HostKeyOptions{UpdateHostKeys: "ask"},
			Say: func(level, text string) { said += level + " " + text + "\n" }}}
		if got := h.accepted(t.Context(), knownhosts.Update{New: []gossh.PublicKey{learned}, Old: []gossh.PublicKey{old}}); got != c.want {
			t.Errorf("%q: accepted %v", c.answers, got)
		}
		want := "INFO The server has updated its host keys.\nThese changes were verified by the server's existing trusted key.\nLearned new hostkey: ED25519 " +
			gossh.FingerprintSHA256(learned) + "\nDeprecating obsolete hostkey: ECDSA " + gossh.FingerprintSHA256(old) + "\n"
		if !strings.HasPrefix(said, want) {
			t.Errorf("said\n%s\nwant\n%s", said, want)
		}
	}
}

// Somebody who never answers yes or no is not asked for ever.
func TestConfirmEnds(t *testing.T) {
	who := &typist{answers: slices.Repeat([]string{"swordfish"}, 2*maxAnswers)}
	if yes, err := (&Options{Prompter: who}).confirm("Sure? ", "Please: ", ""); yes || err != nil || who.asked != maxAnswers {
		t.Errorf("got %v, %v after %d questions, want no after %d", yes, err, who.asked, maxAnswers)
	}
}

// A file that is no known_hosts is not told line by line.
func TestSkippedLines(t *testing.T) {
	file := filepath.Join(t.TempDir(), "known_hosts")
	if err := os.WriteFile(file, []byte(strings.Repeat("\x1b[2J\n", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	var told []string
	o := &Options{Host: "db", KnownHosts: []string{file}, GlobalKnownHosts: []string{"none"}, Notice: func(text string) { told = append(told, text) }}
	if _, err := o.Config(); err != nil {
		t.Fatal(err)
	}
	if len(told) != maxSkipped+1 || told[maxSkipped] != "warning: 990 more lines are skipped" || !strings.Contains(told[0], file+":1: ") {
		t.Errorf("told %d lines, the last is %q; want %d and a sum", len(told), told[len(told)-1], maxSkipped)
	}
}
