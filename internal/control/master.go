//go:build unix

package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/internal/forward"
	"github.com/adit-ssh/adit/internal/wire"
)

// maxClients is how many clients may be connected at once: each may hold four of
// our descriptors. More are turned away.
const maxClients = 1024

// Config is what a master serves its clients with.
type Config struct {
	// Client is the connection that is shared. It outlives the Master.
	Client *adit.Client
	// Host is how questions name the server.
	Host string
	// Confirm asks a person whether a client may have what it asks for
	// (ControlMaster ask). Nil lets it.
	Confirm func(ctx context.Context, question string) bool
	// Env returns which variables a session gets, NAME=value, of those that its
	// client has sent: some of them, and the master's own (SendEnv, SetEnv). Nil is
	// none.
	Env func(sent []string) []string
	// ForwardAgent has the server's programs use the agent, before a session that
	// asks for it has any. Nil forwards none.
	ForwardAgent func(ctx context.Context, session *adit.Conn) error
	// ListChannels lists the connection's open channels, after a line of its own,
	// for ~# of a client's session. Nil lists none.
	ListChannels func() string
	// Forwards are those that there are already: clients may cancel them.
	Forwards []Forward
	// Forwarding is what the configuration says of all forwards.
	Forwarding forward.Config
	// Notice tells the master's own user, who is not the client's, what went
	// wrong. The text is printable.
	Notice func(text string)
}

// Master serves the clients of a control socket.
//
// Goroutines: one that accepts; one that passes window changes on; one for each
// client, and for its session those of session.run. Close waits for all.
type Master struct {
	// Immutable.
	cfg        Config
	l          *Listener
	channels   func() int // how many are open on the connection
	lifetime   context.Context
	cancel     context.CancelFunc
	terminated chan struct{} // closed when a client asked us to end
	terminate  func()
	stopped    chan struct{} // closed when a client asked us to take no others
	stop       func()
	wg         sync.WaitGroup

	mu       sync.Mutex
	clients  map[*client]struct{} // guarded by mu
	forwards []Forward            // guarded by mu
	sessions uint32               // guarded by mu: how many there were
	used     time.Time            // guarded by mu: when the last client left
	left     chan struct{}        // guarded by mu: closed when the last client leaves; nil without clients
	closed   bool                 // guarded by mu
}

// Serve serves l's clients until Close. It owns l.
func Serve(l *Listener, cfg Config) *Master {
	ctx, cancel := context.WithCancel(context.Background())
	terminated, stopped := make(chan struct{}), make(chan struct{})
	m := &Master{
		cfg: cfg, l: l, channels: cfg.Client.Channels, lifetime: ctx, cancel: cancel, terminated: terminated,
		terminate: sync.OnceFunc(func() { close(terminated) }),
		stopped:   stopped, stop: sync.OnceFunc(func() { close(stopped) }),
		clients: map[*client]struct{}{}, forwards: slices.Clone(cfg.Forwards), used: time.Now(),
	}
	m.wg.Go(m.accept)
	winch := make(chan os.Signal, 1)
	signal.Notify(winch, syscall.SIGWINCH)
	m.wg.Go(func() {
		defer signal.Stop(winch)
		m.followWindows(winch)
	})
	return m
}

// Terminated is closed when a client has asked the master to end (-O exit).
func (m *Master) Terminated() <-chan struct{} { return m.terminated }

// Stopped is closed when a client has asked the master to take no others (-O stop).
func (m *Master) Stopped() <-chan struct{} { return m.stopped }

// Close removes the socket, ends all clients and waits for them. It leaves the
// connection open.
func (m *Master) Close() error {
	err := m.l.Close()
	m.cancel()
	m.mu.Lock()
	m.closed = true
	for c := range m.clients {
		c.conn.c.Close()
	}
	m.mu.Unlock()
	m.wg.Wait()
	m.mu.Lock()
	forwards := slices.DeleteFunc(m.forwards, func(f Forward) bool {
		return slices.ContainsFunc(m.cfg.Forwards, func(own Forward) bool { return own.Running == f.Running })
	})
	m.forwards = nil
	m.mu.Unlock()
	for _, f := range forwards {
		err = errors.Join(err, f.Running.Close())
	}
	return err
}

// Drain waits until no client is left, or ctx is done.
func (m *Master) Drain(ctx context.Context) {
	for {
		m.mu.Lock()
		left := m.left
		m.mu.Unlock()
		if left == nil {
			return
		}
		select {
		case <-left:
		case <-ctx.Done():
			return
		}
	}
}

// stillOpen is how often the end of connections is looked for that belong to no
// client.
const stillOpen = time.Second

// Idle waits until there has been neither a client nor a channel on the
// connection for as long as timeout (ControlPersist), or ctx is done. It reports
// whether that has come to pass. Channels without a client, those of forwards,
// are looked for once in a second.
func (m *Master) Idle(ctx context.Context, timeout time.Duration) bool {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return false
		}
		m.mu.Lock()
		left, used := m.left, m.used
		busy := m.channels() > 0
		if busy && left == nil {
			m.used = time.Now()
		}
		m.mu.Unlock()
		switch {
		case left != nil:
			select {
			case <-left:
			case <-ctx.Done():
				return false
			}
			timer.Reset(timeout)
		case busy:
			timer.Reset(stillOpen)
		case time.Since(used) >= timeout:
			return true
		default:
			timer.Reset(timeout - time.Since(used))
		}
	}
}

// accept serves each client on a goroutine of its own.
func (m *Master) accept() {
	for {
		c, refused, err := m.l.accept()
		if err != nil {
			if temporary(err) {
				select {
				case <-m.lifetime.Done():
					return
				case <-time.After(stillOpen): // no descriptors are left; some will be
				}
				continue
			}
			return
		}
		if refused != nil {
			m.notice("%v", refused)
			continue
		}
		cl := &client{m: m, conn: &conn{c: c}}
		if !m.enter(cl) {
			c.Close()
			continue
		}
		m.wg.Go(func() {
			defer m.leave(cl)
			cl.serve()
		})
	}
}

// temporary reports whether accepting may work again.
func temporary(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ECONNABORTED) ||
		errors.Is(err, syscall.ENOBUFS) || errors.Is(err, syscall.ENOMEM)
}

func (m *Master) enter(c *client) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || len(m.clients) >= maxClients {
		return false
	}
	if m.left == nil {
		m.left = make(chan struct{})
	}
	m.clients[c] = struct{}{}
	return true
}

func (m *Master) leave(c *client) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.clients, c)
	if len(m.clients) == 0 {
		close(m.left)
		m.left, m.used = nil, time.Now()
	}
}

// newSessionID returns a number for a session.
func (m *Master) newSessionID() uint32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sessions++
	return m.sessions
}

// followWindows tells the server of the new size of each session's terminal: the
// client whose terminal it is sends us its SIGWINCH.
func (m *Master) followWindows(winch <-chan os.Signal) {
	for {
		select {
		case <-m.lifetime.Done():
			return
		case <-winch:
		}
		m.mu.Lock()
		clients := make([]*client, 0, len(m.clients))
		for c := range m.clients {
			clients = append(clients, c)
		}
		m.mu.Unlock()
		for _, c := range clients {
			if p := c.running(); p != nil {
				p.windowChanged(wire.WindowChange{})
			}
		}
	}
}

func (m *Master) notice(format string, args ...any) {
	if m.cfg.Notice != nil {
		m.cfg.Notice(fmt.Sprintf(format, args...))
	}
}

// confirmed asks the person, if that is wanted.
func (m *Master) confirmed(question string) bool {
	return m.cfg.Confirm == nil || m.cfg.Confirm(m.lifetime, question)
}

// hungUp reports whether an error is only a peer that has gone.
func hungUp(err error) bool {
	return errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
}
