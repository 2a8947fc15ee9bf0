package forward

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/adit-ssh/adit/internal/testnet"
	"github.com/adit-ssh/adit/internal/testpeer"
	"github.com/adit-ssh/adit/trace"
)

// proxyClient is the client side of one protocol: what it sends for
// "db.internal:80", and what it makes of the answer.
type proxyClient struct {
	name    string
	send    string
	granted string
	refused map[string]string // by the open's error, how the answer begins
}

const (
	errRefused    = "refused"
	errProhibited = "prohibited"
	errNoHost     = "no host"
	errTimeout    = "timed out"
	errShortage   = "shortage"
	errNoRoute    = "no route"
	errNoNet      = "no network"
)

var openErrors = map[string]error{
	errRefused:    openFailure{2, "Connection refused"},
	errProhibited: openFailure{1, "open failed"},
	errNoHost:     openFailure{2, "Name or service not known"},
	errTimeout:    openFailure{2, "Connection timed out"},
	errShortage:   openFailure{4, ""},
	errNoRoute:    openFailure{2, "No route to host"},
	errNoNet:      openFailure{2, "Network is unreachable"},
}

func reply5(code string) string { return "\x05\x00\x05" + code + "\x00\x01\x00\x00\x00\x00\x00\x00" }

var proxyClients = []proxyClient{
	{"SOCKS4a", "\x04\x01\x00\x50\x00\x00\x00\x01\x00db.internal\x00", "\x00\x5a\x00\x00\x00\x00\x00\x00",
		map[string]string{errRefused: "\x00\x5b", errProhibited: "\x00\x5b", errNoHost: "\x00\x5b", errTimeout: "\x00\x5b", errShortage: "\x00\x5b", errNoRoute: "\x00\x5b", errNoNet: "\x00\x5b"}},
	{"SOCKS5", "\x05\x01\x00\x05\x01\x00\x03\x0bdb.internal\x00\x50", reply5("\x00"),
		map[string]string{errRefused: reply5("\x05"), errProhibited: reply5("\x02"), errNoHost: reply5("\x04"), errTimeout: reply5("\x06"), errShortage: reply5("\x01"), errNoRoute: reply5("\x04"), errNoNet: reply5("\x03")}},
	{"CONNECT", "CONNECT db.internal:80 HTTP/1.1\r\nHost: db.internal:80\r\n\r\n", "HTTP/1.1 200 Connection established\r\n\r\n",
		map[string]string{errRefused: "HTTP/1.1 502 ", errProhibited: "HTTP/1.1 403 ", errNoHost: "HTTP/1.1 502 ", errTimeout: "HTTP/1.1 504 ", errShortage: "HTTP/1.1 503 ", errNoRoute: "HTTP/1.1 502 ", errNoNet: "HTTP/1.1 502 "}},
}

func TestDynamic(t *testing.T) {
	testnet.Census(t)
	s := &server{hosts: map[string]string{"db.internal:80": testnet.ServeTCP(t, echoAfterEOF)}}
	f := start(t, "0", Config{Open: s.open})
	for i, p := range proxyClients {
		t.Run(p.name, func(t *testing.T) {
			c := connect(t, f)
			// All at once: what follows the request must not be lost.
			io.WriteString(c, p.send+"hello")
			c.CloseWrite()
			got, err := io.ReadAll(c)
			if want := p.granted + `you said "hello"`; string(got) != want || err != nil {
				t.Errorf("read %q, %v; want %q", got, err, want)
			}
			want := ask{"db.internal:80", c.LocalAddr().(*net.TCPAddr).AddrPort()}
			if got := s.asks(); len(got) != i+1 || got[i] != want {
				t.Errorf("the server was asked for %v, want %v last", got, want)
			}
		})
	}
}

// The answer tells the true reason.
func TestDynamicRefused(t *testing.T) {
	testnet.Census(t)
	for reason, openErr := range openErrors {
		s := &server{errs: map[string]error{"db.internal:80": openErr}}
		var ev events
		f := start(t, "0", Config{Open: s.open, Tracer: &ev})
		for i, p := range proxyClients {
			t.Run(p.name+", "+reason, func(t *testing.T) {
				c := connect(t, f)
				// More than is read before the refusal.
				io.WriteString(c, p.send+strings.Repeat("more", 1000))
				got, err := io.ReadAll(c)
				if !strings.HasPrefix(string(got), p.refused[reason]) || err != nil {
					t.Errorf("read %q, %v; want %q", got, err, p.refused[reason])
				}
				until(t, "the refusal is told", func() bool { return len(ev.of("refused")) == i+1 })
				if got := ev.of("refused")[i]; got.Target != "db.internal:80" || got.Err != openErr.Error() {
					t.Errorf("event %+v", got)
				}
			})
		}
	}
}

func TestDynamicBadClients(t *testing.T) {
	testnet.Census(t)
	s := &server{}
	var ev events
	f := start(t, "0", Config{Open: s.open, Tracer: &ev})
	for _, tt := range []struct{ name, send, want string }{
		{"bind", "\x05\x01\x00\x05\x02\x00\x01\x7f\x00\x00\x01\x00\x50", reply5("\x07")},
		{"no authentication offered", "\x05\x01\x02", "\x05\xff"},
		{"a large POST", "POST / HTTP/1.1\r\nContent-Length: 200000\r\n\r\n" + strings.Repeat("x", 200000), "HTTP/1.1 405 Method Not Allowed\r\n"},
		{"TLS", "\x16\x03\x01", ""},
		{"noise", "\xff\xfe\xfd", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := len(ev.of("refused"))
			c := connect(t, f)
			io.WriteString(c, tt.send)
			got, err := io.ReadAll(c)
			if !strings.HasPrefix(string(got), tt.want) || tt.want == "" && len(got) > 0 || err != nil {
				t.Errorf("read %q, %v; want %q", got, err, tt.want)
			}
			until(t, "the refusal is told", func() bool { return len(ev.of("refused")) == n+1 })
		})
	}
	// Who only looks is no news.
	c := connect(t, f)
	c.CloseWrite()
	io.ReadAll(c)
	if n := len(ev.of("refused")); n != 5 {
		t.Errorf("%d refusals were told, want 5", n)
	}
	if got := s.asks(); len(got) != 0 {
		t.Errorf("the server was asked for %v", got)
	}
}

// curl speaks all four, and is not ours.
func TestDynamicCurl(t *testing.T) {
	testpeer.Need(t, "curl")
	testnet.Census(t)
	web := testnet.ServeTCP(t, func(c *net.TCPConn) {
		line, err := bufio.NewReader(c).ReadString('\n')
		if err == nil {
			io.WriteString(c, "HTTP/1.0 200 OK\r\n\r\n"+line)
		}
	})
	s := &server{hosts: map[string]string{"db.internal:80": web, "10.9.8.7:80": web, "[2001:db8::1]:80": web},
		errs: map[string]error{"refused.internal:80": openFailure{2, "Connection refused"}}}
	f := start(t, "0", Config{Open: s.open})
	addr := f.Addr().String()
	run := func(url string, args ...string) (string, int) {
		cmd := exec.Command("curl", append([]string{"-sS", "-m", "20", url}, args...)...)
		out, err := cmd.CombinedOutput()
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			return string(out), exit.ExitCode()
		}
		if err != nil {
			t.Fatal(err)
		}
		return string(out), 0
	}
	for _, tt := range []struct {
		name, host string
		args       []string
		refused    int // curl's status for a refused target
	}{
		{"socks4", "10.9.8.7", []string{"--socks4", addr}, 97},
		{"socks4a", "db.internal", []string{"--socks4a", addr}, 97},
		{"socks5", "10.9.8.7", []string{"--socks5", addr}, 97},
		{"socks5 IPv6", "[2001:db8::1]", []string{"--socks5", addr}, 97},
		{"socks5-hostname", "db.internal", []string{"--socks5-hostname", addr}, 97},
		{"connect", "db.internal", []string{"-p", "-x", "http://" + addr}, 56},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := len(s.asks())
			out, status := run("http://"+tt.host+"/page", tt.args...)
			if status != 0 || out != "GET /page HTTP/1.1\r\n" {
				t.Errorf("curl printed %q, status %d", out, status)
			}
			if got := s.asks()[n:]; len(got) != 1 || got[0].target != tt.host+":80" {
				t.Errorf("the server was asked for %v, want %s:80", got, tt.host)
			}
			if strings.HasSuffix(tt.name, "4") || tt.name == "socks5" || strings.HasSuffix(tt.name, "6") {
				return // Names are looked up by curl.
			}
			out, status = run("http://refused.internal/", tt.args...)
			if status != tt.refused {
				t.Errorf("refused: curl printed %q, status %d, want %d", out, status, tt.refused)
			}
		})
	}
}

// The originator is the proxy's client, over IPv6 too.
func TestDynamicOriginator(t *testing.T) {
	needIPv6(t)
	testnet.Census(t)
	s := &server{hosts: map[string]string{"db.internal:80": testnet.ServeTCP(t, echoAfterEOF)}}
	f, err := Listen(t.Context(), Spec{Bind: "::1", Dynamic: true}, Config{Open: s.open})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c := connect(t, f)
	io.WriteString(c, proxyClients[1].send)
	c.CloseWrite()
	io.ReadAll(c)
	want := ask{"db.internal:80", c.LocalAddr().(*net.TCPAddr).AddrPort()}
	if got := s.asks(); len(got) != 1 || got[0] != want || !want.originator.Addr().Is6() {
		t.Errorf("the server was asked for %v, want %v", got, want)
	}
}

// One slow client does not keep others waiting.
func TestDynamicSlowClient(t *testing.T) {
	testnet.Census(t)
	s := &server{hosts: map[string]string{"db.internal:80": testnet.ServeTCP(t, echoAfterEOF)}}
	f := start(t, "0", Config{Open: s.open})
	var slow []net.Conn
	for range 20 {
		c := connect(t, f)
		io.WriteString(c, "\x05\x01")
		slow = append(slow, c)
	}
	var wg sync.WaitGroup
	for _, p := range slices.Concat(proxyClients, proxyClients) {
		wg.Go(func() {
			c := connect(t, f)
			io.WriteString(c, p.send)
			c.CloseWrite()
			if got, err := io.ReadAll(c); string(got) != p.granted+`you said ""` || err != nil {
				t.Errorf("%s read %q, %v", p.name, got, err)
			}
		})
	}
	wg.Wait()
	for _, c := range slow {
		c.Close()
	}
}

// A tracer that wants nothing costs no events.
func TestDynamicUntraced(t *testing.T) {
	f := &Forwarder{cfg: Config{Tracer: deaf{}}}
	if n := testing.AllocsPerRun(100, func() { f.emit(trace.Forward{What: "open"}) }); n != 0 {
		t.Errorf("%v allocations for an event that nobody wants", n)
	}
}

type deaf struct{ *events }

func (deaf) Level() trace.Level { return trace.LevelOff }
