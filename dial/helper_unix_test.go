//go:build unix

package dial

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// line is a command line that runs this program as a helper.
func line(t testing.TB, mode string, args ...string) string {
	t.Helper()
	me, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text := "env " + helperVariable + "=" + mode + " GORACE=atexit_sleep_ms=0"
	for _, a := range append([]string{me}, args...) {
		text += " '" + strings.ReplaceAll(a, "'", `'\''`) + "'"
	}
	return text
}

// helper is a proxy command, good or bad. Those of fdpass have a unix socket as
// standard input and output.
func helper(mode string, args []string) int {
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, "helper:", err)
		return 1
	}
	connect := func() *net.TCPConn {
		c, err := TCP{}.Dial(context.Background(), args[0])
		if err != nil {
			os.Exit(fail(err))
		}
		return c.(*net.TCPConn)
	}
	deaf := func() { signal.Ignore(syscall.SIGHUP, syscall.SIGTERM, syscall.SIGPIPE) }
	switch mode {
	case "carry": // as nc does
		return carry(connect())
	case "exit": // with a status, having said something
		fmt.Fprintf(os.Stderr, "%s\n", args[1])
		var status int
		fmt.Sscan(args[0], &status)
		return status
	case "say": // something on standard output
		fmt.Println(args[0])
	case "fill": // standard error, then carry
		chunk := strings.Repeat("x", 1023) + "\n"
		for range 1024 {
			io.WriteString(os.Stderr, chunk)
		}
		return carry(connect())
	case "deaf": // ignores signals and the end of its input
		deaf()
		fmt.Println("ready")
		select {}
	case "mute": // closes standard output only
		os.Stdout.Close()
		io.Copy(io.Discard, os.Stdin)

	case "pass":
		c := connect()
		pass(fdOf(c))
		fmt.Fprintln(os.Stderr, "passed")
	case "pass-twice":
		fd := fdOf(connect())
		pass(fd, fd, 2)
	case "pass-and-fail":
		pass(fdOf(connect()))
		return 3
	case "pass-and-stay":
		deaf()
		pass(fdOf(connect()))
		fmt.Fprintln(os.Stderr, "passed")
		select {}
	case "pass-file":
		f, err := os.Open("/dev/null")
		if args[0] == "file" {
			f, err = os.Open(os.Args[0])
		}
		if err != nil {
			return fail(err)
		}
		pass(int(f.Fd()))
	case "pass-pipe":
		r, _, err := os.Pipe()
		if err != nil {
			return fail(err)
		}
		pass(int(r.Fd()))
	case "pass-listener", "pass-datagrams":
		kind := unix.SOCK_STREAM
		if mode == "pass-datagrams" {
			kind = unix.SOCK_DGRAM
		}
		fd, err := unix.Socket(unix.AF_INET, kind, 0)
		if err != nil {
			return fail(err)
		}
		if mode == "pass-listener" {
			unix.Listen(fd, 1)
		}
		pass(fd)
	case "pass-itself": // the end that it was given
		pass(1)
	case "pass-socketpair": // whose other end is a program of its own
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err != nil {
			return fail(err)
		}
		unix.CloseOnExec(fds[0])
		c, err := connect().File()
		if err != nil {
			return fail(err)
		}
		pass(fds[0])
		pump := os.NewFile(uintptr(fds[1]), "pump")
		null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
		if err != nil {
			return fail(err)
		}
		os.Setenv(helperVariable, "pump")
		if _, err := os.StartProcess(os.Args[0], os.Args, &os.ProcAttr{
			Files: []*os.File{null, null, os.Stderr, pump, c}, Sys: &syscall.SysProcAttr{Setsid: true},
		}); err != nil {
			return fail(err)
		}
	case "pump":
		far, err := net.FileConn(os.NewFile(3, "pump"))
		if err != nil {
			return fail(err)
		}
		unix.Close(3)
		c, err := net.FileConn(os.NewFile(4, "target"))
		if err != nil {
			return fail(err)
		}
		unix.Close(4)
		return join(c.(*net.TCPConn), far.(*net.UnixConn), far.(*net.UnixConn), func() { far.(*net.UnixConn).CloseWrite() })
	case "never":
		deaf()
		fmt.Fprintln(os.Stderr, "not now")
		select {}
	default:
		return fail(fmt.Errorf("no mode %q", mode))
	}
	return 0
}

// carry copies between standard input and output and a connection.
func carry(c *net.TCPConn) int {
	return join(c, os.Stdin, os.Stdout, func() { os.Stdout.Close() })
}

func join(c *net.TCPConn, in io.Reader, out io.Writer, end func()) int {
	var wg sync.WaitGroup
	wg.Go(func() {
		io.Copy(c, in)
		c.CloseWrite()
	})
	io.Copy(out, c)
	end()
	wg.Wait()
	return 0
}

func fdOf(c *net.TCPConn) int {
	f, err := c.File()
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return int(f.Fd())
}

// pass sends descriptors over standard output, as `nc -F` does.
func pass(fds ...int) {
	if err := unix.Sendmsg(1, []byte{0}, unix.UnixRights(fds...), nil, 0); err != nil {
		fmt.Fprintln(os.Stderr, "helper: pass:", err)
		os.Exit(1)
	}
}
