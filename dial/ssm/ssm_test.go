package ssm

import (
	"context"
	"crypto/sha256"
	"encoding/pem"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/adit-ssh/adit/internal/testnet"
	"github.com/adit-ssh/adit/internal/testpeer"
	"github.com/adit-ssh/adit/internal/testpeer/ssmgw"
)

const patience = 20 * time.Second

// serve puts a gateway on loopback and AWS's settings into the environment.
func serve(t *testing.T, g *ssmgw.Gateway) *Service {
	t.Helper()
	url := g.Serve(t)
	for _, e := range ssmgw.Env(url, t.TempDir()) {
		name, value, _ := strings.Cut(e, "=")
		t.Setenv(name, value)
	}
	t.Setenv("AWS_PROFILE", "")
	s, err := Load(t.Context(), Config{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// target is a TCP server; it returns its port.
func target(t *testing.T, handle func(net.Conn)) int {
	t.Helper()
	return portOf(t, testnet.ServeTCP(t, func(c *net.TCPConn) { handle(c) }))
}

// refused is a port where nobody listens.
func refused(t *testing.T) int {
	t.Helper()
	return portOf(t, testpeer.RefusedAddr(t))
}

func portOf(t *testing.T, addr string) int {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func echo(c net.Conn) { io.Copy(c, c) }

// roundTrip sends size bytes and wants them back.
func roundTrip(t *testing.T, c net.Conn, size int) {
	t.Helper()
	c.SetDeadline(time.Now().Add(patience))
	sent := make([]byte, size)
	rand.NewChaCha8([32]byte{7}).Read(sent)
	errs := make(chan error, 1)
	go func() {
		_, err := c.Write(sent)
		errs <- err
	}()
	got := make([]byte, size)
	if n, err := io.ReadFull(c, got); err != nil {
		t.Errorf("read %d of %d bytes: %v", n, size, err)
	} else if sha256.Sum256(got) != sha256.Sum256(sent) {
		t.Error("what came back is not what was sent")
	}
	if err := <-errs; err != nil {
		t.Errorf("write: %v", err)
	}
}

func dial(t *testing.T, s *Service, o Options) net.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := s.Dial(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

const node = "i-0123456789abcdef0"

func TestDial(t *testing.T) {
	g := &ssmgw.Gateway{Agent: ssmgw.Agent{Text: "be \x1b[31mgood"}}
	s := serve(t, g)
	said := ""
	c := dial(t, s, Options{Target: node, Port: target(t, echo), Notice: func(text string) { said = text }})
	roundTrip(t, c, 3<<20)
	if err := c.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if said != "be ?[31mgood" {
		t.Errorf("notice %q", said)
	}
	// The agent was told: there is no need for TerminateSession.
	if want := []string{"StartSession", "signed", "open"}; !slices.Equal(g.Events()[:3], want) || slices.Contains(g.Events(), "TerminateSession") {
		t.Errorf("events %q, want %q and no TerminateSession", g.Events(), want)
	}
}

func TestTargetEnds(t *testing.T) {
	s := serve(t, &ssmgw.Gateway{})
	c := dial(t, s, Options{Target: node, Port: target(t, func(c net.Conn) { io.WriteString(c, "so long") })})
	c.SetDeadline(time.Now().Add(patience))
	if b, err := io.ReadAll(c); string(b) != "so long" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
}

// The gateway closes each WebSocket sooner or later. Nobody is to notice.
func TestBye(t *testing.T) {
	g := &ssmgw.Gateway{Faults: ssmgw.Faults{CloseAfter: 300_000, Closes: 5, Delay: time.Millisecond}}
	s := serve(t, g)
	const size = 2 << 20
	c := dial(t, s, Options{Target: node, Port: target(t, func(c net.Conn) {
		h := sha256.New()
		io.CopyN(h, c, size)
		c.Write(h.Sum(nil))
		io.Copy(io.Discard, c)
	})})
	c.SetDeadline(time.Now().Add(patience))
	sent := make([]byte, size)
	rand.NewChaCha8([32]byte{7}).Read(sent)
	if _, err := c.Write(sent); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, sha256.Size)
	if _, err := io.ReadFull(c, got); err != nil || [sha256.Size]byte(got) != sha256.Sum256(sent) {
		t.Errorf("what arrived is not what was sent: %v", err)
	}
	resumed := 0
	for _, e := range g.Events() {
		if e == "ResumeSession" {
			resumed++
		}
		if e == "another client id" {
			t.Error("the client id changed")
		}
	}
	if resumed < 3 { // the last ones may come when all has arrived
		t.Errorf("resumed %d times, want about 5", resumed)
	}
}

func TestGatewayWithSmallMessages(t *testing.T) {
	s := serve(t, &ssmgw.Gateway{Faults: ssmgw.Faults{MaxPayload: 2048, Delay: time.Millisecond}})
	roundTrip(t, dial(t, s, Options{Target: node, Port: target(t, echo)}), 300_000)
}

// wss:// with authorities of AWS_CA_BUNDLE, and without.
func TestTLS(t *testing.T) {
	lender := httptest.NewTLSServer(nil)
	lender.Close()
	bundle := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(bundle, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: lender.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_CA_BUNDLE", bundle)
	s := serve(t, &ssmgw.Gateway{Certificate: &lender.TLS.Certificates[0]})
	o := Options{Target: node, Port: target(t, echo)}
	roundTrip(t, dial(t, s, o), 1<<20)
	t.Setenv("AWS_CA_BUNDLE", "")
	if c, err := Dial(t.Context(), Config{}, o); err == nil {
		c.Close()
		t.Error("a certificate of nobody's was accepted")
	}
}

// Hosts behind the node are reached over smux, and over a plain stream where the
// agent is too old for it.
func TestRemoteHost(t *testing.T) {
	for _, version := range []string{"3.3.987.0", "3.1.1511.0", "3.0.196.0"} {
		t.Run(version, func(t *testing.T) {
			s := serve(t, &ssmgw.Gateway{Agent: ssmgw.Agent{Version: version}})
			roundTrip(t, dial(t, s, Options{Target: node, Host: "localhost", Port: target(t, echo)}), 1<<20)
		})
	}
}

var fleet = []ssmgw.Node{
	{ID: "i-00000000000000001", Name: "", Computer: "ip-10-0-0-5.eu-central-1.compute.internal", IP: "10.0.0.5", Status: "Online", Tags: map[string]string{"Name": "web", "stage": "prod"}},
	{ID: "i-00000000000000002", Computer: "web-2", IP: "10.0.0.6", Status: "Online", Tags: map[string]string{"Name": "web", "stage": "test"}},
	{ID: "i-00000000000000003", Computer: "db-old", IP: "10.0.0.7", Status: "ConnectionLost", Tags: map[string]string{"Name": "db"}},
	{ID: "i-00000000000000004", Computer: "db-new", IP: "10.0.0.8", Status: "Online", Tags: map[string]string{"Name": "db"}},
	{ID: "mi-00000000000000005", Name: "cellar", Computer: "c", IP: "192.168.0.2", Status: "ConnectionLost", Tags: map[string]string{}},
}

func TestFind(t *testing.T) {
	s := serve(t, &ssmgw.Gateway{Nodes: fleet})
	for _, c := range []struct{ target, id, trouble string }{
		{"i-0fedcba9876543210", "i-0fedcba9876543210", ""}, // not looked up
		{"ecs:cluster_0123456789abcdef0123456789abcdef_0123456789abcdef0123456789abcdef-12345", "ecs:cluster_0123456789abcdef0123456789abcdef_0123456789abcdef0123456789abcdef-12345", ""},
		{"stage=prod", "i-00000000000000001", ""},
		{"stage=none", "", "no managed node in eu-central-1"},
		{"web", "", "2 nodes have that name: i-00000000000000001 ip-10-0-0-5.eu-central-1.compute.internal 10.0.0.5 Online; i-00000000000000002"},
		{"db", "i-00000000000000004", ""}, // the other one is offline
		{"10.0.0.5", "i-00000000000000001", ""},
		{"ip-10-0-0-5", "i-00000000000000001", ""},
		{"WEB-2", "i-00000000000000002", ""},
		{"cellar", "", "the agent of mi-00000000000000005 is not connected (ConnectionLost, last seen 2023-11-14 22:13 UTC)"},
		{"", "", "it says no node"},
	} {
		id, err := s.Find(t.Context(), c.target)
		if id != c.id || (err == nil) != (c.trouble == "") || err != nil && !strings.Contains(err.Error(), c.trouble) {
			t.Errorf("Find(%q) = %q, %v; want %q, %q", c.target, id, err, c.id, c.trouble)
		}
	}
	nodes, err := s.Nodes(t.Context())
	if len(nodes) != len(fleet) || err != nil {
		t.Errorf("%d nodes, %v; want %d", len(nodes), err, len(fleet))
	}
}

// What people read when it does not work, and what they can do.
func TestErrors(t *testing.T) {
	for _, c := range []struct {
		name       string
		gateway    *ssmgw.Gateway
		env        []string
		config     Config
		options    Options
		text, hint string
	}{
		{name: "offline", gateway: &ssmgw.Gateway{Nodes: fleet}, options: Options{Target: "i-00000000000000003"},
			text: "ssm:StartSession i-00000000000000003: the node's agent is not connected (ConnectionLost, last seen 2023-11-14 22:13 UTC)", hint: "AmazonSSMManagedInstanceCore"},
		{name: "denied", gateway: &ssmgw.Gateway{Deny: []string{"ssm:StartSession"}},
			text: "ssm:StartSession " + node + ": AccessDeniedException: User: arn:aws:iam::123456789012:user/tester is not authorized", hint: "must allow ssm:StartSession on that resource"},
		{name: "may not look up", gateway: &ssmgw.Gateway{Deny: []string{"ssm:DescribeInstanceInformation"}}, options: Options{Target: "web"},
			text: "AccessDeniedException", hint: "must allow ssm:DescribeInstanceInformation"},
		{name: "may not open", gateway: &ssmgw.Gateway{Deny: []string{"ssmmessages:OpenDataChannel"}},
			text: "refuses the data channel: HTTP status 403", hint: "ssmmessages:OpenDataChannel"},
		{name: "no region", env: []string{"AWS_REGION="}, text: "AWS configuration: an AWS region is required", hint: "--region"},
		{name: "no credentials", env: []string{"AWS_ACCESS_KEY_ID="}, text: "there are no AWS credentials", hint: "--profile"},
		{name: "other credentials", env: []string{"AWS_ACCESS_KEY_ID=AKIDOTHER"}, text: "UnrecognizedClientException", hint: "AWS_ACCESS_KEY_ID"},
		{name: "no such profile", config: Config{Profile: "nobody"}, text: "nobody", hint: "list-profiles"},
		{name: "no such document", options: Options{Document: "Own"}, text: "InvalidDocument: Document with name Own does not exist.", hint: "AWS-StartSSHSession"},
		{name: "a shell", gateway: &ssmgw.Gateway{Agent: ssmgw.Agent{SessionType: "Standard_Stream"}}, text: `a session of type "Standard_Stream"`},
		{name: "encrypted", gateway: &ssmgw.Gateway{Agent: ssmgw.Agent{KMS: true}}, text: "encrypted with a KMS key"},
		{name: "bad port", options: Options{Port: 70000}, text: "bad port 70000"},
		{name: "endpoint in the clear", config: Config{EndpointMessages: "http://example.org"}, text: "it is not encrypted"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.gateway == nil {
				c.gateway = new(ssmgw.Gateway)
			}
			serve(t, c.gateway)
			for _, e := range c.env {
				name, value, _ := strings.Cut(e, "=")
				t.Setenv(name, value)
			}
			if c.options.Target == "" {
				c.options.Target = node
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			conn, err := Dial(ctx, c.config, c.options)
			if err == nil {
				conn.Close()
				t.Fatal("it worked")
			}
			e, ok := errors.AsType[*Error](err)
			if !ok {
				t.Fatalf("%v is no *Error", err)
			}
			if !strings.Contains(e.Error(), c.text) {
				t.Errorf("error %q, want %q", e, c.text)
			}
			if !strings.Contains(e.Hint(), c.hint) || c.hint != "" && e.Hint() == "" {
				t.Errorf("hint %q, want %q", e.Hint(), c.hint)
			}
			for _, secret := range []string{"token-", "secret", "cell-number", "Signature="} {
				if strings.Contains(e.Error(), secret) {
					t.Errorf("%q has %q in it", e, secret)
				}
			}
		})
	}
}

// AWS's agent dies of a refused port, and says so after a minute.
func TestRefusedPort(t *testing.T) {
	s := serve(t, &ssmgw.Gateway{Agent: ssmgw.Agent{Silence: 50 * time.Millisecond}})
	c := dial(t, s, Options{Target: node, Port: refused(t)})
	c.SetDeadline(time.Now().Add(patience))
	_, err := c.Read(make([]byte, 1))
	if e, ok := errors.AsType[*Error](err); !ok || !strings.Contains(e.Error(), "ipc messaging") || !strings.Contains(e.Hint(), "nothing listens") {
		t.Errorf("%v", err)
	}
}
