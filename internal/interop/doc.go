// Package interop proves adit against other SSH implementations: its tests run
// our client against their servers and their clients against our bastion. Each
// pair connects, logs in, moves data both ways under forced key exchanges,
// compares SHA-256 and meets a refused target. It has no code outside its
// tests.
//
// A peer that is not installed makes its test skip, which says what is missing;
// with CI set in the environment it fails instead. `make deps` installs them
// all on Debian.
package interop
