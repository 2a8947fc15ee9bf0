package adit_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/bastion"
	"github.com/adit-ssh/adit/internal/forward"
	"github.com/adit-ssh/adit/internal/testnet"
	"github.com/adit-ssh/adit/internal/testpeer"
)

// census fails the test if goroutines are left when all else is cleaned up.
func census(t testing.TB) {
	t.Helper()
	testnet.Census(t)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
}

// serve starts a bastion that lets one key in and returns a Config for it.
func serve(t testing.TB, perm bastion.Permissions) (addr string, cfg *adit.Config) {
	t.Helper()
	census(t)
	host, user := testpeer.NewSigner(t), testpeer.NewSigner(t)
	s, err := bastion.New(bastion.Config{
		HostKeys: []gossh.Signer{host},
		Authorize: func(_ context.Context, _ string, _ net.Addr, key gossh.PublicKey) *bastion.Permissions {
			if string(key.Marshal()) != string(user.PublicKey().Marshal()) {
				return nil
			}
			return &perm
		},
		Log: func(line string) { t.Log(line) },
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Serve(l); err != bastion.ErrServerClosed {
			t.Errorf("serve: %v", err)
		}
	})
	t.Cleanup(func() {
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		wg.Wait()
	})
	return l.Addr().String(), &adit.Config{User: "u", CheckHostKey: adit.FixedHostKey(host.PublicKey()), Keys: adit.Keys(user)}
}

func dial(t testing.TB, addr string, cfg *adit.Config) *adit.Client {
	t.Helper()
	c, err := adit.Dial(t.Context(), addr, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func service(t testing.TB) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "private page %s", r.URL.Path)
	}))
	t.Cleanup(s.Close)
	return s
}

func get(t testing.TB, tr *http.Transport, url, want string) {
	t.Helper()
	defer tr.CloseIdleConnections()
	resp, err := (&http.Client{Transport: tr}).Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || string(body) != want {
		t.Errorf("got %q, %v, want %q", body, err, want)
	}
}

func TestDialContext(t *testing.T) {
	web := service(t)
	addr, cfg := serve(t, bastion.Permissions{})
	c := dial(t, addr, cfg)
	get(t, &http.Transport{DialContext: c.DialContext}, web.URL+"/a", "private page /a")
}

func TestForwards(t *testing.T) {
	web := service(t)
	target := strings.TrimPrefix(web.URL, "http://")
	addr, cfg := serve(t, bastion.Permissions{})
	c := dial(t, addr, cfg)
	local, err := c.Forward(t.Context(), adit.Forward{Listen: "127.0.0.1:0", Target: target})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { local.Close() })
	get(t, &http.Transport{}, "http://"+local.Addr().String()+"/L", "private page /L")
	proxy, err := c.Forward(t.Context(), adit.Forward{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { proxy.Close() })
	for _, scheme := range []string{"socks5", "http"} {
		u := &url.URL{Scheme: scheme, Host: proxy.Addr().String()}
		if scheme == "http" {
			continue // net/http uses CONNECT for https only
		}
		get(t, &http.Transport{Proxy: http.ProxyURL(u)}, web.URL+"/D", "private page /D")
	}
}

// -4 and -6 choose the listeners' family too, as AddressFamily does for ssh.
func TestForwardFamily(t *testing.T) {
	addr, cfg := serve(t, bastion.Permissions{})
	c := dial(t, addr, cfg)
	for network, want := range map[string]string{"tcp4": "127.0.0.1", "tcp6": "::1"} {
		f, err := c.ForwardSpec(t.Context(), forward.Spec{Bind: "localhost", Dynamic: true}, forward.Config{Network: network})
		if network == "tcp6" && err != nil {
			t.Logf("no IPv6 here: %v", err)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		port := f.Addr().(*net.TCPAddr).Port
		if got := f.Addr().(*net.TCPAddr).IP.String(); got != want {
			t.Errorf("%s: listens on %s, want %s", network, got, want)
		}
		other := map[string]string{"127.0.0.1": "::1", "::1": "127.0.0.1"}[want]
		if nc, err := net.Dial("tcp", net.JoinHostPort(other, strconv.Itoa(port))); err == nil {
			nc.Close()
			t.Errorf("%s: listens on %s too", network, other)
		}
		f.Close()
	}
}

func TestPermitOpen(t *testing.T) {
	addr, cfg := serve(t, bastion.Permissions{PermitOpen: []string{"allowed:80"}})
	c := dial(t, addr, cfg)
	_, err := c.DialContext(t.Context(), "tcp", "127.0.0.1:1")
	if e, ok := errors.AsType[*adit.OpenError](err); !ok || e.Reason != 1 {
		t.Errorf("got %v, want OpenError 1", err)
	}
}

func TestRefusedTarget(t *testing.T) {
	addr, cfg := serve(t, bastion.Permissions{})
	c := dial(t, addr, cfg)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	_, err = c.DialContext(t.Context(), "tcp", l.Addr().String())
	if e, ok := errors.AsType[*adit.OpenError](err); !ok || e.Reason != 2 || e.Description != "Connection refused" {
		t.Errorf("got %v, want OpenError 2, Connection refused", err)
	}
}

func TestWrongKey(t *testing.T) {
	addr, cfg := serve(t, bastion.Permissions{})
	wrong := *cfg
	wrong.Keys = adit.Keys(testpeer.NewSigner(t))
	_, err := adit.Dial(t.Context(), addr, &wrong)
	e, ok := errors.AsType[*adit.AuthError](err)
	if !ok || len(e.Tried) != 1 || len(e.Remaining) != 1 || e.Remaining[0] != "publickey" {
		t.Errorf("got %v, want AuthError with one key tried", err)
	}
}

func TestWrongHostKey(t *testing.T) {
	addr, cfg := serve(t, bastion.Permissions{})
	wrong := *cfg
	wrong.CheckHostKey = adit.FixedHostKey(testpeer.NewSigner(t).PublicKey())
	_, err := adit.Dial(t.Context(), addr, &wrong)
	if _, ok := errors.AsType[*adit.HostKeyError](err); !ok {
		t.Errorf("got %v, want HostKeyError", err)
	}
}

// TestTransferWithRekey moves 64 MiB each way with key exchanges on the way.
func TestTransferWithRekey(t *testing.T) {
	addr, cfg := serve(t, bastion.Permissions{})
	rekey := *cfg
	rekey.RekeyBytes = 5 << 20
	c := dial(t, addr, &rekey)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { // echoes
		nc, err := l.Accept()
		if err != nil {
			return
		}
		defer nc.Close()
		io.Copy(nc, nc)
	})
	ch, err := c.DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	size := int64(64 << 20)
	if testing.Short() {
		size = 12 << 20
	}
	sent := sha256.New()
	wg.Go(func() {
		io.Copy(ch, io.TeeReader(io.LimitReader(rand.Reader, size), sent))
		ch.(*adit.Conn).CloseWrite()
	})
	got := sha256.New()
	n, err := io.Copy(got, ch)
	if err != nil || n != size || string(got.Sum(nil)) != string(sent.Sum(nil)) {
		t.Errorf("got %d bytes, %v, want %d with the same hash", n, err, size)
	}
	ch.Close()
}

// VersionAddendum is seen by the server, and can't be more than a part of the line.
func TestVersionAddendum(t *testing.T) {
	for addendum, want := range map[string]string{
		"":                       "SSH-2.0-adit_0.1\r\n",
		"build 7, (c) x":         "SSH-2.0-adit_0.1 build 7, (c) x\r\n",
		"x\r\nSSH-2.0-y":         "",
		"caf\u00e9":              "",
		strings.Repeat("x", 201): "",
	} {
		near, far := net.Pipe()
		line := make(chan string, 1)
		go func() { // ends with the pipe
			b := make([]byte, 300)
			n, _ := far.Read(b)
			got, _, _ := strings.Cut(string(b[:n]), "\n")
			if n > 0 {
				got += "\n"
			}
			far.Close()
			line <- got
		}()
		_, err := adit.NewClient(t.Context(), near, "h:22", "u", &adit.Config{VersionAddendum: addendum, CheckHostKey: adit.FixedHostKey(testpeer.NewSigner(t).PublicKey())})
		if got := <-line; got != want || strings.Contains(err.Error(), "VersionAddendum") != (want == "") {
			t.Errorf("%q: the server reads %q, %v; want %q", addendum, got, err, want)
		}
	}
}

func TestDialTimeout(t *testing.T) {
	census(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() // never answers
	cfg := &adit.Config{User: "u", CheckHostKey: adit.FixedHostKey(testpeer.NewSigner(t).PublicKey()), ConnectTimeout: 20 * time.Millisecond}
	_, err = adit.Dial(t.Context(), l.Addr().String(), cfg)
	if e, ok := errors.AsType[*adit.StageError](err); !ok || e.Stage != "handshake" || !strings.Contains(err.Error(), "20ms") {
		t.Errorf("got %v, want the stage and the time", err)
	}
}
