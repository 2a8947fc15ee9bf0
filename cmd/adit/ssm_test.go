//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/adit-ssh/adit/internal/testpeer"
	"github.com/adit-ssh/adit/internal/testpeer/ssmgw"
)

// Other people's clients log in at sshd through `adit ssm`.
func TestSSMClients(t *testing.T) {
	t.Parallel()
	testpeer.Need(t, "sshd", "ssh-keygen")
	server := testpeer.SSHD(t, testpeer.SSHDOptions{HostKeys: []string{"ecdsa", "ed25519"}})
	adit, err := exec.LookPath("adit")
	if err != nil {
		t.Fatal(err)
	}
	quick := ssmgw.Faults{Delay: 2 * time.Millisecond}
	cases := []struct {
		name    string
		gateway *ssmgw.Gateway
		want    string // of what is shown; "" for a login
	}{
		{"clean", &ssmgw.Gateway{Faults: quick, Agent: ssmgw.Agent{Sleep: time.Millisecond, Text: "a text of the document's"}}, ""},
		{"Bye", &ssmgw.Gateway{Faults: ssmgw.Faults{Delay: 2 * time.Millisecond, CloseAfter: 5000, Closes: 3}}, ""},
		{"offline", &ssmgw.Gateway{Nodes: []ssmgw.Node{{ID: ssmNode, Status: "ConnectionLost"}}}, "adit: ssm:StartSession " + ssmNode + ": the node's agent is not connected (ConnectionLost"},
		{"denied", &ssmgw.Gateway{Deny: []string{"ssm:StartSession"}}, "adit: ssm:StartSession " + ssmNode + ": AccessDeniedException"},
	}
	for _, client := range sshClients {
		if client.fdpass {
			continue // there is no socket to pass
		}
		t.Run(client.name, func(t *testing.T) {
			t.Parallel()
			testpeer.Need(t, client.needs...)
			shared := t.TempDir()
			for _, c := range cases {
				t.Run(c.name, func(t *testing.T) {
					g := &ssmgw.Gateway{Faults: c.gateway.Faults, Agent: c.gateway.Agent, Nodes: c.gateway.Nodes, Deny: c.gateway.Deny}
					h := &helped{server: server, dir: t.TempDir(), shared: shared, command: strings.Join([]string{adit, "ssm", ssmNode, strconv.Itoa(server.Port())}, " ")}
					cmd := client.start(t, h)
					cmd.Env = append(cmd.Env, ssmEnv(t, g)...)
					out, _ := runClient(t, cmd, h.dir, func() {})
					switch {
					case c.want == "" && !strings.Contains(out, "CONNECTED"):
						t.Errorf("it did not connect:\n%s\n%q", out, g.Events())
					case c.want != "" && strings.Contains(out, "CONNECTED"):
						t.Errorf("it connected:\n%s", out)
					case c.want != "" && client.shows && !shown(out, regexp.QuoteMeta(c.want)):
						t.Errorf("it shows\n%s\nwant %q", out, c.want)
					}
				})
			}
		})
	}
}

// `adit ssh` needs no process and no configuration.
func TestSSMInProcess(t *testing.T) {
	t.Parallel()
	testpeer.Need(t, "sshd", "ssh-keygen")
	server := testpeer.SSHD(t, testpeer.SSHDOptions{})
	for name, way := range map[string][]string{
		"ssm://":       {"ssm://" + server.User + "@" + ssmNode},
		"ProxyCommand": {"-o", "ProxyCommand=/nonexistent/adit ssm %h %p", "-l", server.User, ssmNode},
	} {
		t.Run(name, func(t *testing.T) {
			g := &ssmgw.Gateway{Faults: ssmgw.Faults{Delay: time.Millisecond}}
			args := append([]string{"ssh", "-F", "none", "-i", server.Key.Path, "-p", strconv.Itoa(server.Port()), "-o", "StrictHostKeyChecking=accept-new"}, way...)
			cmd := ssmProgram(t, g, append(args, "head -c 1000000 /dev/zero; cat")...)
			cmd.Env = append(cmd.Env, "PATH=")
			cmd.Stdin = bytes.NewReader(make([]byte, 2_000_000))
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			if err != nil || len(out) != 3_000_000 {
				t.Errorf("%d bytes, %v\n%s", len(out), err, &stderr)
			}
			if g.Live() != 0 {
				t.Error("the session at AWS lives on")
			}
		})
	}
}

func TestSSMList(t *testing.T) {
	t.Parallel()
	g := &ssmgw.Gateway{Nodes: []ssmgw.Node{
		{ID: "mi-00000000000000002", Name: "cellar\x1b[2J", Status: "ConnectionLost", Tags: map[string]string{"stage": "test\x1b[2J"}},
		{ID: ssmNode, Computer: "web", IP: "10.0.0.5", Status: "Online", Version: "3.3.987.0", Platform: "Debian",
			Tags: map[string]string{"Name": "front", "stage": "prod", "aws:cloudformation:stack-id": "arn:x", "Team": "a b"}},
	}}
	env := append(os.Environ(), ssmEnv(t, g)...)
	run := func(args ...string) string {
		cmd := exec.Command("adit", args...)
		cmd.Env = env
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	table := run("ssm", "ls")
	lines := strings.Split(table, "\n")
	if len(lines) < 3 || !regexp.MustCompile(`^`+ssmNode+` +front +Online +3.3.987.0 +10.0.0.5 +Debian +Team=a b stage=prod$`).MatchString(lines[1]) ||
		!strings.Contains(lines[2], "cellar[2J") || !strings.Contains(lines[2], "stage=test[2J") {
		t.Errorf("ls:\n%s", table)
	}
	var nodes []struct {
		ID, Status, IP, Name string
		Tags                 map[string]string
	}
	if err := json.Unmarshal([]byte(run("ssm", "ls", "--json")), &nodes); err != nil || len(nodes) != 2 || nodes[0].IP != "10.0.0.5" ||
		nodes[0].Name != "front" || nodes[0].Tags["aws:cloudformation:stack-id"] != "arn:x" {
		t.Errorf("ls --json: %+v, %v", nodes, err)
	}
	if got := run("__complete", "ssm", "i-"); !strings.Contains(got, ssmNode+"\tfront") || strings.Contains(got, "mi-") {
		t.Errorf("completion:\n%s", got)
	}
	if got := run("__complete", "ssm", "fr"); !strings.HasPrefix(got, "front\t"+ssmNode) {
		t.Errorf("completion of a name:\n%s", got)
	}
	env = append(os.Environ(), ssmEnv(t, &ssmgw.Gateway{Nodes: g.Nodes, Deny: []string{"tag:GetResources"}})...)
	table = run("ssm", "ls")
	if !strings.Contains(table, "adit: notice: without tags: tag:GetResources: AccessDenied") || !regexp.MustCompile(ssmNode+` +web +Online.* -\n`).MatchString(table) {
		t.Errorf("ls without tags:\n%s", table)
	}
}

// What `adit doctor` makes of it when it does not work.
func TestSSMDoctor(t *testing.T) {
	t.Parallel()
	_, refused, _ := net.SplitHostPort(testpeer.RefusedAddr(t))
	for _, c := range []struct {
		name    string
		gateway *ssmgw.Gateway
		args    []string
		env     []string
		stage   string
		want    []string
	}{
		{name: "offline", gateway: &ssmgw.Gateway{Nodes: []ssmgw.Node{{ID: ssmNode, Status: "ConnectionLost"}}}, stage: "proxy",
			want: []string{"the node's agent is not connected (ConnectionLost", "AmazonSSMManagedInstanceCore"}},
		{name: "denied", gateway: &ssmgw.Gateway{Deny: []string{"ssm:StartSession"}}, stage: "proxy",
			want: []string{"AccessDeniedException", "the IAM policy must allow ssm:StartSession"}},
		{name: "no credentials", gateway: &ssmgw.Gateway{}, env: []string{"AWS_ACCESS_KEY_ID="}, stage: "proxy",
			want: []string{"there are no AWS credentials", "--profile"}},
		{name: "unknown", gateway: &ssmgw.Gateway{}, args: []string{"ssm://web"}, stage: "proxy",
			want: []string{"no managed node in eu-central-1", "adit ssm ls"}},
		{name: "port refused", gateway: &ssmgw.Gateway{Agent: ssmgw.Agent{Silence: time.Second}}, args: []string{"-p", refused, "ssm://" + ssmNode}, stage: "version",
			want: []string{"closed the connection before its version line", "ipc messaging received timeout", "AWS's agent says that when nothing listens on the port"}},
		{name: "port silent", gateway: &ssmgw.Gateway{}, args: []string{"-o", "ConnectTimeout=1", "-p", refused, "ssm://" + ssmNode}, stage: "version",
			want: []string{"the session stands, but nothing answers on port " + refused + " of " + ssmNode, "start sshd there"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.args == nil {
				c.args = []string{"ssm://me@" + ssmNode}
			}
			cmd := ssmProgram(t, c.gateway, append([]string{"doctor", "-F", "none"}, c.args...)...)
			cmd.Env = append(cmd.Env, c.env...)
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), "The first failure is at: "+c.stage) {
				t.Errorf("%v, want a failure at %s\n%s", err, c.stage, out)
			}
			for _, want := range c.want {
				if !strings.Contains(string(out), want) {
					t.Errorf("it does not say %q:\n%s", want, out)
				}
			}
		})
	}
}

// AWS's agent dies of a port where nobody listens. A person is told so.
func TestSSMRefusedPort(t *testing.T) {
	t.Parallel()
	_, refused, _ := net.SplitHostPort(testpeer.RefusedAddr(t))
	g := &ssmgw.Gateway{Agent: ssmgw.Agent{Silence: time.Second}}
	cmd := ssmProgram(t, g, "ssh", "-F", "none", "-p", refused, "ssm://me@"+ssmNode, "true")
	out, err := cmd.CombinedOutput()
	for _, want := range []string{"ipc messaging received timeout", "adit: hint: AWS's agent says that when nothing listens on the port"} {
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%v; it does not say %q:\n%s", err, want, out)
		}
	}
}

// The way to AWS may lead through a proxy, which may not let us.
func TestSSMProxy(t *testing.T) {
	t.Parallel()
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusProxyAuthRequired) }))
	defer proxy.Close()
	for name, c := range map[string]struct{ proxy, text, hint string }{
		"nobody is there": {"http://" + testpeer.RefusedAddr(t), "connect to the proxy: connection refused", "NO_PROXY"},
		"a login":         {proxy.URL, "Proxy Authentication Required", "USER:PASSWORD@"},
	} {
		cmd := exec.Command("adit", "ssm", "ls")
		cmd.Env = append(os.Environ(), append(ssmgw.Env("", t.TempDir()), "HTTPS_PROXY="+c.proxy, "NO_PROXY=", "no_proxy=", "https_proxy="+c.proxy)...)
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), c.text) || !strings.Contains(string(out), c.hint) {
			t.Errorf("%s: %v\n%s\nwant %q, %q", name, err, out, c.text, c.hint)
		}
	}
}

func TestSSMUsage(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "TARGET is due"},
		{[]string{"a", "b", "c"}, "TARGET is due"},
		{[]string{"a", "http"}, `bad port "http"`},
		{[]string{"--remote", "x:1", "a"}, "--remote goes with --local"},
		{[]string{"--local", "1", "a"}, "--remote is due"},
		{[]string{"--local", "1", "--remote", "x", "a"}, `bad --remote "x"`},
		{[]string{"--local", "x", "--remote", "1", "a"}, `bad --local "x"`},
		{[]string{"--parameter", "x", "a"}, `bad --parameter "x"`},
		{[]string{"--nothing"}, "unknown flag"},
	} {
		cmd := exec.Command("adit", append([]string{"ssm"}, c.args...)...)
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), c.want) || !strings.Contains(string(out), "adit: hint: see: adit ssm --help") {
			t.Errorf("%q: %v\n%s", c.args, err, out)
		}
	}
}
