package adit

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/algo"
	"github.com/adit-ssh/adit/internal/transport"
	"github.com/adit-ssh/adit/internal/userauth"
	"github.com/adit-ssh/adit/internal/wire"
	"github.com/adit-ssh/adit/trace"
)

// Key is a key to log in with.
type Key = userauth.Key

// ContextSigner is a Signer that may wait, for a person or for an agent.
type ContextSigner = userauth.ContextSigner

// Preference is the key exchange that a server is expected to choose, and the host
// key algorithm.
type Preference = transport.Preference

// ErrExpect says that a server chose another key exchange than Config.Expect, so
// that the connection is lost: connect anew without. Dial does so by itself.
var ErrExpect = transport.ErrExpect

// Prompt is one question of keyboard-interactive authentication.
type Prompt = wire.Prompt

// Config says how to connect. Its zero value lacks only CheckHostKey, which has
// no default. It is not modified, and must not be while in use.
type Config struct {
	// User is the name to log in as (ssh_config: User). A name in Dial's
	// target goes before it. It must be in one of the two.
	User string

	// CheckHostKey decides whether the server's key is trusted. host is the
	// address as given to Dial, with its port. Required. To go on with a server
	// that may be another one, return an error that wraps ErrUnverified.
	CheckHostKey func(host, algorithm string, key gossh.PublicKey) error
	// HostKeyAlgorithms in order of preference (HostKeyAlgorithms). Nil means
	// all that are supported and safe, certificates and Ed25519 first.
	HostKeyAlgorithms []string

	// ServerKeys is called when the server has told, after the login, which host
	// keys it has (UpdateHostKeys). It runs on a goroutine of its own, once; ctx
	// ends with the connection, and Close waits for it. Nil: nobody wants to know.
	ServerKeys func(ctx context.Context, keys *ServerKeys)

	// Keys are tried in order (IdentityFile, IdentityAgent). Called once, before
	// the login begins: it should not bother a person, see ContextSigner.
	Keys func(ctx context.Context) ([]Key, error)
	// KeyAlgorithms are the signature algorithms that may be used with keys
	// (PubkeyAcceptedAlgorithms). Nil means all that are supported and safe.
	KeyAlgorithms []string
	// Unbound leaves the server's host key out of what is signed, also where the
	// server would have it in (PubkeyAuthentication unbound).
	Unbound bool
	// Methods is the order in which methods are tried
	// (PreferredAuthentications); those that are not in it, or whose callback is
	// nil, are not. Nil means publickey, keyboard-interactive, password.
	Methods []string
	// Password asks for a password (PasswordAuthentication); nil: never.
	Password func(ctx context.Context) (string, error)
	// NewPassword asks for the old and a new password when the server demands a
	// change, with its own words; nil ends the login there.
	NewPassword func(ctx context.Context, prompt string) (old, new string, err error)
	// Tries is how often Password and Answer are asked in a row
	// (NumberOfPasswordPrompts). 0 means 3, a negative number never.
	Tries int
	// Answer answers keyboard-interactive (KbdInteractiveAuthentication); nil:
	// never.
	Answer func(ctx context.Context, name, instruction string, prompts []Prompt) ([]string, error)
	// Banner receives the server's text before login, not sanitised.
	Banner func(text string)

	// Ahead is a target, as host:port, that will be connected to first. Its
	// channel is asked for in the flight of the login, which saves a round trip
	// with servers that are known to bear it. The first DialContext or
	// OpenDirect to that target takes it; its originator is 127.0.0.1 port
	// 65535, as for ssh -W. Empty means none.
	Ahead string

	// Dial makes the connection to the server. Nil dials TCP. With Expect it may be
	// called a second time, once the first connection is closed.
	Dial func(ctx context.Context, address string) (net.Conn, error)
	// ConnectTimeout bounds the connecting and the handshake, host key and all,
	// but not the login (ConnectTimeout). The time that CheckHostKey takes does
	// not count: a person may be asked there. Nor do that time and the login of a
	// jump host (dial.Jump), while the target waits. 0 means none.
	ConnectTimeout time.Duration
	// AliveInterval sends a request to the server when nothing came from it for so
	// long, and again after each further AliveInterval without a byte. In place
	// of request AliveCountMax+1 the connection ends with a *TimeoutError
	// (ServerAliveInterval, ServerAliveCountMax). 0 means never; 0 as
	// AliveCountMax means 3, and less than 0 none: the first silent interval ends
	// the connection, as ServerAliveCountMax 0 does.
	AliveInterval time.Duration
	AliveCountMax int

	// ChannelTimeout returns for how long a channel of a type, such as direct-tcpip,
	// may exchange no data before it is closed, and what was read or written there
	// gets an *IdleError; 0 is for ever. "global" is for all channels together, when none
	// exchanges data (ssh_config: ChannelTimeout). Nil is for ever.
	ChannelTimeout func(channelType string) time.Duration

	// Expect is what the server is expected to choose, as Client.Prefers said after
	// an earlier connection: the key exchange takes a round trip less then. If it
	// has changed its mind, that costs some bytes, or where Expect has no HostKey
	// the connection: Dial makes a second one then, NewClient fails with ErrExpect.
	// It never changes which key exchange is agreed on. The zero value expects nothing.
	Expect Preference
	// Unexpected is called when Expect has cost a connection, before Dial makes the
	// second one: whoever remembers servers forgets this. May be nil.
	Unexpected func()

	// Kex, Ciphers and MACs in order of preference (KexAlgorithms, Ciphers,
	// MACs). Nil means the defaults.
	Kex, Ciphers, MACs []string
	// RekeyBytes and RekeyInterval (RekeyLimit): 0 means the cipher's default
	// and never.
	RekeyBytes    uint64
	RekeyInterval time.Duration
	// Compression has both directions compressed from the login on, where the
	// server can (Compression; zlib@openssh.com). It gains where the network is
	// slower than some 30 MB/s and the data is not compressed already, and costs
	// 1 MB of memory. Config.Ahead waits for the login then. False, the default,
	// compresses only for a server that insists.
	Compression bool

	// VersionAddendum follows our version line after a blank, for the server's log
	// (VersionAddendum): 200 bytes at most, printable ASCII. Empty means none.
	VersionAddendum string

	// Tracer receives events. May be nil. When it is a trace.Brancher, the
	// connection uses a branch of it.
	Tracer trace.Tracer
	// KeyLog receives the secrets of each key exchange as lines that Wireshark's
	// SSH dissector reads (its preference ssh.keylog_file). Whoever has them and
	// a capture can read the whole connection: passwords, keys and data. For
	// debugging only. Nil, the default, writes none. Errors of writing are
	// dropped.
	KeyLog io.Writer
}

// maxAddendum keeps the version line below the 255 bytes of RFC 4253, section 4.2.
const maxAddendum = 200

// versionLine is our version line, or an error for a text that would break it.
func (c *Config) versionLine() (string, error) {
	if c.VersionAddendum == "" {
		return transport.DefaultVersion, nil
	}
	unfit := func(r rune) bool { return r < ' ' || r > '~' }
	if len(c.VersionAddendum) > maxAddendum || strings.ContainsFunc(c.VersionAddendum, unfit) {
		return "", fmt.Errorf("VersionAddendum: more than %d bytes, or not printable ASCII", maxAddendum)
	}
	return transport.DefaultVersion + " " + c.VersionAddendum, nil
}

func (c *Config) transport(host string, check func(host, algorithm string, key gossh.PublicKey) error) *transport.Config {
	return &transport.Config{
		Kex: c.Kex, Ciphers: c.Ciphers, MACs: c.MACs, HostKeyAlgorithms: c.HostKeyAlgorithms,
		RekeyBytes: c.RekeyBytes, RekeyInterval: c.RekeyInterval, Tracer: c.Tracer, KeyLog: c.KeyLog, Expect: c.Expect,
		Extensions: []wire.Extension{{Name: wire.ExtPing, Value: []byte("0")}},
		CheckHostKey: func(algorithm string, key gossh.PublicKey) error {
			return check(host, algorithm, key)
		},
		Compression: c.compression(),
	}
}

// compression lists algorithms as OpenSSH's client does (kex-names.c).
func (c *Config) compression() []string {
	if !c.Compression {
		return nil
	}
	return []string{algo.CompressionDelayed, "none"}
}

// FixedHostKey returns a CheckHostKey that accepts one key.
func FixedHostKey(want gossh.PublicKey) func(host, algorithm string, key gossh.PublicKey) error {
	return func(host, _ string, key gossh.PublicKey) error {
		if string(key.Marshal()) != string(want.Marshal()) {
			return fmt.Errorf("%s shows %s, want %s", host, gossh.FingerprintSHA256(key), gossh.FingerprintSHA256(want))
		}
		return nil
	}
}

// Keys returns a Config.Keys of fixed signers.
func Keys(signers ...gossh.Signer) func(context.Context) ([]Key, error) {
	return func(context.Context) ([]Key, error) {
		var keys []Key
		for _, s := range signers {
			keys = append(keys, Key{Signer: s, Comment: "key"})
		}
		return keys, nil
	}
}
