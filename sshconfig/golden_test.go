package sshconfig

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "record testdata/golden-….txt with the installed ssh")

const (
	goldenFiles = "testdata/golden-*.txt" // one for each release
	goldenCases = 40
	goldenHome  = "/golden/home" // stands for the home in the file
)

// The golden file keeps a core of the comparison for where ssh is missing:
// OpenSSH's lists of algorithms, what ssh -G says without a configuration, and
// for each sample the keywords in which its answer differs from that. It is
// sections that begin with "== name".

func TestGolden(t *testing.T) {
	if *update {
		recordGolden(t)
	}
	files, err := filepath.Glob(goldenFiles)
	if err != nil || len(files) < 2 {
		t.Fatalf("got %v, %v, want the files of two releases", files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) { replay(t, file) })
	}
}

func replay(t *testing.T, file string) {
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	sections := strings.Split("\n"+string(b), "\n== ")[1:]
	var who Options
	home := t.TempDir()
	o := &oracle{home: home, env: []string{"ADIT_DIR=/dev", "SSH_AUTH_SOCK=/agent"}}
	var algorithms Algorithms
	var base []string
	var s sample
	cases := 0
	for _, section := range sections {
		head, text, _ := strings.Cut(section, "\n")
		kind, arg, _ := strings.Cut(head, " ")
		switch kind {
		case "who":
			var addrs string
			if _, err := fmt.Sscanf(arg, "%s %s %s %s %s", &who.User, &who.UID, &who.LocalHost, &o.version, &addrs); err != nil {
				t.Fatal(err)
			}
			who.Interfaces = func() (all []netip.Addr, err error) {
				for a := range strings.SplitSeq(addrs, ",") {
					all = append(all, netip.MustParseAddr(a))
				}
				return all, nil
			}
		case "algorithms":
			lists := algorithms.all()
			for i, line := range strings.Split(text, "\n")[:2*len(lists)] {
				if i%2 == 0 {
					lists[i/2].Default = strings.Fields(line)
				} else {
					lists[i/2].Supported = strings.Fields(line)
				}
			}
		case "base":
			base = strings.Split(text, "\n")
		case "case":
			s = sample{files: map[string]string{}}
			o.home = filepath.Join(home, arg)
		case "file":
			s.files[arg] = strings.ReplaceAll(text+"\n", goldenHome, o.home)
		case "F":
			s.file = arg
		case "o":
			s.options = append(s.options, arg)
		case "user":
			s.user = arg
		case "command":
			s.command = arg
		case "host":
			s.host = arg
		case "want":
			cases++
			if err := s.write(o.home); err != nil {
				t.Fatal(err)
			}
			opts := o.options(s, algorithms)
			opts.User, opts.UID, opts.LocalHost, opts.Interfaces = who.User, who.UID, who.LocalHost, who.Interfaces
			c, err := Load(t.Context(), opts)
			if arg == "error" {
				if err == nil {
					t.Errorf("%swas taken; ssh refused it", s)
				}
				break
			}
			if err != nil {
				t.Errorf("%s%v", s, err)
				break
			}
			theirs := unchanged(base, strings.Split(strings.ReplaceAll(text, goldenHome, o.home), "\n"), o.home)
			if diffs, _ := compare(theirs, c); len(diffs) > 0 {
				t.Errorf("%s%s", s, strings.Join(diffs, "\n"))
			}
		}
	}
	if cases != goldenCases {
		t.Errorf("got %d cases, want %d", cases, goldenCases)
	}
}

// all lists the fields, so that they can be gone through.
func (a *Algorithms) all() []*AlgorithmList {
	return []*AlgorithmList{&a.Ciphers, &a.MACs, &a.Kex, &a.HostKeys, &a.CASignatures}
}

// changed are the lines of an answer whose keyword says something else than
// without a configuration. A keyword that says nothing any more is left as its
// name alone.
func changed(base, answer []string) []string {
	was, is := byKeyword(base), byKeyword(answer)
	var out []string
	for _, key := range keysInOrder(append(slices.Clone(base), answer...)) {
		switch {
		case slices.Equal(was[key], is[key]):
		case len(is[key]) == 0:
			out = append(out, key)
		default:
			out = append(out, is[key]...)
		}
	}
	return out
}

// unchanged puts an answer together again.
func unchanged(base, diff []string, home string) []string {
	is := byKeyword(diff)
	var out []string
	for _, line := range base {
		if key, _, _ := strings.Cut(line, " "); is[key] == nil {
			out = append(out, strings.ReplaceAll(line, goldenHome, home))
		}
	}
	return append(out, slices.DeleteFunc(diff, func(l string) bool { return !strings.Contains(l, " ") })...)
}

func byKeyword(lines []string) map[string][]string {
	m := map[string][]string{}
	for _, l := range lines {
		key, _, _ := strings.Cut(l, " ")
		m[key] = append(m[key], l)
	}
	return m
}

func keysInOrder(lines []string) (keys []string) {
	for _, l := range lines {
		if key, _, _ := strings.Cut(l, " "); !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	return keys
}

func recordGolden(t *testing.T) {
	o := newOracle(t)
	algorithms, names := o.setUp(t)
	base, err := o.ask(t, "-F", "none", "base")
	if err != nil {
		t.Fatal(err)
	}
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	machine, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	put := func(text string) { b.WriteString(strings.ReplaceAll(text, o.home, goldenHome)) }
	addrs, err := localAddresses()
	if err != nil {
		t.Fatal(err)
	}
	// Only these are in networks that the grammar knows.
	addrs = slices.DeleteFunc(addrs, func(a netip.Addr) bool { return !a.IsLoopback() && !netip.MustParsePrefix("10.0.0.0/8").Contains(a) })
	put(fmt.Sprintf("== who %s %s %s %s %s\n== algorithms\n", u.Username, u.Uid, machine, o.version, strings.Trim(strings.ReplaceAll(fmt.Sprint(addrs), " ", ","), "[]")))
	for _, l := range algorithms.all() {
		put(strings.Join(l.Default, " ") + "\n" + strings.Join(l.Supported, " ") + "\n")
	}
	put("== base\n" + strings.Join(base[1:], "\n") + "\n")
	g := &grammar{algorithms: names, modern: o.modern, faults: true, lacking: o.lacking(t)}
	for i := range goldenCases {
		g.Rand = rand.New(rand.NewPCG(7, uint64(i)))
		s := g.sample()
		s.file, s.bad = "main", nil // without the system's file, which is another everywhere
		for _, from := range []string{".ssh/config", "other config"} {
			if text, ok := s.files[from]; ok {
				s.files["main"] = text
				delete(s.files, from)
			}
		}
		if err := errors.Join(os.RemoveAll(o.home), s.write(o.home)); err != nil {
			t.Fatal(err)
		}
		put(fmt.Sprintf("== case %d\n", i))
		for _, name := range sortedKeys(s.files) {
			put("== file " + name + "\n" + s.files[name])
		}
		put("== F main\n")
		for _, opt := range s.options {
			put("== o " + opt + "\n")
		}
		if s.user != "" {
			put("== user " + s.user + "\n")
		}
		put("== host " + s.host + "\n")
		if s.command != "" {
			put("== command " + s.command + "\n")
		}
		answer, err := o.ask(t, s.args(o.home)...)
		if err != nil {
			put("== want error\n")
			continue
		}
		put("== want\n" + strings.Join(changed(base, answer), "\n") + "\n")
	}
	if err := os.MkdirAll("testdata", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(strings.Replace(goldenFiles, "*", strings.TrimPrefix(o.version, "OpenSSH_"), 1), b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}
