package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// helperLimit is how long a helper may take for one answer: a person may have to
// find the key, and to touch it.
const helperLimit = 2 * time.Minute

// helperGrace is how long a helper may take to end by itself.
const helperGrace = time.Second

// helperFolders are where systems have OpenSSH's helpers: Debian, Fedora, Arch and
// Alpine, the BSDs and macOS, ports and Homebrew.
var helperFolders = []string{"/usr/lib/openssh", "/usr/libexec/openssh", "/usr/lib/ssh", "/usr/libexec", "/usr/local/libexec", "/opt/homebrew/opt/openssh/libexec"}

// findHelper returns the path of a helper: the one that is given, or else OpenSSH's.
func findHelper(given, name string) (string, error) {
	if given != "" {
		return given, nil
	}
	for _, folder := range helperFolders {
		if p, err := exec.LookPath(filepath.Join(folder, name)); err == nil {
			return p, nil
		}
	}
	return "", fmt.Errorf("OpenSSH's %s is not installed here", name)
}

// helper is one of OpenSSH's helper programs, which load the libraries that know a
// token in our place. It takes requests from its standard input and answers them on
// its standard output, framed as an agent's messages.
//
// Goroutines: one that waits for the process, which end and kill bring to its end.
type helper struct {
	// Immutable.
	name  string // of the program
	cmd   *exec.Cmd
	in    *os.File
	out   *os.File
	ended chan struct{} // closed when the process was waited for
	said  *lastWords
}

func startHelper(program string) (*helper, error) {
	h := &helper{name: filepath.Base(program), cmd: exec.Command(program), ended: make(chan struct{}), said: &lastWords{}}
	// Not cmd's own pipes: it would close them when the process has ended, with the
	// answer in them.
	theirIn, in, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", h.name, err)
	}
	out, theirOut, err := os.Pipe()
	if err != nil {
		theirIn.Close()
		in.Close()
		return nil, fmt.Errorf("start %s: %w", h.name, err)
	}
	h.in, h.out = in, out
	h.cmd.Stdin, h.cmd.Stdout, h.cmd.Stderr = theirIn, theirOut, h.said
	h.cmd.WaitDelay = helperGrace
	err = h.cmd.Start()
	theirIn.Close()
	theirOut.Close()
	if err != nil {
		h.close()
		return nil, fmt.Errorf("start %s: %w", h.name, err)
	}
	go func() {
		h.cmd.Wait()
		close(h.ended)
	}()
	return h, nil
}

// ask has one request answered. An error is the end of the helper, and so is the end
// of ctx.
func (h *helper) ask(ctx context.Context, request []byte) ([]byte, error) {
	stop := context.AfterFunc(ctx, h.kill)
	defer stop()
	err := writeFrame(h.in, request)
	var reply []byte
	if err == nil {
		reply, err = readFrame(h.out)
	}
	if err == nil {
		return reply, nil
	}
	h.kill()
	<-h.ended // it has said all that it says
	switch words := h.said.String(); {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%s: %w", h.name, context.Cause(ctx))
	case errors.Is(err, errFrame):
		return nil, fmt.Errorf("%s: %w", h.name, err)
	case words != "":
		return nil, fmt.Errorf("%s has ended: %s", h.name, words)
	}
	return nil, fmt.Errorf("%s has ended without an answer", h.name)
}

// end has the helper end by itself, or be ended after helperGrace.
func (h *helper) end() {
	h.in.Close()
	time.AfterFunc(helperGrace, h.kill)
}

// kill ends the helper now. It may be called when it has ended.
func (h *helper) kill() {
	h.cmd.Process.Kill()
	h.close()
}

func (h *helper) close() {
	h.in.Close()
	h.out.Close()
}

// lastWords keeps the first line that a helper writes to standard error.
type lastWords struct {
	mu sync.Mutex
	// Guarded by mu.
	b []byte
}

// maxLastWords is how much of it is kept, in bytes.
const maxLastWords = 512

func (w *lastWords) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.b = append(w.b, p[:min(len(p), maxLastWords-len(w.b))]...)
	return len(p), nil
}

func (w *lastWords) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	line, _, _ := strings.Cut(strings.TrimSpace(string(w.b)), "\n")
	return strings.TrimSpace(line)
}
