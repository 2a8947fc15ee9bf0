package interop

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/internal/algo"
	"github.com/adit-ssh/adit/internal/testpeer"
	"github.com/adit-ssh/adit/internal/wire"
	"github.com/adit-ssh/adit/trace"
	"github.com/adit-ssh/adit/trace/pcapng"
)

// pair is what a connection is made with. The MAC is for CTR, where Wireshark knows
// no encrypt-then-MAC.
type pair struct{ kex, cipher string }

func (p pair) config() adit.Config {
	c := adit.Config{Kex: []string{p.kex}, Ciphers: []string{p.cipher}}
	if strings.HasSuffix(p.cipher, "-ctr") {
		c.MACs = []string{"hmac-sha2-256"}
	}
	return c
}

// decrypted says what tshark can decrypt. 4.0 and 4.4 (Debian 12 and 13): Curve25519
// by a private key, and the ciphers that need no sequence number, CTR not in 4.4; they
// know no strict key exchange, which sets the number back. 4.6: all ciphers, and by
// SHARED_SECRET Diffie-Hellman and ML-KEM. None knows the curves of NIST.
func (p pair) decrypted(v wireshark) bool {
	curve := strings.HasPrefix(p.kex, "curve25519-sha256")
	if v.before(4, 6) {
		return curve && (strings.HasSuffix(p.cipher, "-gcm@openssh.com") || strings.HasSuffix(p.cipher, "-ctr") && v.before(4, 1))
	}
	return curve || strings.HasPrefix(p.kex, "diffie-hellman-") || strings.HasPrefix(p.kex, "mlkem768x25519")
}

// wireshark is a version.
type wireshark struct{ major, minor int }

func (v wireshark) before(major, minor int) bool {
	return v.major < major || v.major == major && v.minor < minor
}

func wiresharkVersion(t *testing.T) (v wireshark) {
	t.Helper()
	words := strings.Fields(tshark(t, "--version"))
	if _, err := fmt.Sscanf(strings.TrimSuffix(words[2], "."), "%d.%d", &v.major, &v.minor); err != nil {
		t.Fatalf("tshark's version %q: %v", words[:3], err)
	}
	return v
}

// pairs are every method of key exchange with one cipher, and every cipher with
// both names of Curve25519, among those that sshd has too.
func pairs() (all []pair) {
	const kex, cipher = "curve25519-sha256", "aes128-gcm@openssh.com"
	for _, k := range algo.SupportedKex() {
		if k != kex && !strings.HasPrefix(k, "mlkem") {
			all = append(all, pair{k, cipher})
		}
	}
	for _, c := range algo.SupportedCiphers() {
		all = append(all, pair{kex, c})
	}
	return append(all, pair{kex + "@libssh.org", "aes256-gcm@openssh.com"})
}

// connectThrough opens a channel to an echo service by its name and has it echo.
func connectThrough(t *testing.T, s *testpeer.Server, cfg adit.Config, target string) {
	t.Helper()
	cfg.User, cfg.CheckHostKey, cfg.Keys = s.User, adit.FixedHostKey(s.HostKeys[0]), adit.Keys(s.Key.Signer)
	c, err := adit.Dial(withLimit(t), s.Addr, &cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	nc, err := c.DialContext(withLimit(t), "tcp", target)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	for round := range 2 {
		if _, err := io.WriteString(nc, "hello"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(nc, make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
		if round == 0 && cfg.Tracer != nil {
			c.Rekey() // the second round goes with new keys
		}
	}
}

// TestKeyLog captures connections to sshd and has tshark decrypt them with what
// Config.KeyLog wrote: the CHANNEL_OPEN must be there, with host and port. Hybrids,
// which this sshd lacks, have another server.
func TestKeyLog(t *testing.T) {
	testpeer.Need(t, "tshark", "tcpdump", "sshd")
	if os.Geteuid() != 0 {
		testpeer.Missing(t, "to capture packets takes root")
	}
	keyLog(t, testpeer.SSHD(t, testpeer.SSHDOptions{}), pairs())
	var hybrids []pair
	for _, k := range algo.SupportedKex() {
		if strings.HasPrefix(k, "mlkem") {
			hybrids = append(hybrids, pair{k, "aes128-gcm@openssh.com"})
		}
	}
	keyLog(t, testpeer.XCrypto(t), hybrids)
}

func keyLog(t *testing.T, s *testpeer.Server, all []pair) {
	t.Helper()
	version := wiresharkVersion(t)
	echo := testpeer.EchoTarget(t).Addr
	_, port, _ := net.SplitHostPort(echo)
	var keys bytes.Buffer
	stop := capture(t, s.Port())
	var streams []pair
	for _, p := range all {
		for again := true; again; {
			before := keys.Len()
			cfg := p.config()
			cfg.KeyLog = &keys
			connectThrough(t, s, cfg, net.JoinHostPort("localhost", port))
			// Wireshark 4.0 forgets that an mpint has no zero byte in front, so it
			// can't decrypt one exchange in 256 with Curve25519.
			words := strings.Fields(string(keys.Bytes()[before:]))
			again = strings.HasPrefix(p.kex, "curve25519") && len(words[len(words)-1]) < 2*32
			if again {
				streams = append(streams, pair{})
				continue
			}
			streams = append(streams, p)
		}
	}
	file := stop()
	log := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(log, keys.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	for i, p := range streams {
		if p.kex == "" {
			continue
		}
		args := []string{"-r", file, "-d", fmt.Sprintf("tcp.port==%d,ssh", s.Port()), "-o", "ssh.keylog_file:" + log}
		got := opens(t, append(args, "-Y", fmt.Sprintf("tcp.stream==%d && ssh", i), "-x")...)
		want := "localhost:" + port
		switch right := len(got) == 1 && got[0] == want; {
		case p.decrypted(version) && !right:
			t.Errorf("%s with %s: tshark %v finds opens to %v, want %s, in\n%s", p.kex, p.cipher, version, got, want,
				tshark(t, append(args, "-Y", fmt.Sprintf("tcp.stream==%d", i))...))
		case right:
			t.Logf("tshark %v: %s with %s: decrypted, to %s", version, p.kex, p.cipher, got[0])
		default:
			t.Logf("tshark %v: %s with %s: it can't", version, p.kex, p.cipher)
		}
	}
}

// TestCapture has tshark dissect the capture that --trace FILE.pcapng makes, for
// every pair, with none of the connection's keys.
func TestCapture(t *testing.T) {
	testpeer.Need(t, "tshark", "sshd")
	s := testpeer.SSHD(t, testpeer.SSHDOptions{})
	_, port, _ := net.SplitHostPort(testpeer.EchoTarget(t).Addr)
	file := filepath.Join(t.TempDir(), "trace.pcapng")
	f, err := trace.CreateFile(file, trace.LevelPacket, "adit test", new(pcapng.Format))
	if err != nil {
		t.Fatal(err)
	}
	all := pairs()
	var keys bytes.Buffer
	for _, p := range all {
		cfg := p.config()
		cfg.Tracer, cfg.KeyLog = f, &keys
		connectThrough(t, s, cfg, net.JoinHostPort("localhost", port))
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	got := opens(t, "-r", file, "-Y", "ssh", "-x")
	if len(got) != len(all) {
		t.Errorf("%d CHANNEL_OPENs of %d connections: %v", len(got), len(all), got)
	}
	for _, to := range got {
		if to != "localhost:"+port {
			t.Errorf("a channel to %s, want localhost:%s", to, port)
		}
	}
	out := tshark(t, "-r", file, "-V", "-Y", "ssh")
	for _, want := range []string{"Channel type name: direct-tcpip", "Message Code: Channel Open Confirmation (91)", "Message Code: Channel Close (97)",
		"SSH-2.0-OpenSSH", "adit: NEWKEYS of a later key exchange", "host to connect=localhost port to connect=" + port} {
		if strings.Count(out, want) < len(all) {
			t.Errorf("%q is there %d times, want %d", want, strings.Count(out, want), len(all))
		}
	}
	if strings.Contains(out, "Malformed") {
		t.Errorf("tshark finds something malformed:\n%s", out)
	}
	// The real secrets are nowhere in the file.
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	words := strings.Fields(keys.String())
	for _, w := range words {
		raw, err := hex.DecodeString(w)
		if err != nil || len(raw) < 32 { // a label, or the cookie, which is public
			continue
		}
		if bytes.Contains(b, raw) || bytes.Contains(b, []byte(w)) {
			t.Error("a secret of the connection is in the capture")
		}
	}
}

func tshark(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(withLimit(t), "tshark", args...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "LC_ALL=C.UTF-8")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tshark: %v\n%s", err, stderr.String())
	}
	return string(out)
}

var hexLine = regexp.MustCompile(`^[0-9a-f]{4}  ((?:[0-9a-f]{2} ?)+)`)

// opens returns the targets of all CHANNEL_OPENs that tshark decrypted: from its
// dumps of decrypted packets, since it does not show the fields of direct-tcpip.
func opens(t *testing.T, args ...string) (targets []string) {
	t.Helper()
	var packet []byte
	end := func() {
		var m wire.ChannelOpen
		var d wire.DirectTCPIP
		if len(packet) > 5 && int(packet[4]) < len(packet)-5 && packet[5] == wire.NumChannelOpen &&
			wire.Parse(packet[5:len(packet)-int(packet[4])], &m) == nil && wire.ParseBody(m.Data, &d) == nil {
			targets = append(targets, net.JoinHostPort(d.Host, fmt.Sprint(d.Port)))
		}
		packet = nil
	}
	decrypted := false
	for line := range strings.Lines(tshark(t, args...)) {
		if hex := hexLine.FindStringSubmatch(line); hex != nil {
			if decrypted {
				packet = append(packet, fromHex(t, strings.ReplaceAll(hex[1], " ", ""))...)
			}
			continue
		}
		end()
		decrypted = strings.HasPrefix(line, "Decrypted Packet")
	}
	end()
	return targets
}

func fromHex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// endOfCapture is sent behind everything that is to be in a capture.
const endOfCapture = "the end of adit's capture"

// capture captures what goes over a loopback port, until it is stopped; that
// returns the file.
func capture(t *testing.T, port int) (stop func() string) {
	t.Helper()
	// In this mode each packet has a slot of the longest length: with the usual
	// sizes there would be a dozen of them, and a busy machine would lose packets.
	cmd := exec.CommandContext(withLimit(t), "tcpdump", "-i", "lo", "-s", "16384", "-B", "32768", "--immediate-mode", "-U", "-w", "-", "port", fmt.Sprint(port))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	// The file's header comes when tcpdump is ready.
	head := make([]byte, 24)
	if _, err := io.ReadFull(out, head); err != nil {
		testpeer.Missing(t, "tcpdump can't capture here: %v", err)
	}
	file := filepath.Join(t.TempDir(), "capture.pcap")
	done := make(chan error, 1)
	go func() { done <- copyCapture(file, head, out) }() // ends at the mark, or with tcpdump
	return func() string {
		c, err := net.Dial("udp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, endOfCapture); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatalf("read the capture: %v", err)
		}
		return file
	}
}

// copyCapture copies packets into a file until the mark comes.
func copyCapture(file string, head []byte, from io.Reader) error {
	all := bytes.Clone(head)
	for {
		record := make([]byte, 16)
		if _, err := io.ReadFull(from, record); err != nil {
			return err
		}
		data := make([]byte, binary.LittleEndian.Uint32(record[8:]))
		if _, err := io.ReadFull(from, data); err != nil {
			return err
		}
		if bytes.Contains(data, []byte(endOfCapture)) {
			return os.WriteFile(file, all, 0o600)
		}
		all = append(append(all, record...), data...)
	}
}
