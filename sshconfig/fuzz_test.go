package sshconfig

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// FuzzLoad reads any file. Nothing may make it panic or hang, every mistake has a
// line, and what it prints is what it prints again.
func FuzzLoad(f *testing.F) {
	files, err := filepath.Glob(goldenFiles)
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for section := range strings.SplitSeq(string(b), "\n== ") {
			if head, text, ok := strings.Cut(section, "\n"); ok && strings.HasPrefix(head, "file ") {
				f.Add(text)
			}
		}
	}
	home := f.TempDir()
	path := filepath.Join(home, "config")
	f.Fuzz(func(t *testing.T, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := Load(t.Context(), Options{
			Host: "host.example", User: "ann", UID: "1", Home: home, LocalHost: "here", File: path, Resolver: fakeResolver{},
			Exec:       func(context.Context, string) (int, error) { return 0, nil },
			Interfaces: func() ([]netip.Addr, error) { return nil, nil },
		})
		if err != nil {
			if _, ok := errors.AsType[*LineError](err); !ok && !strings.Contains(err.Error(), "resolve ") && !strings.Contains(err.Error(), "included deeper") {
				t.Errorf("the mistake has no line: %v", err)
			}
			return
		}
		var one, two bytes.Buffer
		if err := errors.Join(c.Print(&one), c.Print(&two)); err != nil || !bytes.Equal(one.Bytes(), two.Bytes()) {
			t.Errorf("printed twice: %v", err)
		}
		for _, v := range c.Values() {
			if v.Origin.File != "" && (v.Origin.Line < 1 || v.Origin.Line > strings.Count(text, "\n")+1) {
				t.Errorf("%s comes from %s, which is not there", v.Keyword, v.Origin)
			}
		}
	})
}

// FuzzQuote reads back what Quote writes.
func FuzzQuote(f *testing.F) {
	for _, s := range []string{"", "a b", `a"b\`, "#x", "'", `\\"`, "=x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if strings.ContainsAny(s, "\x00\n\r") {
			return
		}
		_, rest, _ := cutKeyword("Key " + Quote(s))
		if got, err := splitArgs(rest); err != nil || !slices.Equal(got, []string{s}) {
			t.Errorf("%q as %s: got %q, %v", s, Quote(s), got, err)
		}
	})
}
