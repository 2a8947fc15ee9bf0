//go:build unix

package ssm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/adit-ssh/adit/internal/testpeer/ssmgw"
)

const testKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0B"

// pushedTo is a key that root's script is to let in.
func pushedTo(m *ssmgw.Machine, mark string) *Pushed {
	return &Pushed{push: Push{User: m.User, Key: testKey}, mark: mark}
}

// run runs a script on a machine.
func run(t *testing.T, m *ssmgw.Machine, script string) {
	t.Helper()
	if stderr, status := m.Run(script); status != 0 || stderr != "" {
		t.Fatalf("status %d, %q", status, stderr)
	}
}

// Whatever the file was like, the line stands in it alone, and leaves it as it was.
func TestPushScript(t *testing.T) {
	for _, c := range []struct{ name, before, with, after string }{
		{"no file", "", testKey + " adit-1\n", ""},
		{"a file", "ssh-rsa A me\n", "ssh-rsa A me\n" + testKey + " adit-1\n", "ssh-rsa A me\n"},
		{"a comment in Latin-1", "ssh-rsa A j\xf6rg\nssh-rsa B me\n", "ssh-rsa A j\xf6rg\nssh-rsa B me\n" + testKey + " adit-1\n", "ssh-rsa A j\xf6rg\nssh-rsa B me\n"},
		{"a NUL", "ssh-rsa A\x00 me\n", "ssh-rsa A\x00 me\n" + testKey + " adit-1\n", "ssh-rsa A\x00 me\n"},
		{"no newline at its end", "# x\nssh-rsa A me", "# x\nssh-rsa A me\n" + testKey + " adit-1\n", "# x\nssh-rsa A me\n"},
	} {
		for _, expires := range []bool{false, true} {
			t.Run(fmt.Sprint(c.name, expires), func(t *testing.T) {
				m := ssmgw.NewMachine(t)
				dir := filepath.Join(m.Home, ".ssh")
				file := filepath.Join(dir, "authorized_keys")
				mode := os.FileMode(0o600)
				if c.before != "" {
					mode = 0o644
					if err := errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(file, []byte(c.before), mode), os.Chmod(file, mode)); err != nil {
						t.Fatal(err)
					}
				}
				p := pushedTo(m, "adit-1")
				run(t, m, p.script("add"))
				if got := m.AuthorizedKeys(); got != c.with {
					t.Errorf("with the key %q, want %q", got, c.with)
				}
				if info, err := os.Stat(file); err != nil || info.Mode().Perm() != mode {
					t.Errorf("mode %v, %v; want %v", info.Mode(), err, mode)
				}
				if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
					t.Errorf("mode of .ssh %v, %v", info.Mode(), err)
				}
				if expires {
					m.Expire()
					if m.Slept() != 60 {
						t.Errorf("it is let in for %d s, want 60", m.Slept())
					}
				} else {
					run(t, m, p.script("remove"))
				}
				if got := m.AuthorizedKeys(); got != c.after {
					t.Errorf("afterwards %q, want %q", got, c.after)
				}
				if info, err := os.Stat(file); c.after != "" && (err != nil || info.Mode().Perm() != mode) {
					t.Errorf("afterwards its mode is %v, %v; want %v", info, err, mode)
				}
				if left, _ := filepath.Glob(file + ".*"); left != nil {
					t.Errorf("left behind: %q", left)
				}
			})
		}
	}
}

// A file that is a link stays one.
func TestPushScriptFollowsLinks(t *testing.T) {
	m := ssmgw.NewMachine(t)
	real := filepath.Join(t.TempDir(), "keys")
	link := filepath.Join(m.Home, ".ssh", "authorized_keys")
	if err := errors.Join(os.WriteFile(real, []byte("ssh-rsa A me\n"), 0o600), os.Mkdir(filepath.Dir(link), 0o700), os.Symlink(real, link)); err != nil {
		t.Fatal(err)
	}
	p := pushedTo(m, "adit-1")
	run(t, m, p.script("add"))
	run(t, m, p.script("remove"))
	if to, err := os.Readlink(link); err != nil || to != real || m.AuthorizedKeys() != "ssh-rsa A me\n" {
		t.Errorf("%q, %v, %q", to, err, m.AuthorizedKeys())
	}
}

// A disk that is full, or somebody who writes there at the same time, costs nobody's
// keys, leaves nothing lying about, and does not let the key stay for good.
func TestPushScriptTriesAgain(t *testing.T) {
	const mine = "ssh-rsa A me\n"
	for _, c := range []struct{ name, command, script, left string }{
		{"a full disk", "cp", `echo "no space left on device" >&2; exit 1`, mine},
		{"a full disk for the rest", "sed", `echo x; echo "no space left on device" >&2; exit 4`, mine},
		{"somebody else", "sed", `/bin/sed "$@"; echo "ssh-rsa B new" >>"$HERE"`, mine + "ssh-rsa B new\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := ssmgw.NewMachine(t)
			file := filepath.Join(m.Home, ".ssh", "authorized_keys")
			if err := errors.Join(os.Mkdir(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(mine), 0o600)); err != nil {
				t.Fatal(err)
			}
			once := filepath.Join(t.TempDir(), "once")
			m.Command(t, c.command, `HERE=`+file+`; [ ! -e `+once+` ] || exec /bin/`+c.command+` "$@"; : >`+once+"\n"+c.script)
			p := pushedTo(m, "adit-1")
			run(t, m, p.script("add"))
			if _, status := m.Run(p.script("remove")); status == 0 {
				t.Error("it was removed")
			}
			if got := m.AuthorizedKeys(); !strings.HasPrefix(got, mine) || !strings.Contains(got, "adit-1") {
				t.Errorf("it is now %q", got)
			}
			if left, _ := filepath.Glob(file + ".*"); left != nil {
				t.Errorf("left behind: %q", left)
			}
			os.Remove(once)
			os.WriteFile(file, []byte(mine+testKey+" adit-1\n"), 0o600)
			m.Expire()
			if got := m.AuthorizedKeys(); got != c.left {
				t.Errorf("at last %q, want %q", got, c.left)
			}
			if left, _ := filepath.Glob(file + ".*"); left != nil {
				t.Errorf("left behind: %q", left)
			}
		})
	}
}

// A command that AWS was asked for twice, since its first answer was lost, adds one line.
func TestPushScriptTwice(t *testing.T) {
	m := ssmgw.NewMachine(t)
	p := pushedTo(m, "adit-1")
	run(t, m, p.script("add"))
	run(t, m, p.script("add"))
	if got, want := m.AuthorizedKeys(), testKey+" adit-1\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// Several at once lose nothing of each other's.
func TestPushScriptTogether(t *testing.T) {
	if _, err := exec.LookPath("flock"); err != nil {
		t.Skip("flock is not installed")
	}
	m := ssmgw.NewMachine(t)
	run(t, m, pushedTo(m, "adit-stays").script("add"))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			p := pushedTo(m, fmt.Sprintf("adit-%d-", i))
			for _, act := range []string{"add", "remove"} {
				if stderr, status := m.Run(p.script(act)); status != 0 {
					t.Errorf("%s: %d, %s", act, status, stderr)
				}
			}
		})
	}
	wg.Wait()
	if got, want := m.AuthorizedKeys(), testKey+" adit-stays\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// Nothing in a name can become a command, were it to come so far.
func TestPushScriptQuotes(t *testing.T) {
	for _, name := range []string{
		"x'; touch pwned; '", "$(touch pwned)", "`touch pwned`", "x\ntouch pwned\n", `x\'; touch pwned #`, "'", "''", `"; touch pwned; "`, "-x", "../x", "x y", "*",
	} {
		m := ssmgw.NewMachine(t)
		p := pushedTo(m, "adit-1")
		p.push.User = name
		dir := t.TempDir()
		stderr, status := m.Run("cd " + dir + "\n" + p.script("add"))
		if status != 64 || !strings.HasPrefix(stderr, "there is no user "+name) {
			t.Errorf("%q: %d, %s", name, status, stderr)
		}
		if files, _ := os.ReadDir(dir); len(files) != 0 {
			t.Errorf("%q ran something: %v", name, files)
		}
	}
	if strings.Contains(pushScript, "{{") {
		t.Error("SSM replaces what stands in double braces")
	}
}

func TestPushRefusesNames(t *testing.T) {
	g := &ssmgw.Gateway{}
	s := serve(t, g)
	for _, p := range []Push{
		{User: "", Key: testKey}, {User: "-x", Key: testKey}, {User: "x y", Key: testKey}, {User: "x'", Key: testKey}, {User: "x;y", Key: testKey},
		{User: "x\n", Key: testKey}, {User: "{{ssm:secret}}", Key: testKey}, {User: "x/y", Key: testKey}, {User: "x:y", Key: testKey}, {User: "$x", Key: testKey},
		{User: "$", Key: testKey}, {User: strings.Repeat("x", 129), Key: testKey},
		{User: "x", Key: ""}, {User: "x", Key: testKey + " comment"}, {User: "x", Key: testKey + "\n" + testKey}, {User: "x", Key: `command="x" ` + testKey},
		{User: "x", Key: "ssh-ed25519 {{x}}"}, {User: "x", Key: "ssh-ed25519"},
	} {
		for _, way := range []string{PushEIC, PushSSM, PushAuto} {
			p.Target, p.Way = node, way
			if _, err := s.Push(t.Context(), p); err == nil {
				t.Errorf("%+v was pushed", p)
			}
		}
	}
	if _, err := s.Push(t.Context(), Push{Target: node, User: "x", Key: testKey, Way: "other"}); err == nil {
		t.Error("another way was taken")
	}
	for _, user := range []string{"ec2-user", "root", "a", `AD\jane.doe`, "jane@example.org", "svc$", "é"} {
		if !osUser(user) {
			t.Errorf("%s is refused", user)
		}
	}
	if len(g.Events()) != 0 {
		t.Errorf("AWS was asked: %q", g.Events())
	}
}

func TestPush(t *testing.T) {
	for _, c := range []struct {
		name, target, way string
		gateway           *ssmgw.Gateway
		user              string // "" is the machine's
		want              string // the way that it went, or "" for an error
		text, hint        string
	}{
		{name: "eic", way: PushEIC, want: PushEIC},
		{name: "ssm", way: PushSSM, want: PushSSM},
		{name: "auto", way: PushAuto, want: PushEIC},
		{name: "auto, no EIC", way: PushAuto, gateway: &ssmgw.Gateway{Deny: []string{"ec2-instance-connect:SendSSHPublicKey"}}, want: PushSSM},
		{name: "auto, a hybrid node", target: "mi-0123456789abcdef0", way: PushAuto, want: PushSSM},
		{name: "eic, a hybrid node", target: "mi-0123456789abcdef0", way: PushEIC, text: "EC2 Instance Connect is for instances", hint: "--push-key ssm"},
		{name: "eic denied", way: PushEIC, gateway: &ssmgw.Gateway{Deny: []string{"ec2-instance-connect:SendSSHPublicKey"}},
			text: "ec2-instance-connect:SendSSHPublicKey " + node + ": AccessDeniedException", hint: "must allow ec2-instance-connect:SendSSHPublicKey"},
		{name: "eic denied in few words", way: PushEIC, gateway: &ssmgw.Gateway{Refuse: map[string]string{"ec2-instance-connect:SendSSHPublicKey": "AccessDeniedException no"}},
			text: "AccessDeniedException: no", hint: "must allow ec2-instance-connect:SendSSHPublicKey"},
		{name: "eic, unsupported", way: PushEIC, gateway: &ssmgw.Gateway{Refuse: map[string]string{"ec2-instance-connect:SendSSHPublicKey": "EC2InstanceTypeInvalidException not supported"}},
			text: "EC2InstanceTypeInvalidException: not supported", hint: "--push-key ssm"},
		{name: "eic, a user that it does not take", user: `AD\jane`, way: PushEIC, text: "InvalidArgsException", hint: "ssh-rsa and ssh-ed25519"},
		{name: "ssm denied", way: PushSSM, gateway: &ssmgw.Gateway{Deny: []string{"ssm:SendCommand"}}, text: "ssm:SendCommand " + node + ": AccessDeniedException", hint: "must allow ssm:SendCommand"},
		{name: "may not see how it went", way: PushSSM, gateway: &ssmgw.Gateway{Deny: []string{"ssm:GetCommandInvocation"}}, text: "ssm:GetCommandInvocation", hint: "must allow ssm:GetCommandInvocation"},
		{name: "no such user", way: PushSSM, user: "nobody-at-all", text: "there is no user nobody-at-all on the node", hint: "ec2-user"},
		{name: "offline", way: PushSSM, gateway: &ssmgw.Gateway{Nodes: []ssmgw.Node{{ID: node, Status: "ConnectionLost"}}}, text: "InvalidInstanceId", hint: "adit ssm ls"},
		{name: "a node that runs no commands", way: PushSSM, gateway: &ssmgw.Gateway{}, text: "the command ended as Undeliverable"},
		{name: "windows", way: PushSSM, gateway: &ssmgw.Gateway{Refuse: map[string]string{"ssm:SendCommand": "UnsupportedPlatformType no"}}, text: "UnsupportedPlatformType", hint: "Linux"},
		{name: "neither", way: PushAuto, gateway: &ssmgw.Gateway{Deny: []string{"ec2-instance-connect:SendSSHPublicKey", "ssm:SendCommand"}},
			text: "; ssm:SendCommand " + node + ": AccessDeniedException", hint: "must allow ec2-instance-connect:SendSSHPublicKey on that resource; or the IAM policy must allow ssm:SendCommand"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := ssmgw.NewMachine(t)
			g := c.gateway
			if g == nil {
				g = &ssmgw.Gateway{}
			}
			if c.name != "a node that runs no commands" {
				g.Run = m.Run
			}
			s := serve(t, g)
			p := Push{Target: c.target, User: c.user, Key: testKey, Way: c.way}
			if p.Target == "" {
				p.Target = node
			}
			if p.User == "" {
				p.User = m.User
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			pushed, err := s.Push(ctx, p)
			if c.want == "" {
				hinter, ok := err.(interface{ Hint() string })
				if !ok || !strings.Contains(err.Error(), c.text) || !strings.Contains(hinter.Hint(), c.hint) {
					t.Fatalf("%v, want %q with %q", err, c.text, c.hint)
				}
				if m.AuthorizedKeys() != "" && c.name != "may not see how it went" {
					t.Errorf("there is a key all the same: %q", m.AuthorizedKeys())
				}
				return
			}
			if err != nil || pushed.Way != c.want {
				t.Fatalf("%+v, %v", pushed, err)
			}
			if c.want == PushEIC {
				if got := g.Pushed(); len(got) != 1 || got[0] != (ssmgw.PushedKey{Instance: p.Target, User: p.User, Key: testKey}) {
					t.Errorf("pushed %+v", got)
				}
			} else if got := m.AuthorizedKeys(); !strings.HasPrefix(got, testKey+" adit-") || strings.Count(got, "\n") != 1 {
				t.Errorf("authorized_keys %q", got)
			}
			if err := pushed.Remove(ctx); err != nil {
				t.Error(err)
			}
			g.Close() // waits for commands
			if got := m.AuthorizedKeys(); got != "" {
				t.Errorf("it stays: %q", got)
			}
		})
	}
}

// As root, all in a user's folder is done as that user.
func TestPushScriptAsUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("takes root")
	}
	if _, err := exec.LookPath("runuser"); err != nil {
		t.Skip("runuser is not installed")
	}
	m := ssmgw.NewMachine(t)
	if err := errors.Join(os.Chmod(filepath.Dir(filepath.Dir(m.Home)), 0o711), os.Chown(m.Home, 65534, 65534)); err != nil {
		t.Fatal(err)
	}
	m.Command(t, "getent", `echo "nobody:x:65534:65534::`+m.Home+`:/bin/sh"`)
	p := pushedTo(m, "adit-1")
	p.push.User = "nobody"
	run(t, m, p.script("add"))
	info, err := os.Stat(filepath.Join(m.Home, ".ssh", "authorized_keys"))
	if err != nil || owner(info) != 65534 {
		t.Errorf("%v, %v", info, err)
	}
	run(t, m, p.script("remove"))
	// What could not be removed again is not added.
	keys := filepath.Join(filepath.Dir(m.Home), "keys")
	theirs := filepath.Join(keys, "nobody")
	toTheirs := filepath.Join(m.Home, ".ssh", "authorized_keys")
	if err := errors.Join(os.Mkdir(keys, 0o755), os.WriteFile(theirs, []byte("ssh-rsa A me\n"), 0o644), os.Chown(theirs, 65534, 65534), os.Symlink(theirs, toTheirs)); err != nil {
		t.Fatal(err)
	}
	if stderr, status := m.Run(p.script("add")); status != 66 || !strings.Contains(stderr, "could not be removed again, since the user may not write in "+keys) {
		t.Errorf("status %d, %q", status, stderr)
	}
	if b, _ := os.ReadFile(theirs); string(b) != "ssh-rsa A me\n" {
		t.Errorf("it is now %q", b)
	}
	os.Remove(toTheirs)
	// A link to what is root's leads nowhere.
	secret := filepath.Join(t.TempDir(), "roots")
	link := filepath.Join(m.Home, ".ssh", "authorized_keys")
	if err := errors.Join(os.WriteFile(secret, []byte("untouched\n"), 0o644), os.Symlink(secret, link)); err != nil {
		t.Fatal(err)
	}
	if _, status := m.Run(p.script("add")); status == 0 {
		t.Error("it wrote through the link")
	}
	if b, _ := os.ReadFile(secret); string(b) != "untouched\n" {
		t.Errorf("root's file is %q", b)
	}
}

func owner(info os.FileInfo) uint32 { return info.Sys().(*syscall.Stat_t).Uid }
