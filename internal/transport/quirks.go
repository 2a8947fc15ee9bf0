package transport

import "regexp"

// Quirks are what a peer is known to do: a server when a client is ahead of its
// answers, and both as senders. Where nothing is known, a client waits.
type Quirks struct {
	// SkipsWrongGuess: it ignores the first packet of a key exchange that was
	// guessed wrong, as RFC 4253, section 7, says. asyncssh 2.10 and Erlang/OTP
	// 25 take it for the right one, and their host key's signature is of
	// something else then.
	SkipsWrongGuess bool
	// BearsEarlyOpen: it goes on after a CHANNEL_OPEN behind a login that it
	// refused. sshd answers UNIMPLEMENTED; dropbear and x/crypto disconnect.
	BearsEarlyOpen bool
	// Paces: it sends bulk no faster than its peer takes it while other channels
	// exchange small data.
	Paces bool
}

// The tests TestExpect and TestAhead prove these against the servers themselves.
var (
	skipsWrongGuess = regexp.MustCompile(`^SSH-2\.0-(OpenSSH_([6-9]|\d\d)|adit|Go|dropbear)`)
	bearsEarlyOpen  = regexp.MustCompile(`^SSH-2\.0-(OpenSSH_([6-9]|\d\d)|adit)`)
	paces           = regexp.MustCompile(`^SSH-2\.0-adit`)
)

// QuirksOf returns what is known about a peer by its version line.
func QuirksOf(version string) Quirks {
	return Quirks{
		SkipsWrongGuess: skipsWrongGuess.MatchString(version),
		BearsEarlyOpen:  bearsEarlyOpen.MatchString(version),
		Paces:           paces.MatchString(version),
	}
}
