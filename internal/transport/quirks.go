package transport

import "strings"

// Quirks are what a peer is known to do: a server when a client is ahead of its
// answers, and both as senders. Where nothing is known, a client waits.
type Quirks struct {
	// SkipsWrongGuess: it ignores the first packet of a key exchange that was
	// guessed wrong, as RFC 4253, section 7, says. asyncssh 2.10 and Erlang/OTP
	// 25 take it for the right one, and their host key's signature is of
	// something else then.
	SkipsWrongGuess bool
	// BearsEarlyShare: it goes on reading where the first packet of the key
	// exchange came together with KEXINIT.
	BearsEarlyShare bool
	// BearsEarlyOpen: it goes on after a CHANNEL_OPEN behind a login that it
	// refused. sshd answers UNIMPLEMENTED; dropbear and x/crypto disconnect.
	BearsEarlyOpen bool
	// Paces: it sends bulk no faster than its peer takes it while other channels
	// exchange small data.
	Paces bool
}

// QuirksOf returns what is known about a peer by its version line.
// The tests TestExpect and TestAhead prove it against the servers themselves.
func QuirksOf(version string) Quirks {
	name, two := strings.CutPrefix(version, "SSH-2.0-")
	if !two {
		return Quirks{}
	}
	ours, openSSH := strings.HasPrefix(name, "adit"), isOpenSSH6(name)
	return Quirks{
		SkipsWrongGuess: ours || openSSH || strings.HasPrefix(name, "Go") || strings.HasPrefix(name, "dropbear"),
		BearsEarlyShare: ours || openSSH || strings.HasPrefix(name, "Go") || strings.HasPrefix(name, "dropbear") ||
			strings.HasPrefix(name, "AsyncSSH") || strings.HasPrefix(name, "Erlang"),
		BearsEarlyOpen: ours || openSSH,
		Paces:          ours,
	}
}

// isOpenSSH6 reports whether a server calls itself OpenSSH 6 or newer.
func isOpenSSH6(name string) bool {
	v, ok := strings.CutPrefix(name, "OpenSSH_")
	digit := func(i int) bool { return i < len(v) && v[i] >= '0' && v[i] <= '9' }
	return ok && digit(0) && (v[0] >= '6' || digit(1))
}
