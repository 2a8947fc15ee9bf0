//go:build unix

package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/adit-ssh/adit/internal/testpeer"
)

func TestSharedCommands(t *testing.T) {
	t.Parallel()
	eachPair(t, func(t *testing.T, p *sharing) {
		p.expect(told{"", "Control socket connect(" + p.socket + "): No such file or directory", 255}, "", "-O", "check", "server")
		p.expect(told{"on my own", "", 0}, "", "server", "printf 'on my own'")
		master := p.background()
		p.expect(told{"", fmt.Sprintf("Master running (pid=%d)\r\n", master.Process.Pid), 0}, "", "-O", "check", "server")
		for range 2 { // one after the other
			p.expect(told{"out: in", "err", 7}, "in", "server", "printf 'out: '; cat; printf err >&2; exit 7")
		}
		p.expect(told{"sent SET", "", 0}, "", "-o", "SetEnv=ADIT_SET=SET", "server", "printf \"$ADIT_SENT $ADIT_SET\"")
		if p.client[0] == "adit" { // which says that it records nothing
			file := filepath.Join(t.TempDir(), "t.jsonl")
			if got := p.run("", "-S", p.socket, "--trace", file, "server", "printf there"); got.out != "there" || !strings.HasPrefix(got.err, "adit: warning: nothing is recorded: the connection is another program's") {
				t.Errorf("--trace over a master: got %+v", got)
			}
		}
		p.expect(told{"", "", 255}, "", "server", "kill -9 $$")
		p.expect(told{"a shell\n", "", 0}, "echo a shell", "-T", "server")
		p.expect(told{"", "", 3}, "exit 3\n", "-T", "server")
		if got := p.run("", "-W", p.s.Addr, "server"); !strings.HasPrefix(got.out, "SSH-2.0-OpenSSH") || got.status != 0 {
			t.Errorf("-W: got %+v", got)
		}
		p.expect(told{"", "Stdio forwarding request failed: Session open refused by peer", 255}, "", "-W", testpeer.RefusedAddr(t), "server")
		p.expect(told{"", "Stop listening request sent.\r\n", 0}, "", "-O", "stop", "server")
		p.expect(told{"", "No such file or directory", 255}, "", "-O", "check", "server")
		if status, _ := exitStatusOf(master.Wait()); status != 255 {
			t.Errorf("the master ended with %d after -O stop, want 255", status)
		}
		master = p.background()
		p.expect(told{"", "Exit request sent.\r\n", 0}, "", "-O", "exit", "server")
		if status, _ := exitStatusOf(master.Wait()); status != 255 {
			t.Errorf("the master ended with %d after -O exit, want 255", status)
		}
		if _, err := os.Lstat(p.socket); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the socket after -O exit: %v", err)
		}
		p.background()
		p.expect(told{"", "", 0}, "", "-q", "-O", "exit", "server")
	})
}

// Many bytes arrive whole, both ways, as through pipes so through sockets, which is
// what scp, sftp and rsync give.
func TestSharedData(t *testing.T) {
	t.Parallel()
	eachPair(t, func(t *testing.T, p *sharing) {
		p.background()
		data := bytes.Repeat([]byte("adit\x00\xff\r\n~."), 1<<20)
		want := fmt.Sprintf("%x", sha256.Sum256(data))
		for _, mode := range [][]string{nil, {"-O", "proxy"}} {
			cmd := p.command(p.client, append(mode, "server", "cat")...)
			cmd.Stdin = bytes.NewReader(data)
			hash := sha256.New()
			cmd.Stdout = hash
			if err := cmd.Run(); err != nil || fmt.Sprintf("%x", hash.Sum(nil)) != want {
				t.Errorf("%v: pipes: %v, hash %x, want %s", mode, err, hash.Sum(nil), want)
			}
		}
		pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		syscall.CloseOnExec(pair[0])
		syscall.CloseOnExec(pair[1])
		inner := os.NewFile(uintptr(pair[1]), "inner")
		outer, err := net.FileConn(os.NewFile(uintptr(pair[0]), "outer"))
		if err != nil {
			t.Fatal(err)
		}
		defer outer.Close()
		cmd := p.command(p.client, "server", "cat")
		cmd.Stdin, cmd.Stdout = inner, inner
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		inner.Close()
		var wg sync.WaitGroup
		wg.Go(func() { outer.Write(data); outer.(*net.UnixConn).CloseWrite() })
		hash := sha256.New()
		_, err = io.Copy(hash, outer)
		wg.Wait()
		if werr := cmd.Wait(); err != nil || werr != nil || fmt.Sprintf("%x", hash.Sum(nil)) != want {
			t.Errorf("a socket: %v, %v, hash %x, want %s", err, werr, hash.Sum(nil), want)
		}
	})
}

// A command whose output nobody reads any more ends, and so does its client.
func TestSharedBrokenPipe(t *testing.T) {
	t.Parallel()
	eachPair(t, func(t *testing.T, p *sharing) {
		p.background()
		cmd := p.command(p.client, "server", "yes")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		io.ReadFull(out, make([]byte, 2))
		out.Close()
		cmd.Wait()
		p.expect(told{"", "Master running", 0}, "", "-O", "check", "server")
	})
}

func TestSharedForwards(t *testing.T) {
	t.Parallel()
	eachPair(t, func(t *testing.T, p *sharing) {
		master := p.background()
		echo := testpeer.EchoTarget(t).Addr
		port := freePort(t)
		local := fmt.Sprintf("%d:%s", port, echo)
		reaches := func() error { return echoes(fmt.Sprintf("127.0.0.1:%d", port)) }
		p.expect(told{"", "", 0}, "", "-O", "forward", "-L", local, "server")
		p.expect(told{"", "", 0}, "", "-O", "forward", "-L", local, "server") // there already
		if err := reaches(); err != nil {
			t.Errorf("-L: %v", err)
		}
		p.expect(told{"", "", 0}, "", "-O", "cancel", "-L", local, "server")
		if err := reaches(); err == nil {
			t.Error("-O cancel: it still listens")
		}
		p.expect(told{"", "forwarding request failed: port not forwarded", 0}, "", "-O", "cancel", "-L", local, "server")
		// The server chooses a port, which is told on standard output.
		remote := "0:" + echo
		chosen := p.run("", "-O", "forward", "-R", remote, "server")
		if n, err := strconv.Atoi(strings.TrimSuffix(chosen.out, "\n")); err != nil || chosen.status != 0 {
			t.Errorf("-R 0: got %+v", chosen)
		} else if err := echoes(fmt.Sprintf("127.0.0.1:%d", n)); err != nil {
			t.Errorf("-R: %v", err)
		}
		p.expect(told{"", "", 0}, "", "-O", "cancel", "-R", remote, "server")
		busy := takenPort(t)
		p.expect(told{"", "forwarding request failed: remote port forwarding failed for listen port " + busy, 255},
			"", "-O", "forward", "-R", busy+":"+echo, "server")
		// A command's forwards stay with the master.
		p.expect(told{"done", "", 0}, "", "-D", strconv.Itoa(port), "server", "printf done")
		if nc, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err != nil {
			t.Errorf("-D, after the command: %v", err)
		} else {
			nc.Close()
		}
		p.expect(told{"", "", 0}, "", "-O", "cancel", "-D", strconv.Itoa(port), "server")
		sock := filepath.Join(p.dir, "fwd")
		p.expect(told{"", "", 0}, "", "-O", "forward", "-L", sock+":"+echo, "server")
		if nc, err := net.Dial("unix", sock); err != nil {
			t.Errorf("-L with a path: %v", err)
		} else {
			nc.Close()
		}
		p.expect(told{"", "", 0}, "", "-O", "cancel", "-L", sock+":"+echo, "server")
		master.Process.Signal(syscall.SIGTERM)
		master.Wait()
	})
}

// A client that is killed ends its command; a master that is killed ends its
// clients, and is replaced.
func TestSharedKilled(t *testing.T) {
	t.Parallel()
	eachPair(t, func(t *testing.T, p *sharing) {
		master := p.background()
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		l.(*net.TCPListener).SetDeadline(time.Now().Add(patience))
		// A command that holds a connection to the test as long as it runs. What it
		// says comes when its client has been told that it is there: one whose master
		// ends before connects anew by itself.
		start := func(command string) (*exec.Cmd, net.Conn, *os.File) {
			cmd := p.command(p.client, "server", "exec bash -c 'exec 3<>/dev/tcp/127.0.0.1/"+portOf(l.Addr())+"; echo up; exec "+command+"'")
			said, out, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer said.Close()
			in, feed, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { feed.Close() })
			cmd.Stdin, cmd.Stdout = in, out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			in.Close()
			out.Close()
			nc, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { nc.Close() })
			said.SetDeadline(time.Now().Add(patience))
			if _, err := io.ReadFull(said, make([]byte, len("up\n"))); err != nil {
				t.Fatal(err)
			}
			nc.SetDeadline(time.Now().Add(patience))
			feed.SetDeadline(time.Now().Add(patience))
			return cmd, nc, feed
		}
		cmd, command, _ := start("cat")
		cmd.Process.Kill()
		cmd.Wait()
		if _, err := command.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("the command of a killed client: %v, want that it has ended", err)
		}
		// One that does not care goes on, as with ssh, but the master lets go of what
		// the client has passed.
		cmd, _, feed := start("sleep 20")
		cmd.Process.Kill()
		cmd.Wait()
		for err = error(nil); err == nil; {
			_, err = feed.Write(make([]byte, 64<<10))
		}
		if !errors.Is(err, syscall.EPIPE) {
			t.Errorf("the input of a killed client: %v, want that nobody reads it", err)
		}
		cmd, _, _ = start("cat")
		master.Process.Kill()
		defer time.AfterFunc(patience, func() { cmd.Process.Kill() }).Stop()
		if status, err := exitStatusOf(cmd.Wait()); status != 255 {
			t.Errorf("a client of a killed master: status %d, %v, want 255", status, err)
		}
		p.expect(told{"", "Control socket connect(" + p.socket + "): Connection refused", 255}, "", "-O", "check", "server")
		p.expect(told{"own", "", 0}, "", "-o", "ControlMaster=auto", "server", "printf own")
	})
}

// Fifty clients at once.
func TestSharedByMany(t *testing.T) {
	t.Parallel()
	eachPair(t, func(t *testing.T, p *sharing) {
		p.background()
		echo := testpeer.EchoTarget(t).Addr
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() { p.expect(told{fmt.Sprint(i), "", 0}, fmt.Sprint(i), "-W", echo, "server") })
		}
		wg.Wait()
		p.expect(told{"", "Master running", 0}, "", "-O", "check", "server")
	})
}

// A session with a terminal has its size, follows it, obeys escapes, and leaves the
// terminal as it was.
func TestSharedTerminal(t *testing.T) {
	t.Parallel()
	eachPair(t, func(t *testing.T, p *sharing) {
		p.background()
		sit := func(args ...string) *console {
			return sitAt(t, p.dir, p.client[0], append(append(p.client[1:len(p.client):len(p.client)], "-F", p.config), args...)...)
		}
		c := sit("-o", "RequestTTY=yes", "server", `exec bash -c 'trap "stty size; kill \$!; exit 4" WINCH; stty size; sleep 1000 & wait'`)
		// What comes before the client's terminal is raw, as with ssh, gets one more \r.
		c.see(`24 80\r+\n`)
		if p.client[0] == "ssh" { // which takes no notice before
			c.awaitRaw()
		}
		// The signal takes its way by the client and the master.
		if err := pty.Setsize(c.tty, &pty.Winsize{Rows: 40, Cols: 100}); err != nil {
			t.Fatal(err)
		}
		c.see(`40 100\r\n`)
		c.see(`Shared connection to ` + regexp.QuoteMeta(p.s.Host()) + ` closed\.\s+$`)
		c.leaves(4)
		c = sit("-o", "RequestTTY=yes", "server", "echo ready; cat")
		c.see(`ready\r+\n`)
		c.say("")
		c.press("~.")
		c.see(`Shared connection to `)
		c.leaves(255)
	})
}

// loginLine is in what both say of a login.
var loginLine = regexp.MustCompile(`debug1: Authenticating to \S+ as `)

// A jump host that has a master is reached through it, without another login. Where
// there is none, or it refuses, the jump host is logged in to, or the refusal told.
func TestSharedJump(t *testing.T) {
	t.Parallel()
	eachPair(t, func(t *testing.T, p *sharing) {
		f, err := os.OpenFile(p.config, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		for host, port := range map[string]int{"behind": p.s.Port(), "nowhere": 1} {
			fmt.Fprintf(f, "Host %s\nHostName %s\nPort %d\nUser %s\nIdentityFile %s\nIdentityAgent none\nUserKnownHostsFile %s\nProxyJump server\nBatchMode yes\n",
				host, p.s.Host(), port, p.s.User, p.s.Key.Path, p.s.KnownHosts(t))
		}
		f.Close()
		logins := func(want int) {
			t.Helper()
			got := p.run("over there", "-v", "-C", "behind", "cat")
			if n := loginLine.FindAllString(got.err, -1); len(n) != want || got.out != "over there" || got.status != 0 {
				t.Errorf("%d logins, want %d: %+v", len(n), want, got)
			}
		}
		logins(2)
		p.background()
		logins(1)
		p.expect(told{"", "Stdio forwarding request failed: Session open refused by peer", 255}, "", "nowhere")
		p.expect(told{"", "Exit request sent.\r\n", 0}, "", "-O", "exit", "server")
		logins(2)
	})
}

// With ControlPersist the connection outlives the command that made it.
func TestPersist(t *testing.T) {
	t.Parallel()
	testpeer.Need(t, "sshd", "ssh", "ssh-keygen")
	s := testpeer.SSHD(t, testpeer.SSHDOptions{})
	p := newSharing(t, s, "adit", "adit")
	persist := []string{"-o", "ControlMaster=auto", "-o", "ControlPersist=yes", "server"}
	t.Cleanup(func() { p.command(p.client, "-O", "exit", "server").Run() })
	echo := testpeer.EchoTarget(t).Addr
	port := freePort(t)
	p.expect(told{"out: in", "err", 7}, "in", append([]string{"-L", fmt.Sprintf("%d:%s", port, echo)}, append(persist, "printf 'out: '; cat; printf err >&2; exit 7")...)...)
	said := p.run("", "-O", "check", "server")
	pid := regexp.MustCompile(`^Master running \(pid=\d+\)\r\n$`).FindString(said.err)
	if pid == "" {
		t.Fatalf("after the first command: got %+v", said)
	}
	if err := echoes(fmt.Sprintf("127.0.0.1:%d", port)); err != nil {
		t.Errorf("its forward: %v", err)
	}
	p.expect(told{"second", "", 0}, "", append(persist, "printf second")...)
	p.client = callAs["ssh"]
	p.expect(told{"third", "", 0}, "", append(persist, "printf third")...)
	p.client = callAs["adit"]
	p.expect(told{"", pid, 0}, "", "-O", "check", "server")
	ended := p.watch()
	p.expect(told{"", "Exit request sent.\r\n", 0}, "", "-O", "exit", "server")
	ended()
	// What fails before the connection is up is the first command's failure.
	p.expect(told{"", "remote port forwarding failed", 255}, "", append([]string{"-o", "ExitOnForwardFailure=yes", "-R", takenPort(t) + ":" + echo}, append(persist, "echo no")...)...)
	p.expect(told{"", "Permission denied", 255}, "", append([]string{"-l", "nobody-at-all"}, append(persist, "echo no")...)...)
	p.expect(told{"", "No such file", 255}, "", "-O", "check", "server")
	// Seconds without clients end it. With -v it keeps its standard error, for the
	// end of which run waits.
	p.expect(told{"short", "is listening", 0}, "", "-v", "-o", "ControlMaster=auto", "-o", "ControlPersist=1", "server", "printf short")
	p.expect(told{"", "No such file", 255}, "", "-O", "check", "server")
}

// A master's own command ends, and the master stays for the others.
func TestMasterWithACommand(t *testing.T) {
	t.Parallel()
	testpeer.Need(t, "sshd", "ssh", "ssh-keygen")
	p := newSharing(t, testpeer.SSHD(t, testpeer.SSHDOptions{}), "adit", "ssh")
	master := p.command(p.master, "-M", "server", "cat")
	feed, mout := pipes(t, master)
	io.WriteString(feed, "m")
	io.ReadFull(mout, make([]byte, 1))
	// A second one can't be the master, and does its work.
	p.client = callAs["adit"]
	p.expect(told{"second", "ControlSocket " + p.socket + " already exists, disabling multiplexing\n", 0}, "", "-M", "server", "printf second")
	p.client = callAs["ssh"]
	cmd := p.command(p.client, "server", "cat")
	in, out := pipes(t, cmd)
	io.WriteString(in, "a")
	io.ReadFull(out, make([]byte, 1))
	feed.Close() // the master's own command is over
	io.WriteString(in, "b")
	if got := make([]byte, 1); true {
		if _, err := io.ReadFull(out, got); err != nil || got[0] != 'b' {
			t.Errorf("after the master's own command: got %q, %v", got, err)
		}
	}
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if err := master.Wait(); err != nil {
		t.Errorf("the master: %v", err)
	}
}

// ControlMaster ask has SSH_ASKPASS ask.
func TestSharedAsk(t *testing.T) {
	t.Parallel()
	testpeer.Need(t, "sshd", "ssh", "ssh-keygen")
	p := newSharing(t, testpeer.SSHD(t, testpeer.SSHDOptions{}), "adit", "ssh")
	askpass := filepath.Join(p.dir, "askpass")
	script := "#!/bin/sh\necho \"$SSH_ASKPASS_PROMPT: $1\" >> " + p.dir + "/asked\ncat " + p.dir + "/answer\n"
	if err := os.WriteFile(askpass, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	answer := func(text string) {
		if err := os.WriteFile(filepath.Join(p.dir, "answer"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p.env = []string{"SSH_ASKPASS=" + askpass, "SSH_ASKPASS_REQUIRE=force"}
	p.socket += "-asking"
	config, err := os.OpenFile(p.config, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := config.WriteString("BatchMode no\n"); err != nil {
		t.Fatal(err)
	}
	config.Close()
	answer("no\n")
	master := p.command(p.master, "-v", "-S", p.socket, "-M", "-M", "-N", "server")
	said := new(output)
	master.Stderr = said
	if err := master.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		master.Process.Kill()
		master.Wait()
	})
	if _, _, err := said.await(regexp.MustCompile(`is listening`), 0); err != nil {
		t.Fatal(err)
	}
	p.expect(told{"own", "Master refused session request: Permission denied", 0}, "", "-S", p.socket, "server", "printf own")
	answer("yes\n")
	p.expect(told{"shared", "", 0}, "", "-S", p.socket, "server", "printf shared")
	asked, err := os.ReadFile(filepath.Join(p.dir, "asked"))
	question := "confirm: Allow shared connection to " + p.s.Host() + "? \n"
	if want := question + question; err != nil || string(asked) != want {
		t.Errorf("asked %q, %v, want %q", asked, err, want)
	}
}
