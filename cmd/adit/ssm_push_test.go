//go:build linux

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/adit-ssh/adit/internal/testpeer"
	"github.com/adit-ssh/adit/internal/testpeer/ssmgw"
)

// pushable is a node whose sshd lets in only keys that are pushed.
type pushable struct {
	*ssmgw.Machine
	gateway *ssmgw.Gateway
	server  *testpeer.Server
	eic     string // what EC2 Instance Connect's package would tell sshd
	env     []string
}

func newPushable(t *testing.T, config ...string) *pushable {
	t.Helper()
	testpeer.Need(t, "sshd", "ssh-keygen")
	p := &pushable{Machine: ssmgw.NewMachine(t), eic: filepath.Join(t.TempDir(), "keys")}
	p.server = testpeer.SSHD(t, testpeer.SSHDOptions{Config: append(config, "AuthorizedKeysFile "+p.Home+"/.ssh/authorized_keys "+p.eic)})
	p.gateway = &ssmgw.Gateway{Faults: ssmgw.Faults{Delay: time.Millisecond}, Run: p.Run, Authorize: p.authorize}
	return p
}

func (p *pushable) authorize(user, key string) {
	if user == p.User {
		os.WriteFile(p.eic, []byte(key+"\n"), 0o600)
	}
}

// start is adit or another program, with nothing of the person's.
func (p *pushable) start(t *testing.T, words ...string) (out string, err error) {
	t.Helper()
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Env = append(os.Environ(), append(ssmEnv(t, p.gateway), "HOME="+t.TempDir(), "SSH_AUTH_SOCK=")...)
	cmd.Env = append(cmd.Env, p.env...)
	b, err := cmd.CombinedOutput()
	p.gateway.Close() // waits for commands
	return string(b), err
}

// ssh is a login that prints what only a shell would.
func (p *pushable) ssh(t *testing.T, user string, args ...string) (string, error) {
	t.Helper()
	return p.start(t, slices.Concat([]string{"adit", "ssh", "-F", "none", "-p", strconv.Itoa(p.server.Port()), "-o", "StrictHostKeyChecking=accept-new", "-o", "BatchMode=yes"},
		args, []string{"ssm://" + user + "@" + ssmNode, "echo $((6*7))"})...)
}

// Without any key of the person's.
func TestSSMPushKey(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"eic", "ssm", "auto"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			p := newPushable(t)
			out, err := p.ssh(t, p.User, "--push-key", way)
			if err != nil || !strings.Contains(out, "42") {
				t.Fatalf("%v\n%s\n%q", err, out, p.gateway.Events())
			}
			events := p.gateway.Events()
			push := map[string]string{"eic": "SendSSHPublicKey", "ssm": "SendCommand", "auto": "SendSSHPublicKey"}[way]
			if slices.Index(events, push) < slices.Index(events, "open") {
				t.Errorf("pushed before the session stood: %q", events)
			}
			if got := p.AuthorizedKeys(); got != "" {
				t.Errorf("the key is still there: %q", got)
			}
			if sent := len(p.gateway.Commands()); way == "ssm" && sent != 2 || way != "ssm" && sent != 0 {
				t.Errorf("%d commands, want one to add and one to remove, by ssm only", sent)
			}
		})
	}
}

// Whoever gives credentials, and may have to ask a person, is asked once.
func TestSSMPushKeyAsksOnce(t *testing.T) {
	t.Parallel()
	p := newPushable(t)
	dir := t.TempDir()
	script := "#!/bin/sh\necho asked >>" + dir + "/asked\necho '{\"Version\":1,\"AccessKeyId\":\"" + ssmgw.AccessKey + "\",\"SecretAccessKey\":\"secret\"}'\n"
	if err := os.WriteFile(dir+"/process", []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/config", []byte("[default]\ncredential_process = "+dir+"/process\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.env = []string{"AWS_ACCESS_KEY_ID=", "AWS_SECRET_ACCESS_KEY=", "AWS_CONFIG_FILE=" + dir + "/config"}
	out, err := p.ssh(t, p.User, "--push-key=auto")
	asked, _ := os.ReadFile(dir + "/asked")
	if err != nil || !strings.Contains(out, "42") || string(asked) != "asked\n" {
		t.Errorf("%v\n%s\nasked %q, want once", err, out, asked)
	}
}

// auto's second way is gone where the first leads nowhere: refused by AWS, or unknown
// to the instance.
func TestSSMPushKeyAuto(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(*pushable){
		"denied":             func(p *pushable) { p.gateway.Deny = []string{"ec2-instance-connect:SendSSHPublicKey"} },
		"without EIC inside": func(p *pushable) { p.gateway.Authorize = nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPushable(t)
			prepare(p)
			out, err := p.ssh(t, p.User, "--push-key=auto")
			if err != nil || !strings.Contains(out, "42") || p.AuthorizedKeys() != "" {
				t.Errorf("%v\n%s\n%q\nleft %q", err, out, p.gateway.Events(), p.AuthorizedKeys())
			}
		})
	}
}

func TestSSMPushKeyFails(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, way, user string
		prepare         func(*pushable)
		want            []string
		config          []string // of sshd
	}{
		{"eic denied", "eic", "", func(p *pushable) { p.gateway.Deny = []string{"ec2-instance-connect:SendSSHPublicKey"} },
			[]string{"ec2-instance-connect:SendSSHPublicKey", "AccessDenied", "must allow ec2-instance-connect:SendSSHPublicKey"}, nil},
		{"eic without its package", "eic", "", func(p *pushable) { p.gateway.Authorize = nil }, []string{"AWS took the key, the server did not", "--push-key ssm"}, nil},
		{"ssm denied", "ssm", "", func(p *pushable) { p.gateway.Deny = []string{"ssm:SendCommand"} }, []string{"AccessDenied", "must allow ssm:SendCommand"}, nil},
		{"both denied", "auto", "", func(p *pushable) {
			p.gateway.Deny = []string{"ec2-instance-connect:SendSSHPublicKey", "ssm:SendCommand"}
		}, []string{"must allow ec2-instance-connect:SendSSHPublicKey on that resource; or the IAM policy must allow ssm:SendCommand"}, nil},
		{"another user", "ssm", "nobody-at-all", nil, []string{"there is no user nobody-at-all on the node", "ec2-user"}, nil},
		{"a user that SSM would replace", "ssm", "{{ssm:secret}}", nil, []string{"characters that are not safe"}, nil},
		{"sshd looks elsewhere", "ssm", "", nil, []string{"AuthorizedKeysFile there names another file"}, []string{"AuthorizedKeysFile none"}},
		{"unsupported", "eic", "", func(p *pushable) {
			p.gateway.Refuse = map[string]string{"ec2-instance-connect:SendSSHPublicKey": "EC2InstanceTypeInvalidException not supported"}
		}, []string{"EC2InstanceTypeInvalidException", "--push-key ssm"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := newPushable(t, c.config...)
			if c.prepare != nil {
				c.prepare(p)
			}
			if c.user == "" {
				c.user = p.User
			}
			out, err := p.ssh(t, c.user, "--push-key", c.way)
			if err == nil {
				t.Error("it logged in")
			}
			for _, want := range c.want {
				if !strings.Contains(out, want) {
					t.Errorf("it does not say %q:\n%s", want, out)
				}
			}
			if p.AuthorizedKeys() != "" {
				t.Errorf("left %q", p.AuthorizedKeys())
			}
		})
	}
}

// As a ProxyCommand, with a key that the client has: of OpenSSH, and of adit ssh, which
// runs it without a process.
func TestSSMPushIdentity(t *testing.T) {
	t.Parallel()
	testpeer.Need(t, "ssh")
	for _, way := range []string{"eic", "ssm", "auto"} {
		for suffix, client := range map[string][]string{"": {"ssh"}, ".pub": {"adit", "ssh"}} {
			t.Run(way+suffix, func(t *testing.T) {
				t.Parallel()
				p := newPushable(t)
				key := testpeer.NewKey(t, "ed25519")
				adit, err := exec.LookPath("adit")
				if err != nil {
					t.Fatal(err)
				}
				proxy := adit + " ssm --push-key " + way + " --user %r --identity " + key.Path + suffix + " %h %p"
				out, err := p.start(t, append(client, "-F", "none", "-p", strconv.Itoa(p.server.Port()), "-o", "ProxyCommand="+proxy, "-i", key.Path,
					"-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes", p.User+"@"+ssmNode, "echo $((6*7))")...)
				if err != nil || !strings.Contains(out, "42") || p.AuthorizedKeys() != "" {
					t.Errorf("%v\n%s\n%q\nleft %q", err, out, p.gateway.Events(), p.AuthorizedKeys())
				}
			})
		}
	}
}

func TestSSMPushUsage(t *testing.T) {
	t.Parallel()
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"ssm", "--push-key", "x", ssmNode}, `bad --push-key "x"`},
		{[]string{"ssm", "--push-key", "eic", ssmNode}, "--push-key goes with --user and --identity"},
		{[]string{"ssm", "--user", "x", ssmNode}, "go with --push-key"},
		{[]string{"ssm", "--push-key", "eic", "--user", "x", "--identity", "/nonexistent", ssmNode}, "--identity /nonexistent: "},
		{[]string{"ssm", "--push-key", "eic", "--user", "x", "--identity", empty, ssmNode}, "it has no public key"},
		{[]string{"ssm", "--push-key", "eic", "--local", "0", "--remote", "1", ssmNode}, "does not go with --local"},
		{[]string{"ssh", "--push-key", "x", "ssm://" + ssmNode}, `bad --push-key "x"`},
		{[]string{"ssh", "-F", "none", "--push-key", "eic", "localhost"}, "--push-key is for nodes of AWS Session Manager"},
	} {
		out, err := exec.Command("adit", c.args...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), c.want) {
			t.Errorf("%q: %v\n%s", c.args, err, out)
		}
	}
}
