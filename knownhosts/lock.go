package knownhosts

import (
	"errors"
	"os"
	"time"
)

const (
	// lockPatience is how long a lock is waited for. Then work goes on without
	// it: a suspended program must not keep others from connecting.
	lockPatience = 2 * time.Second
	// lockPause is how long to wait between two tries.
	lockPause = 5 * time.Millisecond
	// maxReopen bounds how often a file that is replaced meanwhile is opened
	// again.
	maxReopen = 100
)

// errLocked says that another program has the lock.
var errLocked = errors.New("locked by another program")

// openLocked opens a file and locks it: shared for appending, exclusive for
// replacing, which renames another file to its name. So the file that is locked
// is one that still has its name. Programs other than ours, ssh too, do not lock.
// Closing unlocks.
func openLocked(name string, flag int, exclusive bool) (*os.File, error) {
	deadline := time.Now().Add(lockPatience)
	for range maxReopen {
		f, err := os.OpenFile(name, flag, 0o600)
		if err != nil {
			return nil, err
		}
		err = lock(f, exclusive)
		for errors.Is(err, errLocked) && time.Now().Before(deadline) {
			time.Sleep(lockPause)
			err = lock(f, exclusive)
		}
		if sameFile(f, name) {
			return f, nil
		}
		f.Close()
	}
	return nil, &os.PathError{Op: "open", Path: name, Err: errors.New("it is replaced again and again")}
}

// sameFile reports whether name still leads to f.
func sameFile(f *os.File, name string) bool {
	a, err1 := f.Stat()
	b, err2 := os.Stat(name)
	return err1 == nil && err2 == nil && os.SameFile(a, b)
}
