package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/spf13/cobra"
	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/bastion"
	"github.com/adit-ssh/adit/internal/wire"
	"github.com/adit-ssh/adit/knownhosts"
	"github.com/adit-ssh/adit/trace"
	"github.com/adit-ssh/adit/trace/view"
)

// demoHost is the private service's name, which only the demo's server knows.
const demoHost = "wiki.private"

// maxEvents is how many events the demo keeps: more than its three steps make.
const maxEvents = 1000

func demoCommand() *cobra.Command {
	var keep bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Start a server and a private service here, and reach the service through it",
		Long: `Starts, in this process and on loopback, an SSH server that only forwards, and a
web service that only this server can reach. Then it fetches pages through a -L
forward, a -D proxy and a Go dialer, and shows the SSH messages of each.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d := &demo{out: cmd.OutOrStdout()}
			defer d.close()
			return d.run(cmd.Context(), keep)
		},
	}
	cmd.Flags().BoolVar(&keep, "keep", false, "leave it running and print commands to try by hand")
	return cmd
}

// demo is a server, a service behind it and a client.
type demo struct {
	out     io.Writer
	dir     string // keys and the service's socket
	addr    string // the server's
	hostKey gossh.PublicKey
	client  *adit.Client
	closers []func()

	trace    *trace.Recorder
	shown    int // events that were shown
	channels int // channels that were shown
}

func (d *demo) close() {
	for i := len(d.closers) - 1; i >= 0; i-- {
		d.closers[i]()
	}
}

func (d *demo) printf(format string, args ...any) { fmt.Fprintf(d.out, format, args...) }

func (d *demo) run(ctx context.Context, keep bool) error {
	began := time.Now()
	if err := d.start(ctx); err != nil {
		return err
	}
	local, err := d.client.Forward(ctx, adit.Forward{Listen: "127.0.0.1:0", Target: demoHost + ":80"})
	if err != nil {
		return err
	}
	defer local.Close()
	proxy, err := d.client.Forward(ctx, adit.Forward{Listen: "127.0.0.1:0"})
	if err != nil {
		return err
	}
	defer proxy.Close()
	steps := []struct {
		title string
		tr    *http.Transport
		url   string
	}{
		{fmt.Sprintf("-L %s:%s:80, as for: curl http://%s/", local.Addr(), demoHost, local.Addr()),
			&http.Transport{}, "http://" + local.Addr().String() + "/L"},
		{fmt.Sprintf("-D %s, as for: curl -x socks5h://%s http://%s/", proxy.Addr(), proxy.Addr(), demoHost),
			&http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "socks5h", Host: proxy.Addr().String()})}, "http://" + demoHost + "/D"},
		{"a Go dialer: http.Transport{DialContext: client.DialContext}",
			&http.Transport{DialContext: d.client.DialContext}, "http://" + demoHost + "/dialer"},
	}
	for i, s := range steps {
		d.printf("\n%d. %s\n", i+1, s.title)
		if err := d.fetch(ctx, s.tr, s.url); err != nil {
			return fmt.Errorf("step %d: %w", i+1, err)
		}
	}
	d.printf("\nOK: 3 pages of a service that only the server can reach, in %v.\n", time.Since(began).Round(time.Millisecond))
	if !keep {
		return nil
	}
	d.commands(local.Addr(), proxy.Addr())
	select {
	case <-ctx.Done():
		return nil
	case <-d.client.Done():
		return d.client.Err()
	}
}

// fetch gets one page and shows the messages that this took.
func (d *demo) fetch(ctx context.Context, tr *http.Transport, url string) error {
	tr.DisableKeepAlives = true
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Transport: tr}).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	want := "A private page, " + req.URL.Path
	if resp.StatusCode != http.StatusOK || string(body) != want {
		return fmt.Errorf("got %s %q, want %q", resp.Status, body, want)
	}
	resp.Body.Close()
	if err := d.showLadder(ctx); err != nil {
		return err
	}
	d.printf("   page: %q\n", body)
	return nil
}

// start brings up service, server and client.
func (d *demo) start(ctx context.Context) (err error) {
	if d.dir, err = os.MkdirTemp("", "adit-demo-"); err != nil {
		return err
	}
	d.closers = append(d.closers, func() { os.RemoveAll(d.dir) })
	host, err := newKey("")
	if err != nil {
		return err
	}
	user, err := newKey(filepath.Join(d.dir, "id_demo"))
	if err != nil {
		return err
	}
	d.hostKey = host.PublicKey()
	if err := d.startService(); err != nil {
		return err
	}
	if err := d.startServer(host, user.PublicKey()); err != nil {
		return err
	}
	known := filepath.Join(d.dir, "known_hosts")
	if err := knownhosts.Append(known, knownhosts.SplitAddr(d.addr), d.hostKey, false); err != nil {
		return err
	}
	db, err := knownhosts.Load(known)
	if err != nil {
		return err
	}
	d.trace = trace.NewRecorder(trace.LevelPacket, maxEvents)
	d.client, err = adit.Dial(ctx, "demo@"+d.addr, &adit.Config{
		CheckHostKey: db.CheckHostKey, Keys: adit.Keys(user), Tracer: d.trace, ConnectTimeout: 10 * time.Second,
	})
	if err != nil {
		return err
	}
	d.closers = append(d.closers, func() { d.client.Close() })
	d.printf("server   %s, which only forwards; host key %s\n", d.addr, gossh.FingerprintSHA256(d.hostKey))
	d.printf("service  http://%s/, which only the server can reach\n", demoHost)
	d.printf("client   logged in: %s\n", d.login())
	return nil
}

// startService serves HTTP on a unix socket, which has no address that a
// browser could use.
func (d *demo) startService() error {
	l, err := net.Listen("unix", filepath.Join(d.dir, "wiki.sock"))
	if err != nil {
		return err
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "A private page, %s", r.URL.Path)
	})}
	var wg sync.WaitGroup
	wg.Go(func() { s.Serve(l) })
	d.closers = append(d.closers, func() { s.Close(); wg.Wait() })
	return nil
}

func (d *demo) startServer(host gossh.Signer, user gossh.PublicKey) error {
	s, err := bastion.New(bastion.Config{
		HostKeys: []gossh.Signer{host},
		Authorize: func(_ context.Context, _ string, _ net.Addr, key gossh.PublicKey) *bastion.Permissions {
			if string(key.Marshal()) != string(user.Marshal()) {
				return nil
			}
			return &bastion.Permissions{PermitOpen: []string{demoHost + ":80"}}
		},
		Dial: func(ctx context.Context, _, address string) (net.Conn, error) {
			if address != demoHost+":80" {
				return nil, errors.New("no such service")
			}
			var nd net.Dialer
			return nd.DialContext(ctx, "unix", filepath.Join(d.dir, "wiki.sock"))
		},
	})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	d.addr = l.Addr().String()
	var wg sync.WaitGroup
	wg.Go(func() { s.Serve(l) })
	d.closers = append(d.closers, func() { s.Shutdown(context.Background()); wg.Wait() })
	return nil
}

// newKey makes a key, and writes it to path unless that is empty.
func newKey(path string) (gossh.Signer, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	if path != "" {
		block, err := gossh.MarshalPrivateKey(key, "adit demo")
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			return nil, err
		}
	}
	return gossh.NewSignerFromKey(key)
}

// commands prints what can be tried by hand.
func (d *demo) commands(local, proxy net.Addr) {
	_, port, _ := net.SplitHostPort(d.addr)
	d.printf(`
Still running. Try, in another terminal:
  curl http://%s/hello
  curl -x socks5h://%s http://%s/hello
  ssh -F none -N -i %s/id_demo -o UserKnownHostsFile=%s/known_hosts -p %s -L 8080:%s:80 demo@127.0.0.1
      and then: curl http://127.0.0.1:8080/hello
  adit ssh -N -i %s/id_demo -o UserKnownHostsFile=%s/known_hosts -p %s -D 1080 demo@127.0.0.1
A database would be reached alike:
  adit ssh -N -L 5432:db.private:5432 you@bastion      and then: psql -h 127.0.0.1
Ctrl-C ends it.
`, local, proxy, demoHost, d.dir, d.dir, port, demoHost, d.dir, d.dir, port)
}

// login returns what the key exchange agreed on.
func (d *demo) login() (agreed string) {
	for _, r := range d.trace.Records() {
		if k, ok := r.Event.(trace.KexDone); ok {
			agreed = k.Kex + ", " + k.CipherOut
		}
	}
	return agreed
}

// showLadder shows the messages about channels since the last time, once every
// channel was closed from both sides.
func (d *demo) showLadder(ctx context.Context) error {
	opens, closes := 0, 0
	err := d.trace.Wait(ctx, func(e trace.Event) bool {
		switch p, _ := e.(trace.Packet); p.Num {
		case wire.NumChannelOpen:
			opens++
		case wire.NumChannelClose:
			closes++
		}
		return opens > d.channels && closes == 2*opens
	})
	if err != nil {
		return fmt.Errorf("the channel was not closed: %w", err)
	}
	d.channels = opens
	records := d.trace.Records()
	var seen []trace.Record
	for _, r := range records[d.shown:] {
		p, message := r.Event.(trace.Packet)
		f, _ := r.Event.(trace.Forward)
		if message && p.Num >= wire.NumChannelOpen || f.What == "accept" {
			seen = append(seen, r)
		}
	}
	header := trace.Header{Level: trace.LevelPacket}
	if err := view.NewLadder(header, trace.Entries(seen)).WriteText(d.out, terminalOptions(d.out == os.Stdout)); err != nil {
		return err
	}
	d.shown = len(records)
	return nil
}
