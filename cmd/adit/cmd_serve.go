package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/bastion"
	"github.com/adit-ssh/adit/internal/setup"
	"github.com/adit-ssh/adit/trace"
)

// shutdownGrace is how long `adit serve` waits for its connections to end.
const shutdownGrace = 5 * time.Second

func serveCommand() *cobra.Command {
	var listen string
	var hostKeys, authorized []string
	var startups, verbose int
	var noCompression bool
	var record tracing
	cmd := &cobra.Command{
		Use:   "serve --host-key FILE --authorized-keys FILE",
		Short: "Run an SSH server that only forwards",
		Long: `Runs an SSH server that only forwards (direct-tcpip): no shell, no commands, no
files. Keys in the authorized_keys file may log in under any name and reach what
their permitopen options allow; cert-authority lines let certificates in.

It logs to standard error and ends at SIGINT or SIGTERM, when it closes all
connections.`,
		Example: `  ssh-keygen -t ed25519 -N '' -f host_key
  adit serve --listen :2222 --host-key host_key --authorized-keys ~/.ssh/authorized_keys`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case len(hostKeys) == 0:
				return &usageError{"serve", errors.New("--host-key FILE is missing: the server's private key; make one with: ssh-keygen -t ed25519 -N '' -f host_key")}
			case len(authorized) == 0:
				return &usageError{"serve", errors.New("--authorized-keys FILE is missing: the keys that may log in")}
			}
			cfg := bastion.Config{MaxStartups: startups, Log: logLine()}
			for _, f := range hostKeys {
				s, err := readHostKey(setup.Expand(f))
				if err != nil {
					return err
				}
				cfg.HostKeys = append(cfg.HostKeys, s)
			}
			for i, f := range authorized {
				authorized[i] = setup.Expand(f)
			}
			keys, err := bastion.LoadKeys(authorized...)
			if err != nil {
				return err
			}
			for _, w := range keys.Warnings {
				fmt.Fprintf(os.Stderr, "adit: warning: %s; the line is skipped\n", w)
			}
			if keys.Len() == 0 {
				return fmt.Errorf("no usable key in %s: nobody could log in", strings.Join(authorized, ", "))
			}
			cfg.Authorize, cfg.NoCompression = keys.Authorize, noCompression
			if verbose > 0 {
				cfg.Tracer = trace.NewText(os.Stderr, min(trace.LevelPacket, trace.Level(verbose)))
			}
			tracer, keyLog, endTrace, err := record.start()
			defer endTrace()
			if err != nil {
				return err
			}
			cfg.Tracer, cfg.KeyLog = trace.Tee(cfg.Tracer, tracer), keyLog
			return serve(cmd.Context(), listen, cfg)
		},
	}
	f := cmd.Flags()
	f.StringVar(&listen, "listen", "127.0.0.1:2222", "address to listen on")
	f.StringArrayVar(&hostKeys, "host-key", nil, "private host key, OpenSSH or PEM format; may be given several times")
	f.StringArrayVar(&authorized, "authorized-keys", nil, "keys that may log in, in sshd(8)'s format; may be given several times")
	f.IntVar(&startups, "max-startups", bastion.DefaultMaxStartups, "connections that may be without login at once")
	f.BoolVar(&noCompression, "no-compression", false, "refuse compression, which clients may ask for (ssh -C) and which costs 1 MB for each that does")
	f.CountVarP(&verbose, "verbose", "v", "tell what happens; -vv adds channels, -vvv every message")
	f.StringVar(&record.file, "trace", "", traceHelp)
	f.StringVar(&record.keylog, "keylog", "", keylogHelp)
	return cmd
}

func logLine() func(string) {
	var mu sync.Mutex
	return func(line string) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(os.Stderr, "%s %s\n", time.Now().Format(time.RFC3339), line)
	}
}

func readHostKey(path string) (gossh.Signer, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("host key: %w", err)
	}
	s, err := gossh.ParsePrivateKey(b)
	if err != nil {
		return nil, fmt.Errorf("host key %s: %w", path, err)
	}
	return s, nil
}

func serve(ctx context.Context, listen string, cfg bastion.Config) error {
	s, err := bastion.New(cfg)
	if err != nil {
		return err
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", listen)
	if err != nil {
		if call, ok := errors.AsType[*os.SyscallError](err); ok {
			err = call.Err // net says the address again
		}
		return fmt.Errorf("listen on %s: %w", listen, err)
	}
	for _, k := range cfg.HostKeys {
		cfg.Log(fmt.Sprintf("host key %s %s", k.PublicKey().Type(), gossh.FingerprintSHA256(k.PublicKey())))
	}
	cfg.Log(fmt.Sprintf("listening on %s", l.Addr()))
	stop := context.AfterFunc(ctx, func() {
		ctx, cancel := context.WithTimeout(context.Background(), shutdownGrace)
		defer cancel()
		s.Shutdown(ctx)
	})
	defer stop()
	if err := s.Serve(l); err != bastion.ErrServerClosed {
		return err
	}
	grace, cancel := context.WithTimeout(context.Background(), shutdownGrace)
	defer cancel()
	return s.Shutdown(grace)
}
