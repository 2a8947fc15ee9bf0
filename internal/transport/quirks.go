package transport

import "regexp"

// Quirks are what a server is known to do when a client is ahead of its answers.
// Where nothing is known, a client waits.
type Quirks struct {
	// SkipsWrongGuess: it ignores the first packet of a key exchange that was
	// guessed wrong, as RFC 4253, section 7, says. asyncssh 2.10 and Erlang/OTP
	// 25 take it for the right one, and their host key's signature is of
	// something else then.
	SkipsWrongGuess bool
	// BearsEarlyOpen: it goes on after a CHANNEL_OPEN behind a login that it
	// refused. sshd answers UNIMPLEMENTED; dropbear and x/crypto disconnect.
	BearsEarlyOpen bool
}

// The tests TestExpect and TestAhead prove these against the servers themselves.
var (
	skipsWrongGuess = regexp.MustCompile(`^SSH-2\.0-(OpenSSH_([6-9]|\d\d)|adit|Go|dropbear)`)
	bearsEarlyOpen  = regexp.MustCompile(`^SSH-2\.0-(OpenSSH_([6-9]|\d\d)|adit)`)
)

// QuirksOf returns what is known about a server by its version line.
func QuirksOf(version string) Quirks {
	return Quirks{SkipsWrongGuess: skipsWrongGuess.MatchString(version), BearsEarlyOpen: bearsEarlyOpen.MatchString(version)}
}
