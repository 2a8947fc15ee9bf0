package sshconfig

import (
	"errors"
	"strings"
)

// blanks is the white space that OpenSSH strips around keywords and lines.
const blanks = " \t\r\n"

// cutKeyword splits a line into its keyword in lower case and the rest. ok is
// false for a line that says nothing: empty, a comment, or an open quote around
// the keyword (misc.c, strdelim).
func cutKeyword(s string) (keyword, rest string, ok bool) {
	if i := strings.IndexByte(s, 0); i >= 0 {
		s = s[:i] // OpenSSH's lines are C strings
	}
	if s == "" {
		return "", "", false
	}
	s = s[:1] + strings.TrimRight(s[1:], blanks+"\f")
	keyword, rest, ok = cutWord(s)
	if ok && keyword == "" {
		keyword, rest, ok = cutWord(rest)
	}
	if !ok || keyword == "" || keyword[0] == '#' {
		return "", "", false
	}
	return lower(keyword), strings.TrimLeft(rest, blanks), true
}

// cutWord takes a word that ends at white space, a quote or one '='.
func cutWord(s string) (word, rest string, ok bool) {
	i := strings.IndexAny(s, blanks+`"=`)
	if i < 0 {
		return s, "", true
	}
	if s[i] == '"' {
		s = s[:i] + s[i+1:]
		j := strings.IndexByte(s[i:], '"')
		if j < 0 {
			return "", "", false
		}
		return s[:i+j], strings.TrimLeft(s[i+j+1:], blanks), true
	}
	rest = strings.TrimLeft(s[i+1:], blanks)
	if s[i] != '=' && strings.HasPrefix(rest, "=") {
		rest = strings.TrimLeft(rest[1:], blanks)
	}
	return s[:i], rest, true
}

// lower changes ASCII letters only: that is all that OpenSSH compares without
// regard to case, and the length stays.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

var errQuotes = errors.New("a quote is not closed")

// splitArgs splits what follows a keyword at blanks; # where an argument could
// begin starts a comment.
func splitArgs(s string) ([]string, error) { return splitWords(s, true) }

// splitWords splits at blanks. Both kinds of quotes keep blanks; a backslash
// quotes a quote, a backslash, or a blank outside quotes (misc.c, argv_split).
func splitWords(s string, comments bool) ([]string, error) {
	var args []string
	for i := 0; i < len(s); i++ {
		if s[i] == ' ' || s[i] == '\t' {
			continue
		}
		if s[i] == '#' && comments {
			break
		}
		var arg []byte
		var quote byte
		for ; i < len(s); i++ {
			c := s[i]
			switch {
			case c == '\\' && i+1 < len(s) && (strings.IndexByte(`'"\`, s[i+1]) >= 0 || quote == 0 && s[i+1] == ' '):
				i++
				arg = append(arg, s[i])
				continue
			case quote == 0 && (c == '"' || c == '\''):
				quote = c
				continue
			case quote != 0 && c == quote:
				quote = 0
				continue
			}
			if quote == 0 && (c == ' ' || c == '\t') {
				break
			}
			arg = append(arg, c)
		}
		if quote != 0 {
			return nil, errQuotes
		}
		args = append(args, string(arg))
	}
	return args, nil
}

// Quote returns a value as one argument that reads back as it is, whatever is in
// it, but for line ends, which a value can't have.
func Quote(value string) string {
	plain := func(c byte) bool { return isAlnum(c) || strings.IndexByte("-_.,:/@%+*~[]", c) >= 0 }
	bare := value != ""
	for i := range len(value) {
		bare = bare && plain(value[i])
	}
	if bare {
		return value
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(value) + `"`
}
