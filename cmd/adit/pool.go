package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/internal/forward"
	"github.com/adit-ssh/adit/sshconfig"
	"github.com/adit-ssh/adit/trace"
)

// Times of a pool.
const (
	// poolPatience is how long a connection waits for one of its own to come up,
	// when the program has just begun.
	poolPatience = 5 * time.Second
	// poolLogin is how long one may take to come up.
	poolLogin = 2 * time.Minute
	// poolRetry and poolRetryMost are the waits before it is tried again; one that
	// lived for poolSteady begins with the first.
	poolRetry     = time.Second
	poolRetryMost = time.Minute
	poolSteady    = time.Minute
)

// pool is several SSH connections to one server, over which the connections of -L
// and -D are spread: in each of AWS's sessions the agent sends 0.8 MB/s at most, and
// several add up. The first connection has all else, and the program ends with it.
//
// Goroutines: one for each further connection, which makes it, and again when it
// has ended. close waits for them.
type pool struct {
	// Immutable after start.
	a        *sshArgs
	first    *member
	cfg      *adit.Config // of the further ones
	target   string
	lifetime context.Context
	stop     context.CancelFunc
	turn     chan struct{} // holds one: who connects

	// What the first login showed. Set before start.
	hostKey   gossh.PublicKey
	algorithm string // of hostKey

	mu      sync.Mutex
	members []*member     // guarded by mu: those that are up, the first among them
	last    *member       // guarded by mu: whose turn it was
	coming  int           // guarded by mu: whose first attempt is not over
	changed chan struct{} // guarded by mu: closed when coming or members change

	wg sync.WaitGroup
}

// member is one connection.
type member struct {
	client   *adit.Client
	channels func() int // the client's
	opening  int        // channels that are being opened; guarded by pool.mu
}

func newMember() *member {
	m := new(member)
	m.channels = func() int { return m.client.Channels() }
	return m
}

// newPool prepares the first connection's configuration for a pool; nil if there is
// to be none: not for a shell that forwards nothing, unless others may share it.
func (a *sshArgs) newPool(cfg *adit.Config, conf *sshconfig.Config) *pool {
	spreads := slices.ContainsFunc(a.forwards, func(s forward.Spec) bool { return !s.Remote })
	shared := controlPath(conf) != "" && conf.ControlMaster != "no"
	if a.sessions < 2 || a.proxied != nil || !spreads && !shared {
		return nil
	}
	p := &pool{a: a, turn: make(chan struct{}, 1), changed: make(chan struct{})}
	p.first = newMember()
	a.KeepKeys = true
	check := cfg.CheckHostKey
	cfg.CheckHostKey = func(host, algorithm string, key gossh.PublicKey) error {
		err := check(host, algorithm, key)
		if err == nil {
			p.hostKey, p.algorithm = key, algorithm
		}
		return err
	}
	return p
}

// start begins to make the further connections. They ask nobody and accept no key
// but the first one's. Each logs in by itself: a key that somebody has to confirm
// or to touch is asked for each time, an unlocked one is not.
func (p *pool) start(ctx context.Context, c *adit.Client, tracer trace.Tracer) error {
	if p == nil || c.Unverified() || p.hostKey == nil {
		return nil
	}
	quiet := p.a.Options
	quiet.Prompter, quiet.Notice, quiet.Say, quiet.Tracer = nil, nil, func(string, string) {}, tracer
	cfg, err := quiet.Config()
	if err != nil {
		return err
	}
	if p.target, err = quiet.Target(); err != nil {
		return err
	}
	cfg.CheckHostKey, cfg.HostKeyAlgorithms, cfg.ServerKeys = adit.FixedHostKey(p.hostKey), []string{p.algorithm}, nil
	if err := p.a.pushing.again(cfg); err != nil {
		return err
	}
	p.cfg = cfg
	p.first.client = c
	p.members, p.coming = []*member{p.first}, p.a.sessions-1
	p.lifetime, p.stop = context.WithCancel(context.WithoutCancel(ctx))
	p.a.forwarding.Open, p.a.forwarding.OpenPath = p.open, p.openPath
	for n := range p.coming {
		p.wg.Go(func() { p.keep(n + 2) })
	}
	return nil
}

// keep makes one connection, and again when it has ended.
func (p *pool) keep(number int) {
	pause, came, told := poolRetry, false, false
	for {
		m, final, err := p.connect()
		if !came {
			came = true
			p.change(func() { p.coming-- })
		}
		switch {
		case p.lifetime.Err() != nil:
			if m != nil {
				m.client.Close()
			}
			return
		case err == nil:
			began := time.Now()
			told = false
			p.change(func() { p.members = append(p.members, m) })
			select {
			case <-m.client.Done():
			case <-p.lifetime.Done():
			}
			p.remove(m)
			if lost := m.client.Err(); lost != nil && p.lifetime.Err() == nil {
				p.a.Say("VERBOSE", fmt.Sprintf("session %d of %d has ended, and is made anew: %v", number, p.a.sessions, lost))
			}
			m.client.Close()
			if time.Since(began) >= poolSteady {
				pause = poolRetry
			}
		case final:
			p.a.Notice(fmt.Sprintf("warning: session %d of %d is left out: %v", number, p.a.sessions, err))
			return
		case !told:
			told = true
			p.a.Notice(fmt.Sprintf("warning: session %d of %d is not there, and is tried again: %v", number, p.a.sessions, err))
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-p.lifetime.Done():
			timer.Stop()
			return
		}
		pause = min(2*pause, poolRetryMost)
	}
}

// connect makes a connection, one at a time: the agent starts them one after the
// other anyway, and so does who has to confirm. final says that it would be of no use to
// try again.
func (p *pool) connect() (m *member, final bool, err error) {
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-p.lifetime.Done():
		return nil, true, context.Cause(p.lifetime)
	}
	ctx, cancel := context.WithTimeoutCause(p.lifetime, poolLogin, fmt.Errorf("no login within %v", poolLogin))
	defer cancel()
	p.a.pushing.mayPass() // of the login before
	m = newMember()
	m.client, err = adit.Dial(ctx, p.target, p.cfg)
	p.a.pushing.remove(p.lifetime)() // the key, once it has done its duty
	passes := p.a.pushing.mayPass()
	if err != nil {
		_, login := errors.AsType[*adit.AuthError](err)
		_, key := errors.AsType[*adit.HostKeyError](err)
		return nil, key || login && !passes, err
	}
	return m, false, nil
}

// change changes what is guarded by mu, and wakes who waits for it.
func (p *pool) change(do func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	do()
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *pool) remove(m *member) {
	p.change(func() {
		p.members = slices.DeleteFunc(p.members, func(other *member) bool { return other == m })
	})
}

// pick chooses a connection, and counts a channel that is being opened on it. While
// others are to come up at first, it waits rather than to take one that is in use.
func (p *pool) pick(ctx context.Context) *member {
	limit := time.NewTimer(poolPatience)
	defer limit.Stop()
	for patient := true; ; {
		p.mu.Lock()
		m, channels := p.leastLocked()
		changed := p.changed
		if channels == 0 || p.coming == 0 || !patient {
			m.opening++
			p.last = m
			p.mu.Unlock()
			return m
		}
		p.mu.Unlock()
		select {
		case <-changed:
		case <-limit.C:
			patient = false
		case <-ctx.Done():
			patient = false
		}
	}
}

// leastLocked is the member that has the fewest channels. Of equals it is the next
// one. A channel that is being opened counts before the connection knows of it.
func (p *pool) leastLocked() (least *member, channels int) {
	after := slices.Index(p.members, p.last) + 1
	for i := range p.members {
		m := p.members[(after+i)%len(p.members)]
		if n := max(m.channels(), m.opening); least == nil || n < channels {
			least, channels = m, n
		}
	}
	return least, channels
}

// through does something with a connection, and with another one if that has ended
// meanwhile.
func (p *pool) through(ctx context.Context, do func(*adit.Client) error) error {
	for {
		m := p.pick(ctx)
		err := do(m.client)
		p.mu.Lock()
		m.opening--
		p.mu.Unlock()
		if err == nil || m == p.first || m.client.Err() == nil {
			return err
		}
		p.remove(m)
	}
}

// open implements forward.Opener.
func (p *pool) open(ctx context.Context, host string, port uint16, originator netip.AddrPort) (opened forward.Conn, err error) {
	err = p.through(ctx, func(c *adit.Client) error {
		ch, err := c.OpenDirect(ctx, host, port, originator)
		opened = ch
		return err
	})
	if err != nil {
		return nil, err
	}
	return opened, nil
}

// openPath implements forward.PathOpener.
func (p *pool) openPath(ctx context.Context, path string) (opened forward.Conn, err error) {
	err = p.through(ctx, func(c *adit.Client) error {
		ch, err := c.DialContext(ctx, "unix", path)
		if err == nil {
			opened = ch.(*adit.Conn)
		}
		return err
	})
	return opened, err
}

// close ends all connections but the first.
func (p *pool) close() {
	if p == nil || p.stop == nil {
		return
	}
	p.stop()
	p.wg.Wait()
}
