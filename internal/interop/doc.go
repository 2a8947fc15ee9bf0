// Package interop proves adit against other SSH implementations: its tests run
// our client against their servers (TestOurClient) and their clients against our
// bastion (TestOurServer), as package testpeer starts them. Each pair connects,
// logs in, moves data both ways under forced key exchanges with SHA-256
// compared, half-closes where the peer can, and meets a refused target. Further
// tests are about logins. It has no code outside its tests.
//
// A peer that is not installed makes its test skip, which says what is missing;
// with CI set in the environment it fails instead. `make deps` installs them
// all on Debian.
package interop
