//go:build unix

package main

import (
	"os"
	"slices"
	"sync"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/knownhosts"
)

// agentHosts names hosts by their keys, as known_hosts files have them. It is an
// agent.Hosts. The files are read when somebody asks, and again when they have
// changed: programs add hosts to them all the time.
type agentHosts struct {
	files []string

	mu sync.Mutex
	// Guarded by mu.
	db   *knownhosts.DB
	seen []fileState
}

// fileState tells a file from one that has changed.
type fileState struct {
	inode os.FileInfo // compared by os.SameFile
	size  int64
	mod   time.Time
}

func (s fileState) is(o fileState) bool {
	return s.size == o.size && s.mod.Equal(o.mod) && (s.inode == nil) == (o.inode == nil) && (s.inode == nil || os.SameFile(s.inode, o.inode))
}

// load returns what the files have now. What can't be read knows no hosts, which
// allows nothing.
func (h *agentHosts) load() *knownhosts.DB {
	now := make([]fileState, len(h.files))
	for i, f := range h.files {
		if fi, err := os.Stat(f); err == nil {
			now[i] = fileState{fi, fi.Size(), fi.ModTime()}
		}
	}
	h.mu.Lock()
	db := h.db
	if !slices.EqualFunc(now, h.seen, fileState.is) {
		db = nil
	}
	h.mu.Unlock()
	if db == nil {
		db, _ = knownhosts.Load(h.files...)
		h.mu.Lock()
		h.db, h.seen = db, now
		h.mu.Unlock()
	}
	return db
}

// Names implements agent.Hosts.
func (h *agentHosts) Names(key []byte) (names []string, more bool) {
	k, err := gossh.ParsePublicKey(key)
	if err != nil {
		return nil, false
	}
	return h.load().Names(k, time.Now())
}

// Is implements agent.Hosts.
func (h *agentHosts) Is(key []byte, name string) bool {
	k, err := gossh.ParsePublicKey(key)
	return err == nil && h.load().Is(k, name, time.Now())
}
