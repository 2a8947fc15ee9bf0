// Package testpeer runs other people's SSH programs for tests: OpenSSH,
// dropbear, tinysshd, PuTTY, paramiko, asyncssh, libssh, Erlang/OTP and
// golang.org/x/crypto/ssh.
//
// SSHD, Dropbear, TinySSH, AsyncSSH, OTP and XCrypto start servers; each gives
// an Endpoint: address, host key, user and a key that is let in. Clients lists
// the client programs; each opens a Tunnel through an Endpoint, theirs or ours,
// to one of the targets of this package: HashTarget proves that bytes arrive
// whole, EchoTarget that half-close does, ResetTarget, SilentTarget and
// RefusedAddr are targets that fail. GPGAgent and Pageant are SSH agents.
//
// A test that needs a program that is not installed skips and says which Debian
// package has it; with CI set and as root, where `make deps` could have
// installed it, it fails instead. Everything runs on loopback in the test's
// temporary directory, is killed and waited for when the test ends, and shows
// its log if the test failed.
//
// It must not import our SSH packages: a peer that shared our code would share
// our mistakes.
package testpeer
