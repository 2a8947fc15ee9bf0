//go:build unix

package main

import (
	"crypto/rand"
	"crypto/sha512"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/adit-ssh/adit/internal/unixsock"
)

// agentFolder is where agents' sockets are, in the home folder, since OpenSSH 10.1:
// TMPDIR is open to others, and to programs in a sandbox.
const agentFolder = ".ssh/agent"

// staleAfter is how long a socket is left alone: its agent may be about to listen.
const staleAfter = time.Hour

// homeSocketError is a home folder that can't have the socket.
type homeSocketError struct{ error }

// Hint implements hinter.
func (homeSocketError) Hint() string {
	return "have the socket elsewhere with: adit agent -T, or adit agent -a PATH"
}

func (e homeSocketError) Unwrap() error { return e.error }

// agentDir returns the folder of agents' sockets.
func agentDir() (string, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return "", homeSocketError{fmt.Errorf("the home folder: %w", err)}
	}
	return filepath.Join(home, agentFolder), nil
}

// listenHome listens on a new socket in the folder of agents' sockets, which is
// made if need be, after those that are stale were removed, unless they are to be
// kept (OpenSSH, misc-agent.c, agent_listener).
func listenHome(keepStale bool) (*unixsock.Listener, error) {
	dir, err := agentDir()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, homeSocketError{fmt.Errorf("the folder of the socket: %w", err)}
	}
	if !keepStale {
		removeStaleSockets(dir, false) // what can't be removed is no reason not to start
	}
	l, err := listenPrivate(filepath.Join(dir, socketPrefix()+"agent."+strconv.Itoa(os.Getpid())+"."+rand.Text()[:10]))
	if err != nil {
		return nil, homeSocketError{err}
	}
	return l, nil
}

// socketPrefix begins the names of this host's sockets: home folders may be shared.
// It is OpenSSH's, so that each cleans up behind the other.
func socketPrefix() string {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	name, err := os.Hostname()
	if err != nil {
		return "s.localhost."
	}
	sum := sha512.Sum512([]byte(name))
	hash := make([]byte, 10)
	for i := range hash {
		hash[i] = letters[int(sum[i])%len(letters)]
	}
	return "s." + string(hash) + "."
}

// cleanUpSockets is -u: it removes the sockets of this host's agents that have ended
// without doing so, or those of all hosts.
func cleanUpSockets(allHosts bool) error {
	dir, err := agentDir()
	if err != nil {
		return err
	}
	if err := removeStaleSockets(dir, allHosts); err != nil {
		return err
	}
	fmt.Printf("Deleted stale agent sockets in ~/%s\n", agentFolder)
	return nil
}

func removeStaleSockets(dir string, allHosts bool) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("clean up sockets: %w", err)
	}
	prefix := socketPrefix()
	var errs []error
	for _, e := range entries {
		fi, err := e.Info()
		switch {
		case err != nil: // it has gone
		case fi.Mode().Type() != fs.ModeSocket:
		case !allHosts && !strings.HasPrefix(e.Name(), prefix):
		case time.Since(fi.ModTime()) < staleAfter:
		case unixsock.Stale(filepath.Join(dir, e.Name())):
			errs = append(errs, os.Remove(filepath.Join(dir, e.Name())))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("clean up sockets: %w", err)
	}
	return nil
}
