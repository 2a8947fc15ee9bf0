//go:build linux

package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/adit-ssh/adit/internal/testpeer"
	"github.com/adit-ssh/adit/internal/testpeer/ssmgw"
)

// aliasConfig has aliases of all kinds. PORT and NOTED are put in.
const aliasConfig = `Host db
  HostName i-0123456789abcdef0
  Port PORT
  ProxyCommand adit ssm --profile prod --region eu-west-1 --reason why %h %p
Host bare
  HostName i-00000000000000001
  Port PORT
Host awscli
  HostName i-00000000000000002
  Port PORT
  ProxyCommand sh -c "aws ssm start-session --target %h"
Host name-*
  ProxyCommand /usr/local/bin/adit ssm --region us-west-2 %n %p
Host other
  ProxyCommand adit ssm --region us-west-2 front %p
Host custom
  ProxyCommand adit ssm --document Own --parameter host=127.0.0.1 --parameter port=PORT %h
  HostName i-00000000000000003
Host jumped
  HostName i-00000000000000004
  ProxyJump bastion
Host plain
  HostName plain.example.com
  ProxyCommand nc %h %p
Match host guarded exec "echo ran >>NOTED"
  HostName i-00000000000000005
  Port PORT
  ProxyCommand adit ssm --region ap-south-1 %h %p
Match host i-0123456789abcdef9,Name=web exec "echo never >>NOTED"
  HostName i-00000000000000006
Host bad
  ProxyCommand adit ssm --nothing %h %p
Host listens
  ProxyCommand adit ssm --local 1 --remote 2 %h
Host token
  ProxyCommand adit ssm %x %p
`

// aliased is a gateway, a home folder with aliasConfig, and a target that echoes.
type aliased struct {
	g           *ssmgw.Gateway
	env         []string
	port, noted string
	home        string
}

func newAliased(t *testing.T) *aliased {
	t.Helper()
	echo := testpeer.EchoTarget(t)
	a := &aliased{home: t.TempDir()}
	_, a.port, _ = net.SplitHostPort(echo.Addr)
	a.noted = filepath.Join(a.home, "noted")
	online := func(id, name string) ssmgw.Node {
		return ssmgw.Node{ID: id, Status: "Online", Tags: map[string]string{"Name": name}}
	}
	a.g = &ssmgw.Gateway{
		Documents: map[string]map[string]string{"Own": {"host": "{{ host }}", "portNumber": "{{ port }}"}},
		Nodes: []ssmgw.Node{online("i-00000000000000011", "front"), online("i-00000000000000012", "name-a"), online("i-00000000000000013", "web"),
			online("i-00000000000000014", "plain"), online("i-00000000000000015", "jumped"), online("i-00000000000000016", "db"), online("i-00000000000000017", "un known")},
	}
	for _, id := range []string{ssmNode, "i-00000000000000001", "i-00000000000000002", "i-00000000000000003", "i-00000000000000005", "i-0123456789abcdef9"} {
		a.g.Nodes = append(a.g.Nodes, ssmgw.Node{ID: id, Status: "Online"})
	}
	text := strings.NewReplacer("PORT", a.port, "NOTED", a.noted).Replace(aliasConfig)
	if err := os.MkdirAll(filepath.Join(a.home, ".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	a.write(t, ".ssh/config", text)
	a.env = append(os.Environ(), append(ssmEnv(t, a.g), "HOME="+a.home, "SSH_AUTH_SOCK=")...)
	a.write(t, "aws-config", "[profile prod]\nregion = eu-north-1\n[profile test]\nregion = eu-south-1\n")
	a.write(t, "aws-credentials", "[prod]\naws_access_key_id = "+ssmgw.AccessKey+"\naws_secret_access_key = x\n[test]\naws_access_key_id = "+ssmgw.AccessKey+"\naws_secret_access_key = x\n")
	a.env = append(a.env, "AWS_CONFIG_FILE="+a.home+"/aws-config", "AWS_SHARED_CREDENTIALS_FILE="+a.home+"/aws-credentials", "AWS_REGION=", "AWS_ACCESS_KEY_ID=", "AWS_DEFAULT_REGION=", "AWS_PROFILE=test")
	return a
}

func (a *aliased) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(a.home, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// run is adit with an input that the target echoes; what it says, and whether it did.
func (a *aliased) run(t *testing.T, args ...string) (said string, echoed bool) {
	t.Helper()
	cmd := exec.Command("adit", args...)
	cmd.Env = a.env
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	in, out := pipes(t, cmd)
	const line = "SSH-2.0-x\r\n"
	io.WriteString(in, line)
	got := make([]byte, len(line))
	io.ReadFull(out, got)
	in.Close()
	io.Copy(io.Discard, out)
	cmd.Wait()
	return stderr.String(), string(got) == line
}

// A host of ssh_config that has an SSM way is what it says; ids, tags and ssm://NAME
// are what they are, and all other names are looked up as ever.
func TestSSMAlias(t *testing.T) {
	t.Parallel()
	testpeer.Need(t)
	a := newAliased(t)
	for _, c := range []struct {
		name   string
		args   []string
		target string
		region string
	}{
		{"an alias", []string{"db"}, ssmNode, "eu-west-1"},
		{"the command line wins", []string{"--region", "us-east-1", "db"}, ssmNode, "us-east-1"},
		{"an option of it", []string{"--profile", "test", "db"}, ssmNode, "eu-west-1"},
		{"a PORT", []string{"db", "PORT"}, ssmNode, "eu-west-1"},
		{"a HostName alone", []string{"bare"}, "i-00000000000000001", "eu-south-1"},
		{"another program's ProxyCommand", []string{"awscli"}, "i-00000000000000002", "eu-south-1"},
		{"a name that stays one", []string{"name-a", "PORT"}, "i-00000000000000012", "us-west-2"},
		{"another name, not followed again", []string{"other", "PORT"}, "i-00000000000000011", "us-west-2"},
		{"a document", []string{"custom"}, "i-00000000000000003", "eu-south-1"},
		{"a Match exec", []string{"guarded"}, "i-00000000000000005", "ap-south-1"},
		{"an id", []string{"i-0123456789abcdef9", "PORT"}, "i-0123456789abcdef9", "eu-south-1"},
		{"a tag", []string{"Name=web", "PORT"}, "i-00000000000000013", "eu-south-1"},
		{"a name for sure", []string{"ssm://db", "PORT"}, "i-00000000000000016", "eu-south-1"},
		{"a jump host's way", []string{"jumped", "PORT"}, "i-00000000000000015", "eu-south-1"},
		{"another way", []string{"plain", "PORT"}, "i-00000000000000014", "eu-south-1"},
		{"no host's name", []string{"un known", "PORT"}, "i-00000000000000017", "eu-south-1"},
		{"no configuration", []string{"-F", "none", "db", "PORT"}, "i-00000000000000016", "eu-south-1"},
	} {
		for i := range c.args {
			c.args[i] = strings.ReplaceAll(c.args[i], "PORT", a.port)
		}
		before := len(a.g.Started())
		said, echoed := a.run(t, append([]string{"ssm"}, c.args...)...)
		started := a.g.Started()[before:]
		if !echoed || len(started) != 1 || started[0].Target != c.target || started[0].Region != c.region {
			t.Errorf("%s: %v, %+v, want %s in %s\n%s", c.name, echoed, started, c.target, c.region, said)
		}
	}
	if got := a.g.Started()[0]; got.Reason != "why" {
		t.Errorf("the alias's reason was lost: %+v", got)
	}
	if ran, err := os.ReadFile(a.noted); string(ran) != "ran\n" {
		t.Errorf("Match exec: %v, %q, want one run, for the name that it is about", err, ran)
	}
}

// --local has the alias's node, region and credentials, and a way of its own.
func TestSSMAliasForward(t *testing.T) {
	t.Parallel()
	a := newAliased(t)
	for name, remote := range map[string][]string{"db": {"--remote", "127.0.0.1:" + a.port, "db"}, "custom": {"custom", a.port}} {
		cmd := exec.Command("adit", append([]string{"ssm", "--local", "0"}, remote...)...)
		cmd.Env = a.env
		addr := started(t, cmd, forwardingTo)
		if got := exchange(t, addr, "over there"); got != "over there" {
			t.Errorf("%s: got %q", name, got)
		}
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
		last := a.g.Started()[len(a.g.Started())-1]
		want := map[string]ssmgw.Start{
			"db":     {Target: ssmNode, Document: "AWS-StartPortForwardingSessionToRemoteHost", Region: "eu-west-1"},
			"custom": {Target: "i-00000000000000003", Document: "AWS-StartPortForwardingSession", Region: "eu-south-1"},
		}[name]
		if last.Target != want.Target || last.Document != want.Document || last.Region != want.Region {
			t.Errorf("%s: %+v, want %+v", name, last, want)
		}
	}
}

// A configuration that can't be obeyed is told with its place, in band too, and what to
// do; nothing is started.
func TestSSMAliasErrors(t *testing.T) {
	t.Parallel()
	a := newAliased(t)
	config := filepath.Join(a.home, ".ssh/config")
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	line := func(what string) string {
		before, _, _ := bytes.Cut(text, []byte(what))
		return config + ":" + strconv.Itoa(1+bytes.Count(before, []byte("\n")))
	}
	var wg sync.WaitGroup
	a.write(t, "broken", "Host *\n  Port 99999\n")
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"bad"}, line("ProxyCommand adit ssm --nothing") + ": ProxyCommand adit ssm: unknown flag: --nothing"},
		{[]string{"listens"}, line("ProxyCommand adit ssm --local") + ": ProxyCommand adit ssm: --local is for no SSH client"},
		{[]string{"token"}, line("ProxyCommand adit ssm %x") + ": "},
		{[]string{"-F", filepath.Join(a.home, "broken"), "db"}, filepath.Join(a.home, "broken") + ":2: port: "},
		{[]string{"-F", filepath.Join(a.home, "nothing"), "db"}, filepath.Join(a.home, "nothing")},
	} {
		for _, way := range [][]string{{"ssm"}, {"ssm", "--local", "0", "--remote", "1"}} {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				cmd := exec.CommandContext(ctx, "adit", append(way, c.args...)...)
				cmd.Env = a.env
				in, err := cmd.StdinPipe()
				if err != nil {
					t.Error(err)
					return
				}
				defer in.Close()
				var out, stderr bytes.Buffer
				cmd.Stdout, cmd.Stderr = &out, &stderr
				err = cmd.Run()
				if err == nil || !strings.Contains(stderr.String(), c.want) || !strings.Contains(stderr.String(), "adit: hint: ") || !strings.Contains(stderr.String(), "ssm://") {
					t.Errorf("%q: %v\n%swant %q", cmd.Args, err, &stderr, c.want)
				}
				if len(way) == 1 && !bytes.Contains(out.Bytes(), []byte(c.want)) {
					t.Errorf("%q: in band %q, want %q", cmd.Args, &out, c.want)
				}
			})
		}
	}
	wg.Wait()
	if n := len(a.g.Started()); n != 0 {
		t.Errorf("%d sessions were started", n)
	}
}

// ssh may run adit ssm by the block that has the alias, with the alias's own name.
func TestSSMAliasUnderSSH(t *testing.T) {
	t.Parallel()
	testpeer.Need(t, "sshd", "ssh", "ssh-keygen")
	server := testpeer.SSHD(t, testpeer.SSHDOptions{})
	adit, err := exec.LookPath("adit")
	if err != nil {
		t.Fatal(err)
	}
	for name, host := range map[string]string{"by %n": "HostName front\n ProxyCommand " + adit + " ssm --region eu-west-1 %n %p", "by %h": "HostName " + ssmNode + "\n ProxyCommand " + adit + " ssm --region eu-west-1 %h %p"} {
		t.Run(name, func(t *testing.T) {
			home := t.TempDir()
			config := filepath.Join(home, ".ssh", "config")
			if err := os.Mkdir(filepath.Dir(config), 0o700); err != nil {
				t.Fatal(err)
			}
			text := "Host db\n " + host + "\n Port " + strconv.Itoa(server.Port()) + "\n"
			if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			g := &ssmgw.Gateway{Nodes: []ssmgw.Node{{ID: ssmNode, Status: "Online", Tags: map[string]string{"Name": "db"}}}}
			env := append(os.Environ(), append(ssmEnv(t, g), "HOME="+home, "SSH_AUTH_SOCK=")...)
			for _, program := range []string{"ssh", adit} {
				args := []string{"-F", config, "-i", server.Key.Path, "-l", server.User, "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=" + home + "/known", "db", "echo there"}
				if program == adit {
					args = append([]string{"ssh"}, args...)
				}
				cmd := exec.Command(program, args...)
				cmd.Env = env
				if out, err := cmd.Output(); err != nil || string(out) != "there\n" {
					t.Errorf("%s: %q, %v", program, out, err)
				}
			}
			for _, s := range g.Started() {
				if s.Target != ssmNode || s.Region != "eu-west-1" {
					t.Errorf("%+v, want %s in eu-west-1", s, ssmNode)
				}
			}
			if n := strings.Count(strings.Join(g.Events(), " "), "StartSession"); n != 2 {
				t.Errorf("%d sessions were started, want 2", n)
			}
		})
	}
}

// Aliases complete, with what they stand for and without a command being run, also
// where AWS does not answer.
func TestSSMAliasCompletion(t *testing.T) {
	t.Parallel()
	a := newAliased(t)
	complete := func(args ...string) string {
		cmd := exec.Command("adit", append([]string{"__complete", "ssm"}, args...)...)
		cmd.Env = a.env
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	if got := complete("d"); !strings.HasPrefix(got, "db\t"+ssmNode+"\n") {
		t.Errorf("of an alias:\n%s", got)
	}
	if got := complete("-F", "none", "cu"); strings.Contains(got, "custom") {
		t.Errorf("without a configuration:\n%s", got)
	}
	if got := complete(""); regexp.MustCompile(`(?m)^(jumped|plain|name-\*|bad|guarded)\t(i-0000000000000000[0-9]|)$`).MatchString(got) {
		t.Errorf("of what is no alias:\n%s", got)
	}
	a.env = append(a.env, "AWS_ENDPOINT_URL_SSM=http://"+testpeer.RefusedAddr(t))
	if got := complete("o"); !strings.HasPrefix(got, "other\tfront\n") {
		t.Errorf("without AWS:\n%s", got)
	}
	if _, err := os.Stat(a.noted); err == nil {
		t.Error("a Match exec was run")
	}
}
