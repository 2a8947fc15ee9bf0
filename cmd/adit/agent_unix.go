//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/adit-ssh/adit/agent"
	"github.com/adit-ssh/adit/internal/unixsock"
)

// agentRole is in the environment of an agent that was started behind a shell: the
// socket's path. Descriptor 3 listens on it then, and to 4 it writes when it is up.
// agentMade is the folder that was made for the socket. agentParent is the process with which it ends, if it is one's.
const (
	agentRole   = "ADIT_AGENT_SOCKET"
	agentMade   = "ADIT_AGENT_FOLDER"
	agentParent = "ADIT_AGENT_PARENT"
)

// agentSocket is the socket that an agent listens on.
type agentSocket struct {
	l    net.Listener // a *unixsock.Listener, or somebody else's
	path string       // as it was given
	dir  string       // that was made for it, or ""
}

// remove takes away what listen has made.
func (s *agentSocket) remove() {
	s.l.Close()
	if s.dir != "" {
		os.Remove(s.dir)
	}
}

// listen makes the socket, mode 0600, or takes the one that a service manager has
// passed (sd_listen_fds(3)).
func (a *agentArgs) listen() (*agentSocket, error) {
	if a.path == "" && os.Getenv("LISTEN_PID") == strconv.Itoa(os.Getpid()) && os.Getenv("LISTEN_FDS") == "1" && (a.foreground || a.debug) {
		l, err := inheritedListener()
		if errno, ok := errors.AsType[syscall.Errno](err); ok {
			err = errno // the calls' names tell a person nothing
		}
		if err != nil {
			return nil, fmt.Errorf("LISTEN_FDS: descriptor 3 is no listening socket: %w", err)
		}
		for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
			os.Unsetenv(name) // it is not SSH_ASKPASS's
		}
		return &agentSocket{l: l, path: l.Addr().String()}, nil
	}
	s := &agentSocket{path: a.path}
	var l *unixsock.Listener
	var err error
	switch {
	case a.path != "":
		l, err = listenPrivate(a.path)
	case a.temporary:
		if s.dir, err = os.MkdirTemp("", "ssh-"); err != nil {
			return nil, fmt.Errorf("a folder for the socket: %w", err)
		}
		l, err = listenPrivate(filepath.Join(s.dir, "agent."+strconv.Itoa(os.Getpid())))
	default:
		l, err = listenHome(a.keepStale)
	}
	if err != nil {
		if s.dir != "" {
			os.Remove(s.dir)
		}
		return nil, err
	}
	if s.l = l; s.path == "" {
		s.path = l.Path()
	}
	return s, nil
}

// listenPrivate listens on a path for us alone. A socket that nobody listens on any
// more, since its agent was killed, is replaced.
func listenPrivate(path string) (*unixsock.Listener, error) {
	l, err := unixsock.Take(path, 0o600)
	if call, ok := errors.AsType[*os.SyscallError](err); ok {
		err = call.Err // the call's name tells a person nothing
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	return l, nil
}

// inheritedListener is a listener that whoever has started us has passed.
func inheritedListener() (*net.UnixListener, error) {
	syscall.CloseOnExec(3)
	f := os.NewFile(3, "listener")
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		return nil, err
	}
	ul, ok := l.(*net.UnixListener)
	if !ok {
		l.Close()
		return nil, errors.New("it is one of another kind")
	}
	return ul, nil
}

// startBehind starts the agent in the background, in a session of its own. The
// socket is its from then on.
func (a *agentArgs) startBehind(s *agentSocket) (pid int, err error) {
	program, err := os.Executable()
	if err != nil {
		return 0, fmt.Errorf("start the agent: %w", err)
	}
	l := s.l.(*unixsock.Listener)
	f, err := l.File()
	if err != nil {
		return 0, fmt.Errorf("start the agent: %w", err)
	}
	defer f.Close()
	socket, err := filepath.Abs(l.Path())
	if err != nil {
		return 0, fmt.Errorf("start the agent: %w", err)
	}
	dir := ""
	if s.dir != "" {
		dir = filepath.Dir(socket)
	}
	args := []string{"agent", "-t", strconv.Itoa(int(a.lifetime / time.Second))}
	if a.md5 {
		args = append(args, "-E", "md5")
	}
	args = append(args, a.devices.args()...)
	for _, path := range a.upstreams {
		if path, err = filepath.Abs(path); err != nil { // its folder is another one
			return 0, fmt.Errorf("start the agent: %w", err)
		}
		args = append(args, "--upstream="+path)
	}
	args = append(args, a.guard.given...)
	if a.record.file != "" {
		file, err := a.record.absolute()
		if err != nil {
			return 0, err
		}
		args = append(args, "--trace="+file)
	}
	closeOnExec() // a pipe of the shell's would never end
	cmd := exec.Command(program, args...)
	up, child, err := os.Pipe()
	if err != nil {
		return 0, fmt.Errorf("start the agent: %w", err)
	}
	defer up.Close()
	defer child.Close()
	cmd.Dir = "/" // no file system is kept from being unmounted
	cmd.ExtraFiles = []*os.File{f, child}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Env = append(os.Environ(), agentRole+"="+socket, agentMade+"="+dir, agentParent+"=")
	if len(a.command) > 0 {
		cmd.Env[len(cmd.Env)-1] += strconv.Itoa(os.Getpid())
	}
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("start the agent: %w", err)
	}
	child.Close()
	// A signal that comes before it heeds them would leave the socket behind.
	if _, err := up.Read(make([]byte, 1)); err != nil {
		return 0, fmt.Errorf("start the agent: it ended at once: %w", cmd.Wait())
	}
	pid = cmd.Process.Pid
	cmd.Process.Release()
	return pid, nil
}

// closeOnExec keeps what we have inherited, but for the standard streams, from
// programs that we start (ssh-agent.c closes it).
func closeOnExec() {
	entries, err := os.ReadDir("/dev/fd")
	if err != nil {
		return
	}
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			syscall.CloseOnExec(fd)
		}
	}
}

// become runs the command in our place, so that the agent's parent is it.
func (a *agentArgs) become(path string, pid int) error {
	program, err := exec.LookPath(a.command[0])
	if err == nil {
		env := append(os.Environ(), "SSH_AUTH_SOCK="+path, "SSH_AGENT_PID="+strconv.Itoa(pid))
		err = syscall.Exec(program, a.command, env)
	}
	syscall.Kill(pid, syscall.SIGTERM)
	if e, ok := errors.AsType[*exec.Error](err); ok {
		err = e.Err
	}
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err
	}
	return fmt.Errorf("run %s: %w", a.command[0], err)
}

// serveInherited is the agent in the background.
func (a *agentArgs) serveInherited(ctx context.Context) error {
	path, dir, parent := os.Getenv(agentRole), os.Getenv(agentMade), os.Getenv(agentParent)
	for _, name := range []string{agentRole, agentMade, agentParent} {
		os.Unsetenv(name) // they are not SSH_ASKPASS's
	}
	inherited, err := inheritedListener()
	if err != nil {
		return fmt.Errorf("the agent's socket: %w", err)
	}
	l, err := unixsock.Adopt(inherited, path)
	if err != nil {
		return fmt.Errorf("the agent's socket: %w", err)
	}
	if w, err := openSyslog("AUTH"); err == nil {
		messages.to(w) // nobody reads standard error; until the program ends
	}
	up := os.NewFile(4, "up")
	up.Write([]byte{1}) // main has seen to signals
	up.Close()
	s := &agentSocket{l: l, path: path, dir: dir}
	ctx, end := context.WithCancel(ctx)
	defer end()
	if pid, err := strconv.Atoi(parent); err == nil {
		go watchParent(ctx, pid, end) // ends with ctx
	}
	return a.serve(ctx, s)
}

// parentInterval is how often the agent of a command looks whether that lives.
// ssh-agent does so every 10 seconds.
const parentInterval = 2 * time.Second

func watchParent(ctx context.Context, pid int, end func()) {
	t := time.NewTicker(parentInterval)
	defer t.Stop()
	for os.Getppid() == pid {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
	end()
}

// agentEnded is the exit status of an agent that a signal has ended (ssh-agent.c,
// cleanup_handler).
const agentEnded = exitError(2)

// serve is the agent until a signal ends it, or ctx.
func (a *agentArgs) serve(ctx context.Context, s *agentSocket) error {
	defer s.remove()
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP)
	defer stop()
	say := func(format string, args ...any) {
		if a.debug {
			fmt.Fprintf(os.Stderr, "adit: agent: "+format+"\n", args...)
		}
	}
	if err := agent.Harden(); err != nil {
		say("its memory is not kept from others: %v", err)
	}
	ring := &agent.Keyring{Lifetime: a.lifetime, Confirm: a.confirm, ConfirmForwarded: a.guard.confirm, Rules: a.guard.rules, Tokens: a.tokens()}
	// Nobody asks for it, so nobody has to be told first: what can't be written is said.
	removed := func(r agent.Removal) {
		say("%s: the key %s is removed", r.By, printable(r.Comment))
		if a.guard.audit == nil {
			return
		}
		if err := a.guard.audit.Write(r.Request()); err != nil {
			fmt.Fprintf(messages, "adit: error: agent: %s has removed a key: the audit can't be written: %s\n", r.By, printable(err.Error()))
		}
	}
	ring.Removed = removed
	defer ring.Close()
	tracer, _, endTrace, err := a.record.start()
	defer endTrace()
	if err != nil {
		return err
	}
	server := &agent.Server{Agent: ring, Tracer: tracer}
	if len(a.upstreams) > 0 {
		p := &agent.Proxy{Confirm: a.confirm, ConfirmForwarded: a.guard.confirm, Rules: a.guard.rules}
		for _, path := range a.upstreams {
			p.Upstreams = append(p.Upstreams, agent.Socket(path))
		}
		server.Agent = p
	}
	usr1 := make(chan os.Signal, 1)
	signal.Notify(usr1, syscall.SIGUSR1)
	defer signal.Stop(usr1)
	go func() { // ends with ctx
		for {
			select {
			case <-usr1:
				for _, id := range ring.RemoveAll() {
					removed(agent.Removal{Identity: id, By: "SIGUSR1"})
				}
				say("SIGUSR1: all keys are removed")
			case <-ctx.Done():
				return
			}
		}
	}()
	if a.guard.audit != nil {
		server.Audit = a.guard.audit.Write
	}
	server.Log = func(r agent.Request) {
		_, unwritten := errors.AsType[*agent.AuditError](r.Err)
		_, unenforced := errors.AsType[*agent.UnenforcedError](r.Err)
		switch {
		case unwritten, unenforced, errors.Is(r.Err, agent.ErrShowsKeys): // ssh-add can't say why
			fmt.Fprintf(messages, "adit: error: agent: pid %d: %s: refused: %s\n", r.Peer.PID, printable(r.What()), printable(r.Err.Error()))
		case r.Err != nil:
			say("pid %d: %s: refused: %s", r.Peer.PID, printable(r.What()), printable(r.Err.Error()))
		default:
			say("pid %d: %s", r.Peer.PID, printable(r.What()))
		}
	}
	if err := server.Serve(ctx, s.l); err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	return agentEnded
}
