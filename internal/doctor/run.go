package doctor

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
	"unicode"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/internal/setup"
	"github.com/adit-ssh/adit/sshconfig"
	"github.com/adit-ssh/adit/trace"
)

// defaultPatience bounds each stage where ConnectTimeout does not say. It is
// libssh's own limit for all of a connection.
const defaultPatience = 10 * time.Second

// Options say what to examine.
type Options struct {
	// SSH is the host and the command line, as for `adit ssh`.
	SSH sshconfig.Options
	// Complete sets what the configuration does not say, such as Options.Proxy,
	// once its host's name and way are known; nil sets nothing.
	Complete func(*setup.Options) error
	// GUI tells that the process runs in the surroundings of a program started
	// from the desktop, and what the person has otherwise; nil for no such thing.
	GUI *Surroundings
}

// Surroundings are the parts of an environment that matter to a connection.
type Surroundings struct {
	AuthSock string // SSH_AUTH_SOCK
	Path     string // PATH
}

// exam is one examination. It is used by one goroutine.
type exam struct {
	o       Options
	r       *Report
	conf    *sshconfig.Config
	set     setup.Options
	cfg     *adit.Config
	address string // host:port to dial
	limit   time.Duration
	notices []string // what setup would tell the person

	nc        net.Conn  // to the server, until client has it
	way       net.Conn  // the same, for what it knows about itself
	connected time.Time // when the SSH connection began
	ended     time.Time // when the login was over, or had failed
	client    *adit.Client
	err       error // why there is no client
	agentGone bool  // it did not answer
	shown     shown
	keys      map[string]string // where the keys to log in with come from, by type and fingerprint
	events    *trace.Recorder
}

// shown is the server's host key and what became of it.
type shown struct {
	at        time.Time // zero if there was none
	algorithm string
	key       gossh.PublicKey
	err       error
	took      time.Duration
}

// Run examines. ctx ends it early; what it had found by then is in the report.
func Run(ctx context.Context, o Options) *Report {
	e := &exam{o: o, r: &Report{Host: o.SSH.Host}, events: trace.NewRecorder(trace.LevelChannel, 4096)}
	if o.GUI != nil {
		e.r.As = "gui"
	}
	defer e.close()
	if !e.checkConfig(ctx) {
		return e.r
	}
	if o.GUI != nil {
		e.checkGUI()
	}
	e.checkAgent(ctx)
	if e.reach(ctx) && e.connect(ctx) {
		e.checkVersion()
		e.checkNegotiation()
		e.checkKex()
		e.checkHostKey()
		e.checkLogin()
	} else {
		for s := StageVersion; s <= StageLogin; s++ {
			e.skip(s, "", "there is no connection")
		}
	}
	e.checkBind(ctx)
	e.checkForwards(ctx)
	e.checkIdle(ctx)
	return e.r
}

// reach connects to the server, by whatever way.
func (e *exam) reach(ctx context.Context) bool {
	if !e.set.Direct() {
		return e.checkProxy(ctx)
	}
	addrs := e.checkName(ctx)
	return e.checkAddresses(ctx, addrs)
}

// connect makes the SSH connection and notes what happens. It reports whether it
// came as far as the server, or something in its place.
func (e *exam) connect(ctx context.Context) bool {
	check := e.cfg.CheckHostKey
	e.cfg.CheckHostKey = func(host, algorithm string, key gossh.PublicKey) error {
		at := time.Now()
		err := check(host, algorithm, key)
		e.shown = shown{at, algorithm, key, err, time.Since(at)}
		return err
	}
	if keys := e.cfg.Keys; keys != nil {
		e.cfg.Keys = func(ctx context.Context) ([]adit.Key, error) {
			found, err := keys(ctx)
			e.keys = map[string]string{}
			for _, k := range found {
				e.keys[k.PublicKey().Type()+" "+gossh.FingerprintSHA256(k.PublicKey())] = oneLine(k.Comment)
			}
			return found, err
		}
	}
	limit := 2 * e.limit
	if e.o.GUI != nil {
		limit = e.limit // libssh's for all of it
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("no answer within %v", limit))
	defer cancel()
	nc := e.nc
	e.way, e.nc, e.connected = nc, nil, time.Now()
	e.client, e.err = adit.NewClient(ctx, nc, e.address, e.conf.User, e.cfg)
	e.ended = time.Now()
	return !e.proxyFailed()
}

func (e *exam) close() {
	if e.nc != nil {
		e.nc.Close()
	}
	if e.client != nil {
		e.client.Close()
	}
}

func (e *exam) add(c Check) { e.r.Checks = append(e.r.Checks, c) }

func (e *exam) skip(s Stage, subject, why string) {
	e.add(Check{Stage: s, Subject: subject, Status: Skipped, Text: why})
}

// records are the events of the connection to the server itself: a jump host's
// come before it.
func (e *exam) records() []trace.Record {
	all := e.events.Records()
	return slices.DeleteFunc(all, func(r trace.Record) bool { return r.Time.Before(e.connected) })
}

// event returns the first event of a type, and when it was.
func event[T trace.Event](e *exam) (found T, at time.Time, ok bool) {
	for _, r := range e.records() {
		if t, is := r.Event.(T); is {
			return t, r.Time, true
		}
	}
	return found, at, false
}

// from returns the place that set a keyword, "" where nobody did.
func (e *exam) from(keyword string) string {
	if o := e.conf.Origin(keyword); o != (sshconfig.Origin{}) {
		return o.String()
	}
	return ""
}

// oneLine makes text of others printable, on one line.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case r == unicode.ReplacementChar || !unicode.IsPrint(r):
			return '?'
		}
		return r
	}, strings.TrimSpace(s))
}
