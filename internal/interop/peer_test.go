package interop

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	mrand "math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"
)

// size is how much is moved in each direction.
func size() int {
	if testing.Short() {
		return 6 << 20
	}
	return 64 << 20
}

// rekeyAt makes our side exchange keys so often that every transfer meets it.
const rekeyAt = 5 << 20

// need skips, or in CI fails, when a program is not there, and returns its path.
func need(t *testing.T, program, pkg string) string {
	t.Helper()
	for _, p := range []string{program, "/usr/sbin/" + program} {
		if path, err := exec.LookPath(p); err == nil {
			return path
		}
	}
	missing(t, pkg)
	return ""
}

func missing(t *testing.T, pkg string) {
	t.Helper()
	if os.Getenv("CI") != "" && os.Getuid() == 0 {
		t.Fatalf("%s is not installed; make deps installs it", pkg)
	}
	t.Skipf("%s is not installed; make deps installs it", pkg)
}

// needPython returns the interpreter that Debian's modules belong to.
func needPython(t *testing.T, module string) string {
	t.Helper()
	const python = "/usr/bin/python3"
	if exec.Command(python, "-c", "import "+module).Run() != nil {
		missing(t, "python3-"+module)
	}
	return python
}

// keys is a folder with a host key and a user's key in OpenSSH's format.
type keys struct {
	dir        string
	host, user gossh.Signer
}

func newKeys(t *testing.T) *keys {
	t.Helper()
	k := &keys{dir: t.TempDir()}
	k.host = k.make(t, "ssh_host_ed25519_key")
	k.user = k.make(t, "id_ed25519")
	k.write(t, "authorized_keys", string(gossh.MarshalAuthorizedKey(k.user.PublicKey())))
	return k
}

func (k *keys) path(name string) string { return filepath.Join(k.dir, name) }

func (k *keys) write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(k.path(name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (k *keys) make(t *testing.T, name string) gossh.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := gossh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	k.write(t, name, string(pem.EncodeToMemory(block)))
	s, err := gossh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	k.write(t, name+".pub", string(gossh.MarshalAuthorizedKey(s.PublicKey())))
	return s
}

// hostLine is the base64 form of the host key.
func (k *keys) hostBlob() string {
	return strings.Fields(string(gossh.MarshalAuthorizedKey(k.host.PublicKey())))[1]
}

// start runs a program until the test's end.
func start(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	var log bytes.Buffer
	if cmd.Stderr == nil {
		cmd.Stderr = &log
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() && log.Len() > 0 {
			t.Logf("%s: %s", cmd.Path, log.String())
		}
	})
}

// startPort runs a program that prints its port first.
func startPort(t *testing.T, cmd *exec.Cmd) int {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	start(t, cmd)
	// Erlang may print reports before.
	var seen []string
	for s := bufio.NewScanner(out); s.Scan(); {
		if port, err := strconv.Atoi(strings.TrimSpace(s.Text())); err == nil {
			return port
		}
		seen = append(seen, s.Text())
	}
	t.Fatalf("%s printed %q and no port", cmd.Path, seen)
	return 0
}

// freePort returns a port that was free just now, for servers that can't choose.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// waitBanner waits until a server on port greets.
func waitBanner(t *testing.T, port int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		c, err := net.Dial("tcp", fmt.Sprint("127.0.0.1:", port))
		if err != nil {
			pause := time.NewTimer(20 * time.Millisecond)
			select {
			case <-pause.C:
			case <-ctx.Done():
			}
			continue
		}
		line, _ := bufio.NewReader(c).ReadString('\n')
		c.Close()
		if strings.HasPrefix(line, "SSH-") {
			return
		}
	}
	t.Fatal("the server does not come up")
}

// target is a TCP service that answers "UP n\n" and n bytes with their SHA-256
// in hex, and "DOWN n\n" with n bytes.
func target(t *testing.T) (host string, port int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				answer(c)
			})
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return "127.0.0.1", l.Addr().(*net.TCPAddr).Port
}

func answer(c net.Conn) {
	r := bufio.NewReader(c)
	line, err := r.ReadString('\n')
	if err != nil {
		return
	}
	var verb string
	var n int64
	if _, err := fmt.Sscan(line, &verb, &n); err != nil {
		return
	}
	if verb == "DOWN" {
		io.Copy(c, io.LimitReader(pattern(), n))
		return
	}
	h := sha256.New()
	io.Copy(h, io.LimitReader(r, n))
	io.WriteString(c, hex.EncodeToString(h.Sum(nil)))
}

// pattern is an endless stream that is always the same.
func pattern() io.Reader { return mrand.NewChaCha8([32]byte{1}) }

func patternHash(n int) string {
	h := sha256.New()
	io.Copy(h, io.LimitReader(pattern(), int64(n)))
	return hex.EncodeToString(h.Sum(nil))
}

// moveBothWays checks an upload and a download over streams that open gives.
func moveBothWays(t *testing.T, open func() (stream io.ReadWriteCloser, err error)) {
	t.Helper()
	n := size()
	want := patternHash(n)
	for _, verb := range []string{"UP", "DOWN"} {
		s, err := open()
		if err != nil {
			t.Fatalf("%s: %v", verb, err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			fmt.Fprintf(s, "%s %d\n", verb, n)
			if verb == "UP" {
				io.Copy(s, io.LimitReader(pattern(), int64(n)))
			}
		})
		got := ""
		if verb == "UP" {
			b := make([]byte, len(want))
			_, err = io.ReadFull(s, b)
			got = string(b)
		} else {
			h := sha256.New()
			_, err = io.CopyN(h, s, int64(n))
			got = hex.EncodeToString(h.Sum(nil))
		}
		if err != nil || got != want {
			t.Errorf("%s %d bytes: hash %s, want %s; %v", verb, n, got, want, err)
		}
		s.Close()
		wg.Wait()
	}
}
