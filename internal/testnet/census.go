package testnet

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// module begins the name of each of our functions in a stack.
const module = "github.com/adit-ssh/adit"

// censusPatience is how long goroutines that were told to end may take.
const censusPatience = 5 * time.Second

// Main runs a package's tests and fails if goroutines of this module are left
// when all have passed. A package that starts goroutines calls it in TestMain.
func Main(m *testing.M) {
	code := m.Run()
	if left := await(1, censusPatience); code == 0 && left != "" {
		fmt.Fprintf(os.Stderr, "goroutines are left after the tests:\n\n%s\n", left)
		code = 1
	}
	os.Exit(code)
}

// Census fails the test if it has more goroutines of this module when all else
// is cleaned up than it has now. It is called before anything that is cleaned
// up, by tests that do not run in parallel.
func Census(t testing.TB) {
	t.Helper()
	before := len(ours())
	t.Cleanup(func() {
		t.Helper()
		if left := await(before, censusPatience); left != "" {
			t.Errorf("goroutines are left, among these:\n\n%s", left)
		}
	})
}

// Descriptors counts this process's open ones: sockets, files and pipes. It is 0 where
// the system has no folder of them (Windows).
func Descriptors(t testing.TB) int {
	t.Helper()
	open, err := os.ReadDir("/dev/fd")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return len(open)
}

// await waits until no more than n goroutines are ours, and returns the stacks
// of all if that does not come in time.
func await(n int, patience time.Duration) string {
	for end := time.Now().Add(patience); ; runtime.Gosched() {
		stacks := ours()
		switch {
		case len(stacks) <= n:
			return ""
		case time.Now().After(end):
			return strings.Join(stacks, "\n\n")
		}
	}
}

// ours returns the stacks of goroutines that run or were started by functions of
// this module, the caller's among them.
func ours() []string {
	buf := make([]byte, 64<<10)
	for {
		n := runtime.Stack(buf, true)
		if n < len(buf) {
			buf = buf[:n]
			break
		}
		buf = make([]byte, 2*len(buf))
	}
	var found []string
	for stack := range bytes.SplitSeq(buf, []byte("\n\n")) {
		if bytes.Contains(stack, []byte(module)) {
			found = append(found, string(stack))
		}
	}
	return found
}
