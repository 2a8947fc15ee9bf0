//go:build linux

package main

import (
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/adit-ssh/adit/internal/testpeer"
	"github.com/adit-ssh/adit/internal/testpeer/ssmgw"
)

// The API and the data channel go through a proxy's CONNECT, with names that only the
// proxy can look up, and with authorities of AWS_CA_BUNDLE.
func TestSSMThroughAProxy(t *testing.T) {
	t.Parallel()
	lender := httptest.NewTLSServer(nil) // whose certificate is for example.com
	lender.Close()
	bundle := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(bundle, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: lender.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	g := &ssmgw.Gateway{Certificate: &lender.TLS.Certificates[0]}
	gateway := strings.TrimPrefix(g.Serve(t), "https://")
	var mu sync.Mutex
	var asked []string // guarded by mu
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked = append(asked, r.Method+" "+r.Host)
		mu.Unlock()
		far, err := net.Dial("tcp", gateway)
		if err != nil {
			t.Error(err)
			return
		}
		defer far.Close()
		near, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer near.Close()
		io.WriteString(near, "HTTP/1.1 200 go on\r\n\r\n")
		var up sync.WaitGroup
		up.Go(func() {
			io.Copy(far, near)
			far.Close()
		})
		io.Copy(near, far)
		near.Close()
		up.Wait()
	}))
	defer proxy.Close()
	echo := testpeer.EchoTarget(t)
	cmd := exec.Command("adit", "ssm", "--local", "0", "--remote", echo.Addr, "--endpoint-ssmmessages", "https://messages.example.com", ssmNode)
	cmd.Env = append(os.Environ(), append(ssmgw.Env("https://example.com", t.TempDir()), "AWS_CA_BUNDLE="+bundle,
		"HTTPS_PROXY="+proxy.URL, "https_proxy="+proxy.URL, "NO_PROXY=", "no_proxy=")...)
	addr := started(t, cmd, forwardingTo)
	if got := exchange(t, addr, "over there"); got != "over there" {
		t.Errorf("got %q", got)
	}
	cmd.Process.Signal(syscall.SIGTERM)
	cmd.Wait()
	mu.Lock()
	defer mu.Unlock()
	for _, want := range []string{"CONNECT example.com:443", "CONNECT messages.example.com:443"} {
		if !slices.Contains(asked, want) {
			t.Errorf("the proxy was asked for %q, want %q", asked, want)
		}
	}
}
