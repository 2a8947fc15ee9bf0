// Package bastion is an SSH server that only forwards: direct-tcpip channels to
// the targets that its policy allows, and nothing else. No shell, no files, no
// agent, no listeners.
//
// Server.Serve accepts connections until Shutdown. Who may log in and what they
// may reach is decided by Config.Authorize; Keys makes one of authorized_keys
// files.
package bastion

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/mux"
	"github.com/adit-ssh/adit/internal/transport"
	"github.com/adit-ssh/adit/internal/userauth"
	"github.com/adit-ssh/adit/trace"
)

// Defaults of Config.
const (
	DefaultLoginTimeout = 2 * time.Minute // OpenSSH's LoginGraceTime
	DefaultDialTimeout  = 30 * time.Second
	DefaultMaxStartups  = 100
	DefaultMaxConns     = 10000
	DefaultMaxChannels  = 16384
)

// Config configures a Server. It is not modified after use.
type Config struct {
	// HostKeys are the server's keys and certificates. Required.
	HostKeys []gossh.Signer
	// Authorize decides whether key may log in as user from remote, and what
	// for. nil permissions refuse. It is called for a question about a key, and
	// again when the key was proved. Required.
	Authorize func(ctx context.Context, user string, remote net.Addr, key gossh.PublicKey) *Permissions
	// Dial connects to targets. Nil is net.Dialer's.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// LoginTimeout bounds a connection until its login, DialTimeout a dial. 0
	// means the defaults.
	LoginTimeout, DialTimeout time.Duration
	// MaxStartups is how many connections may be without login at once,
	// MaxConns how many in all, MaxChannels how many channels each may have.
	// More are refused. 0 means the defaults.
	MaxStartups, MaxConns, MaxChannels int
	// Banner is shown before login.
	Banner string
	// Kex, Ciphers and MACs in order of preference. Nil means the defaults.
	Kex, Ciphers, MACs []string
	// RekeyBytes: 0 means the cipher's default.
	RekeyBytes uint64
	// NoCompression refuses compression, which clients may ask for otherwise
	// (zlib@openssh.com, after the login; sshd_config: Compression no). It costs
	// 1 MB of memory for each connection that has it.
	NoCompression bool
	// Tracer receives events. May be nil.
	Tracer trace.Tracer
	// KeyLog receives the secrets of each key exchange, as adit.Config.KeyLog
	// does. Nil, the default, writes none.
	KeyLog io.Writer
	// Log receives a line for what an operator wants to know: logins, refusals,
	// ends. May be nil.
	Log func(line string)
}

// ErrServerClosed is returned by Serve after Shutdown.
var ErrServerClosed = errors.New("bastion: server closed")

// Server is a forwarding-only SSH server.
//
// Goroutines: one for each connection, plus those of its transport and mux, plus
// one for each channel. Shutdown waits for all of them.
type Server struct {
	cfg      Config
	lifetime context.Context
	cancel   context.CancelFunc
	wg       sync.WaitGroup

	mu        sync.Mutex
	listeners map[net.Listener]struct{}
	conns     int // guarded by mu
	startups  int // guarded by mu
	closed    bool
}

// New returns a Server.
func New(cfg Config) (*Server, error) {
	if len(cfg.HostKeys) == 0 || cfg.Authorize == nil {
		return nil, errors.New("bastion: HostKeys and Authorize are required")
	}
	setDefault(&cfg.LoginTimeout, DefaultLoginTimeout)
	setDefault(&cfg.DialTimeout, DefaultDialTimeout)
	setDefault(&cfg.MaxStartups, DefaultMaxStartups)
	setDefault(&cfg.MaxConns, DefaultMaxConns)
	setDefault(&cfg.MaxChannels, DefaultMaxChannels)
	s := &Server{cfg: cfg, listeners: map[net.Listener]struct{}{}}
	s.lifetime, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// acceptPause is how long accepting rests after an error such as too many open
// files.
const acceptPause = 50 * time.Millisecond

// Serve accepts connections until Shutdown, when it returns ErrServerClosed. It
// closes l.
func (s *Server) Serve(l net.Listener) error {
	defer l.Close()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrServerClosed
	}
	s.listeners[l] = struct{}{}
	s.mu.Unlock()
	for {
		nc, err := l.Accept()
		if err != nil {
			if s.lifetime.Err() != nil {
				return ErrServerClosed
			}
			if errors.Is(err, net.ErrClosed) {
				return err
			}
			s.log("accept: %v", err)
			t := time.NewTimer(acceptPause)
			select {
			case <-t.C:
			case <-s.lifetime.Done():
				t.Stop()
			}
			continue
		}
		if !s.enter() {
			s.log("%s: refused: too many connections", nc.RemoteAddr())
			nc.Close()
			continue
		}
		s.wg.Go(func() {
			defer s.leave()
			s.serve(nc)
		})
	}
}

// enter counts a connection in, unless there are too many.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.conns >= s.cfg.MaxConns || s.startups >= s.cfg.MaxStartups {
		return false
	}
	s.conns++
	s.startups++
	return true
}

func (s *Server) leave() {
	s.mu.Lock()
	s.conns--
	s.mu.Unlock()
}

func (s *Server) started() {
	s.mu.Lock()
	s.startups--
	s.mu.Unlock()
}

// Shutdown stops accepting, ends all connections and waits until they have
// ended or ctx is done.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	s.cancel()
	for l := range s.listeners {
		l.Close()
	}
	s.mu.Unlock()
	ended := make(chan struct{})
	go func() { // ends when the last connection has
		s.wg.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// serve runs one connection.
func (s *Server) serve(nc net.Conn) {
	remote := nc.RemoteAddr()
	tracer, ended := s.trace(nc)
	defer ended()
	t, login, perm, err := s.login(nc, tracer)
	s.started()
	if err != nil {
		s.log("%s: no login: %v", remote, err)
		return
	}
	s.log("%s: %s logged in with %s %s", remote, login.User, login.Key.Type(), gossh.FingerprintSHA256(login.Key))
	c := &conn{s: s, user: login.User, remote: remote, perm: perm}
	_, peer := t.Versions()
	m := mux.New(t, mux.Config{
		Server: true, Open: c.open, MaxChannels: s.cfg.MaxChannels,
		PeerPaces: transport.QuirksOf(peer).Paces, Tracer: tracer,
	})
	stop := context.AfterFunc(s.lifetime, func() { t.Close() })
	<-m.Done()
	stop()
	m.Close()
	c.relays.Wait()
	s.log("%s: %s left: %v", remote, login.User, m.Err())
}

// login runs handshake and authentication within LoginTimeout.
func (s *Server) login(nc net.Conn, tracer trace.Tracer) (*transport.Conn, *userauth.Login, *Permissions, error) {
	ctx, cancel := context.WithTimeoutCause(s.lifetime, s.cfg.LoginTimeout, fmt.Errorf("not logged in within %v", s.cfg.LoginTimeout))
	defer cancel()
	t, err := transport.Server(ctx, nc, &transport.Config{
		HostKeys: s.cfg.HostKeys, Kex: s.cfg.Kex, Ciphers: s.cfg.Ciphers, MACs: s.cfg.MACs,
		Compression: s.cfg.compression(), RekeyBytes: s.cfg.RekeyBytes, Extensions: userauth.ServerExtensions(), Tracer: tracer, KeyLog: s.cfg.KeyLog,
	})
	if err != nil {
		return nil, nil, nil, err
	}
	var perm *Permissions
	login, err := userauth.Server(ctx, t, userauth.ServerConfig{
		Banner: s.cfg.Banner, Tracer: tracer,
		PublicKey: func(ctx context.Context, user string, key gossh.PublicKey, proved bool) userauth.Verdict {
			p := s.cfg.Authorize(ctx, user, nc.RemoteAddr(), key)
			if p == nil {
				return userauth.Refuse
			}
			if proved {
				perm = p
			}
			return userauth.Accept
		},
	})
	if err != nil {
		t.Close()
		return nil, nil, nil, err
	}
	return t, login, perm, nil
}

func (c *Config) compression() []string {
	if c.NoCompression {
		return []string{"none"}
	}
	return nil
}

// trace gives a connection its own Tracer, and tells its beginning; ended tells
// its end.
func (s *Server) trace(nc net.Conn) (t trace.Tracer, ended func()) {
	t = trace.Branch(s.cfg.Tracer)
	if t == nil {
		return nil, func() {}
	}
	began := time.Now()
	trace.Emit(t, trace.ConnStart{Role: "server", Local: nc.LocalAddr().String(), Remote: nc.RemoteAddr().String()})
	return t, func() { trace.Emit(t, trace.ConnEnd{Took: time.Since(began)}) }
}

func (s *Server) log(format string, args ...any) {
	if s.cfg.Log != nil {
		s.cfg.Log(fmt.Sprintf(format, args...))
	}
}
