package sshfp

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/adit-ssh/adit/internal/testpeer"
)

// serve answers on a port of loopback, over UDP and TCP.
func serve(t *testing.T, answer func(w dns.ResponseWriter, q *dns.Msg)) string {
	t.Helper()
	l, p := listenBoth(t)
	for _, s := range []*dns.Server{{Listener: l}, {PacketConn: p}} {
		up, down := make(chan struct{}), make(chan error, 1)
		s.Handler, s.NotifyStartedFunc = dns.HandlerFunc(answer), func() { close(up) }
		go func() { down <- s.ActivateAndServe() }()
		select {
		case <-up:
		case err := <-down:
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Shutdown(); <-down })
	}
	return l.Addr().String()
}

// listenBoth listens on one port for TCP and UDP. What the system chose for one may
// be taken for the other.
func listenBoth(t *testing.T) (net.Listener, net.PacketConn) {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if p, err := net.ListenPacket("udp", l.Addr().String()); err == nil {
			return l, p
		}
		l.Close()
	}
	t.Fatal("each port that is free for TCP is taken for UDP")
	return nil, nil
}

// records are a key's, as ssh-keygen prints them.
func records(t *testing.T, k *testpeer.Key) (all []dns.RR) {
	t.Helper()
	out, err := exec.Command("ssh-keygen", "-r", "db.example.", "-f", k.Path+".pub").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		rr, err := dns.NewRR(line)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, rr)
	}
	return all
}

// What ssh-keygen -r prints matches the key it prints it for, of every type, and
// differs from others.
func TestJudgesWhatSSHKeygenPrints(t *testing.T) {
	testpeer.Need(t, "ssh-keygen")
	var all atomic.Pointer[[]dns.RR]
	server := serve(t, func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		for _, rr := range *all.Load() {
			m.Answer = append(m.Answer, dns.Copy(rr))
		}
		w.WriteMsg(m)
	})
	r := &Resolver{Servers: []string{server}}
	for _, typ := range []string{"ed25519", "rsa", "ecdsa"} {
		k, other := testpeer.NewKey(t, typ), testpeer.NewKey(t, typ)
		foreign := testpeer.NewKey(t, map[string]string{"ed25519": "rsa", "rsa": "ecdsa", "ecdsa": "ed25519"}[typ])
		mine, others := records(t, k), records(t, other)
		for what, c := range map[string]struct {
			records []dns.RR
			want    Verdict
		}{
			"its records":                {mine, Matches},
			"SHA-1 only":                 {mine[:1], Matches},
			"none":                       {nil, Silent},
			"another key's":              {others, Differs},
			"both":                       {slices.Concat(mine, others), Differs},
			"another type's":             {records(t, foreign), Differs},
			"its own and another type's": {slices.Concat(records(t, foreign), mine), Matches},
			"an unknown digest":          {[]dns.RR{&dns.SSHFP{Hdr: *mine[0].Header(), Algorithm: mine[0].(*dns.SSHFP).Algorithm, Type: 9, FingerPrint: "00"}}, Differs},
		} {
			all.Store(&c.records)
			a, err := r.Lookup(t.Context(), "db.example")
			if err != nil {
				t.Fatal(err)
			}
			if got := a.Judge(k.Public); got != c.want {
				t.Errorf("%s, %s: %v, want %v", typ, what, got, c.want)
			}
			if a.Secure {
				t.Errorf("%s, %s: the answer counts as validated", typ, what)
			}
		}
	}
}

// answers is a server whose n-th answer is that of the n-th function, the last one
// for ever.
func answers(t *testing.T, fs ...func(w dns.ResponseWriter, q *dns.Msg)) string {
	n := make(chan int, 1)
	n <- 0
	return serve(t, func(w dns.ResponseWriter, q *dns.Msg) {
		i := <-n
		n <- i + 1
		fs[min(i, len(fs)-1)](w, q)
	})
}

func TestLookup(t *testing.T) {
	rr, err := dns.NewRR("db.example. IN SSHFP 4 2 0011")
	if err != nil {
		t.Fatal(err)
	}
	good := func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		m.Answer = []dns.RR{&dns.CNAME{Hdr: dns.RR_Header{Name: "db.example.", Rrtype: dns.TypeCNAME, Class: dns.ClassINET}, Target: "x.example."}, dns.Copy(rr)}
		m.AuthenticatedData = q.AuthenticatedData
		w.WriteMsg(m)
	}
	fails := func(code int) func(w dns.ResponseWriter, q *dns.Msg) {
		return func(w dns.ResponseWriter, q *dns.Msg) { w.WriteMsg(new(dns.Msg).SetRcode(q, code)) }
	}
	short := func(w dns.ResponseWriter, q *dns.Msg) {
		if w.RemoteAddr().Network() != "udp" {
			good(w, q)
			return
		}
		m := new(dns.Msg).SetReply(q)
		m.Truncated = true
		w.WriteMsg(m)
	}
	noise := func(w dns.ResponseWriter, q *dns.Msg) { w.Write([]byte{1, 2, 3}) }
	strange := func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		m.Id++
		w.WriteMsg(m)
	}
	silent := func(w dns.ResponseWriter, q *dns.Msg) {}
	for what, c := range map[string]struct {
		servers []string
		host    string
		trust   bool
		records int
		secure  bool
		err     string
	}{
		"an answer":              {[]string{answers(t, good)}, "db.example", false, 1, false, ""},
		"a validated one":        {[]string{answers(t, good)}, "db.example", true, 1, true, ""},
		"too long for UDP":       {[]string{answers(t, short)}, "db.example", true, 1, true, ""},
		"no such name":           {[]string{answers(t, fails(dns.RcodeNameError))}, "db.example", true, 0, false, ""},
		"the second server":      {[]string{answers(t, fails(dns.RcodeServerFailure)), answers(t, good)}, "db.example", false, 1, false, ""},
		"the second attempt":     {[]string{answers(t, silent, good)}, "db.example", false, 1, false, ""},
		"noise":                  {[]string{answers(t, noise)}, "db.example", false, 0, false, "name server 127.0.0.1:"},
		"somebody else's answer": {[]string{answers(t, strange)}, "db.example", false, 0, false, "name server 127.0.0.1:"},
		"silence":                {[]string{answers(t, silent)}, "db.example", false, 0, false, "timeout"},
		"refused":                {[]string{answers(t, fails(dns.RcodeRefused))}, "db.example", false, 0, false, "REFUSED"},
		"no servers":             {nil, "db.example", false, 0, false, "no name servers are known"},
		"an address":             {[]string{answers(t, good)}, "::1", false, 0, false, "an address has no fingerprints in DNS"},
		"no name":                {[]string{answers(t, good)}, strings.Repeat("a", 300), false, 0, false, "name server"},
	} {
		t.Run(what, func(t *testing.T) {
			r := &Resolver{Servers: c.servers, Attempts: 2, Timeout: 200 * time.Millisecond, TrustAD: c.trust}
			a, err := r.Lookup(t.Context(), c.host)
			if c.err == "" != (err == nil) || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Fatalf("error %v, want %q", err, c.err)
			}
			if len(a.Records) != c.records || a.Secure != c.secure {
				t.Errorf("%d records, secure %v; want %d, %v", len(a.Records), a.Secure, c.records, c.secure)
			}
		})
	}
}

func TestSystem(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	for text, c := range map[string]struct {
		options string
		servers string
		trust   bool
	}{
		"nameserver 10.0.0.1\nnameserver ::1\noptions edns0 trust-ad\n": {"", "10.0.0.1:53 [::1]:53", true},
		"nameserver 10.0.0.1\n":                     {"", "10.0.0.1:53", false},
		"# options trust-ad\nnameserver 10.0.0.1\n": {"ndots:2", "10.0.0.1:53", false},
		"nameserver 10.0.0.2\n":                     {"trust-ad", "10.0.0.2:53", true},
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := System(path, c.options)
		if err != nil || strings.Join(r.Servers, " ") != c.servers || r.TrustAD != c.trust || r.Timeout <= 0 {
			t.Errorf("%q, %q: %+v, %v", text, c.options, r, err)
		}
	}
	if _, err := System(filepath.Join(t.TempDir(), "absent"), ""); err == nil {
		t.Error("a file that is not there has name servers")
	}
}
