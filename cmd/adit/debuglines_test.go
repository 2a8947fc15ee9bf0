package main

import (
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/adit-ssh/adit/internal/testpeer"
	"github.com/adit-ssh/adit/internal/wire"
	"github.com/adit-ssh/adit/trace"
)

// knownByHeart are lines that people look for in ssh -vvv, in their order.
var knownByHeart = []string{
	`debug1: Connecting to .*`,
	`debug1: Connection established.*`,
	`debug1: Local version string SSH-2\.0-.+`,
	`debug1: Remote protocol version 2\.0, remote software version OpenSSH_\S+.*`,
	`debug1: Authenticating to 127\.0\.0\.1:\d+ as '\S+'`,
	`debug1: SSH2_MSG_KEXINIT sent`,
	`debug1: SSH2_MSG_KEXINIT received`,
	`debug1: kex: algorithm: curve25519-sha256`,
	`debug1: kex: host key algorithm: ssh-ed25519`,
	`debug1: kex: server->client cipher: aes128-gcm@openssh\.com MAC: <implicit> compression: none`,
	`debug1: kex: client->server cipher: aes128-gcm@openssh\.com MAC: <implicit> compression: none`,
	`debug1: expecting SSH2_MSG_KEX_ECDH_REPLY`,
	`debug1: SSH2_MSG_KEX_ECDH_REPLY received`,
	`debug1: Server host key: ssh-ed25519 SHA256:\S+`,
	`debug1: SSH2_MSG_NEWKEYS sent`,
	`debug1: SSH2_MSG_NEWKEYS received`,
	`debug1: Next authentication method: publickey`,
	`Authenticated to 127\.0\.0\.1 \(\[127\.0\.0\.1\]:\d+\) using "publickey"\.`,
	`debug1: channel 0: new .*\[(client-)?session\b.*`,
	`debug3: send packet: type 90\b.*`,
	`debug3: receive packet: type 91\b.*`,
	`debug2: channel 0: open confirm rwindow 0 rmax 32768.*`,
	`debug3: receive packet: type 97\b.*`,
	`debug1: channel 0: free: (client-)?session, nchannels [01].*`,
}

// Both programs say these lines; but for those of packets and channels, which adit
// sends ahead, in this order.
func TestDebugLinesAreSSHs(t *testing.T) {
	t.Parallel()
	testpeer.Need(t, "sshd", "ssh")
	s := testpeer.SSHD(t, testpeer.SSHDOptions{})
	args := []string{"-vvv", "-F", "none", "-i", s.Key.Path, "-p", strconv.Itoa(s.Port()), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes",
		"-o", "UserKnownHostsFile=" + s.KnownHosts(t), "-o", "GlobalKnownHostsFile=none", "-o", "KexAlgorithms=curve25519-sha256", "-o", "HostKeyAlgorithms=ssh-ed25519",
		"-c", "aes128-gcm@openssh.com", "-l", s.User, "127.0.0.1", "true"}
	for _, program := range [][]string{{"ssh"}, {"adit", "ssh"}} {
		cmd := exec.Command(program[0], append(program[1:], args...)...)
		cmd.Env = append(cmd.Environ(), "SSH_AUTH_SOCK=")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %v\n%s", program, err, out)
		}
		lines := strings.Split(strings.ReplaceAll(string(out), "\r", ""), "\n")
		last, lastWas := -1, ""
		for _, want := range knownByHeart {
			re := regexp.MustCompile("^" + want + "$")
			at := slices.IndexFunc(lines, re.MatchString)
			switch {
			case at < 0:
				t.Errorf("%v: no line %q in\n%s", program, want, out)
			case strings.HasPrefix(want, "debug1: channel") || strings.HasPrefix(want, "debug2") || strings.HasPrefix(want, "debug3"):
			case at < last:
				t.Errorf("%v: %q comes before %q in\n%s", program, lines[at], lastWas, out)
			default:
				last, lastWas = at, lines[at]
			}
		}
	}
}

// What an event says, and at which -v.
func TestDebugLines(t *testing.T) {
	for _, tt := range []struct {
		e    trace.Event
		want []string
	}{
		{trace.DialStage{Stage: "connect to", Address: "192.0.2.1:22", Err: "connection refused"}, []string{"debug1: connect to address 192.0.2.1 port 22: connection refused"}},
		{trace.BannerLine{Text: "go\x1b[2J away", Number: 1}, []string{"debug1: kex_exchange_identification: banner line 0: go[2J away"}},
		{trace.AuthAttempt{Method: "none", Result: "failure", CanContinue: []string{"publickey", "password"}}, []string{"debug1: Authentications that can continue: publickey,password"}},
		{trace.AuthAttempt{Method: "publickey", Probe: true, Key: "ssh-ed25519 SHA256:x", Result: "key accepted"},
			[]string{"debug1: Next authentication method: publickey", "debug1: Offering public key: ssh-ed25519 SHA256:x", "debug1: Server accepts key: ssh-ed25519 SHA256:x"}},
		{trace.AuthAttempt{Method: "publickey-hostbound-v00@openssh.com", Key: "k", Result: "success"}, []string{"debug1: Next authentication method: publickey", "debug1: Signed with key: k", "debug1: Authentication succeeded (publickey)."}},
		{trace.AuthAttempt{Method: "password", Result: "partial", CanContinue: []string{"publickey"}},
			[]string{"debug1: Next authentication method: password", `debug1: Authenticated using "password" with partial success.`, "debug1: Authentications that can continue: publickey"}},
		{trace.ChannelOpened{Local: 2, Type: "direct-tcpip", Target: "db:5432", Originator: "127.0.0.1:9", WindowOut: 7, MaxPacketOut: 8, WindowIn: 9, MaxPacketIn: 10},
			[]string{"debug1: channel 2: new [direct-tcpip: db:5432 from 127.0.0.1:9]", "debug2: channel 2: open confirm rwindow 7 rmax 8; window here 9, maximum packet 10"}},
		{trace.ChannelRefused{Type: "direct-tcpip", Target: "db:1", Reason: 2, Description: "Connection\x07 refused"}, []string{"debug1: channel direct-tcpip db:1: open failed: connect failed: Connection refused"}},
		{trace.ChannelClosed{Local: 2, Type: "direct-tcpip", BytesIn: 1, BytesOut: 2}, []string{"debug1: channel 2: free: direct-tcpip, nchannels 0; 2 bytes out, 1 in"}},
		{trace.Forward{What: "listen", Spec: "8080:a:80", Local: "127.0.0.1:8080"}, []string{"debug1: Local forwarding listening on 127.0.0.1 port 8080."}},
		{trace.Forward{What: "accept", Spec: "8080:a:80", Local: "127.0.0.1:8080", Originator: "127.0.0.1:5", Target: "a:80"},
			[]string{"debug1: Connection to port 8080 forwarding to a port 80 requested, from 127.0.0.1:5."}},
		{trace.Packet{Out: true, Num: 97, Msg: &wire.ChannelClose{RecipientChannel: 4}}, []string{"debug3: send packet: type 97 CHANNEL_CLOSE recipient channel=4"}},
	} {
		var out strings.Builder
		d := &debugTracer{w: &out, most: trace.LevelPacket}
		d.lines.channels = 1
		if _, opened := tt.e.(trace.ChannelOpened); opened {
			d.lines.channels = 0
		}
		d.Trace(time.Now(), tt.e)
		if got := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n"); !slices.Equal(got, tt.want) {
			t.Errorf("%T:\ngot  %q\nwant %q", tt.e, got, tt.want)
		}
	}
}
