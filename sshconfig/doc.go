// Package sshconfig reads ssh_config(5) as OpenSSH's ssh does: which files, in
// which order, which blocks match, which of several values wins, which tokens
// are put in where. Load answers the question "what holds for this host?" with
// a Config.
//
// Every value remembers where it comes from (Config.Values), and every Host and
// Match line whether it matched and why not (Config.Blocks). Config.Print writes
// what `ssh -G` writes.
//
// It follows OpenSSH 10.3 (readconf.c, ssh.c). It knows every keyword of it,
// also those whose feature the caller may not have: what to do about them is
// the caller's matter. It opens no connection, writes no file and asks nobody;
// it runs a command only for `Match exec`, and looks up a name only for
// CanonicalizeHostname. Both can be replaced in Options.
//
// Where it departs from OpenSSH on purpose: all mistakes are told, not the first
// file's; sessiontype=value is read; commands are not run for a Match in a file
// whose Include does not apply; keywords of patched systems, such as Apple's
// UseKeychain, and algorithms that only the caller's engine lacks, are warnings;
// a file may be writable for the person's private group; there are limits on
// how much is read.
//
// It is not an editor: comments and order of the files are not kept.
package sshconfig
