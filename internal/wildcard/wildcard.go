// Package wildcard matches the patterns that OpenSSH has in its files and messages
// (ssh_config(5), PATTERNS): * stands for any text, ? for one byte, and nothing else
// for anything but itself. Lists of patterns, negation, networks and case are their
// callers' matter, since each file has its own rules.
package wildcard

import "strings"

// Match reports whether the whole of s has the form of pattern. Patterns come from
// peers and from people's files alike, so it takes len(pattern) * len(s) steps at the
// most, whatever they are (OpenSSH, match.c, match_pattern, took exponential time
// before 10.4).
func Match(pattern, s string) bool {
	star, from := -1, 0 // the last * and where its text ends so far
	p, i := 0, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, i
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == s[i]):
			p++
			i++
		case star >= 0:
			from++
			p, i = star+1, from
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
