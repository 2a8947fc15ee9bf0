//go:build linux

package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gossh "golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/adit-ssh/adit/internal/testnet"
	"github.com/adit-ssh/adit/internal/testpeer"
)

// What a session asks for is the same, byte by byte, as from ssh in the same
// place.
func TestRequestsAreThoseOfSSH(t *testing.T) {
	testpeer.Need(t, "ssh")
	dir := t.TempDir()
	user := testpeer.NewKey(t, "ed25519")
	addr, host, asked := recorder(t)
	known := filepath.Join(dir, "known_hosts")
	if err := os.WriteFile(known, []byte(knownhosts.Line([]string{addr}, host)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	options := []string{"-F", "none", "-i", user.Path, "-o", "UserKnownHostsFile=" + known, "-p", portIn(addr), "-o", "SendEnv=ADIT_* TERM", "-o", "SetEnv=B=2 A=1"}
	t.Setenv("ADIT_TEST", "x y")
	for _, args := range []string{
		"HOST", "HOST ls -l", "-t HOST ls", "-tt HOST", "-T HOST", "-s HOST sftp", "-o RemoteCommand=date HOST", "-t -o SetEnv=TERM=dumb HOST", "-n HOST",
	} {
		for _, terminal := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, terminal %t", args, terminal), func(t *testing.T) {
				var got [2][]string
				for i, program := range []string{"ssh", "adit"} {
					line := slices.Concat(options, strings.Fields(strings.ReplaceAll(args, "HOST", "tester@127.0.0.1")))
					if program == "adit" {
						line = append([]string{"ssh"}, line...)
					}
					if terminal {
						c := sitAt(t, dir, program, line...)
						got[i] = <-asked
						c.wait()
						continue
					}
					cmd := exec.Command(program, line...)
					cmd.Env = append(os.Environ(), "HOME="+dir, "SSH_AUTH_SOCK=", "TERM=vt100")
					if out, err := cmd.CombinedOutput(); err != nil {
						t.Errorf("%s: %v\n%s", program, err, out)
					}
					got[i] = <-asked
				}
				if !slices.Equal(got[0], got[1]) {
					t.Errorf("adit asks for\n%s\nssh for\n%s", strings.Join(got[1], "\n"), strings.Join(got[0], "\n"))
				}
				if len(got[0]) == 0 {
					t.Error("nothing was asked for")
				}
			})
		}
	}
}

// recorder is a server that lets everybody in and starts nothing, but sends what
// each session asked for.
func recorder(t *testing.T) (addr string, host gossh.PublicKey, asked <-chan []string) {
	key := testpeer.NewKey(t, "ed25519")
	config := &gossh.ServerConfig{PublicKeyCallback: func(gossh.ConnMetadata, gossh.PublicKey) (*gossh.Permissions, error) { return nil, nil }}
	config.AddHostKey(key.Signer)
	all := make(chan []string, 8)
	addr = testnet.ServeTCP(t, func(nc *net.TCPConn) { all <- record(nc, config) })
	return addr, key.Public, all
}

// record returns the requests of one connection's session.
func record(nc net.Conn, config *gossh.ServerConfig) (asked []string) {
	conn, channels, requests, err := gossh.NewServerConn(nc, config)
	if err != nil {
		return []string{err.Error()}
	}
	defer conn.Close()
	go gossh.DiscardRequests(requests) // ends with the connection
	for open := range channels {
		ch, requests, err := open.Accept()
		if err != nil {
			return append(asked, err.Error())
		}
		asked = append(asked, fmt.Sprintf("%s %q", open.ChannelType(), open.ExtraData()))
		for r := range requests {
			asked = append(asked, fmt.Sprintf("%s %t %q", r.Type, r.WantReply, r.Payload))
			r.Reply(true, nil)
			if slices.Contains([]string{"exec", "shell", "subsystem"}, r.Type) {
				break
			}
		}
		ch.SendRequest("exit-status", false, make([]byte, 4))
		ch.Close()
		for range requests { // until the client has closed it too
		}
	}
	return asked
}
