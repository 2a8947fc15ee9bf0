package wildcard

import (
	"regexp"
	"strings"
	"testing"
)

func TestMatch(t *testing.T) {
	for _, tt := range []struct {
		pattern, s string
		want       bool
	}{
		{"", "", true}, {"", "a", false}, {"*", "", true}, {"*", "abc", true}, {"**", "x", true}, {"a**", "a", true}, {"a**b", "ab", true},
		{"?", "", false}, {"?", "a", true}, {"?", "ab", false}, {"?b", "ab", true}, {"a?c", "abc", true},
		{"a*", "abc", true}, {"*c", "abc", true}, {"*b", "abc", false}, {"*b*", "abc", true}, {"a*c", "abc", true}, {"a*c", "abbc", true},
		{"a*c", "abcd", false}, {"a*c", "abd", false}, {"*ab", "abab", true}, {"*ab", "aab", true}, {"*a*b", "aab", true}, {"*a*b*", "xxaxxbxx", true},
		{"*.c", "a.b.c", true}, {"a*", "a*", true}, {"[a]", "a", false}, {"!a", "a", false}, {"a,b", "a", false}, {"a", "A", false},
		// Time must not grow with the number of ways to share out the text.
		{strings.Repeat("*a", 500) + "b", strings.Repeat("a", 5000), false},
		{strings.Repeat("*a", 128), strings.Repeat("a", 100_000) + "b", false},
	} {
		if got := Match(tt.pattern, tt.s); got != tt.want {
			t.Errorf("%.20q against %.20q: got %v, want %v", tt.pattern, tt.s, got, tt.want)
		}
	}
}

// The same as a regular expression says.
func FuzzMatch(f *testing.F) {
	for _, seed := range [][2]string{{"", ""}, {"*", "a"}, {"a*b?c", "axxbyc"}, {"**a?*", "aa"}, {"?*?", "\x00\xff"}, {"[*]", "[.]"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, pattern, s string) {
		if len(pattern) > 100 || len(s) > 1000 {
			return
		}
		// Regular expressions are of runes, and so these get one for each byte.
		runes := func(s string) string {
			var b strings.Builder
			for i := range len(s) {
				b.WriteRune(rune(s[i]))
			}
			return b.String()
		}
		like := strings.NewReplacer(`\*`, `.*`, `\?`, `.`).Replace(regexp.QuoteMeta(runes(pattern)))
		if strings.Contains(pattern, `\`) {
			return // QuoteMeta doubles it, and Replace would see one before a *
		}
		if want := regexp.MustCompile(`(?s)\A` + like + `\z`).MatchString(runes(s)); Match(pattern, s) != want {
			t.Errorf("%q against %q: got %v, want %v", pattern, s, !want, want)
		}
	})
}
