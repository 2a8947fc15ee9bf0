package sshconfig

import (
	"slices"
	"strings"
	"testing"
)

func TestParseTime(t *testing.T) {
	for s, want := range map[string]int{
		"0": 0, "90": 90, "10s": 10, "10m": 600, "1h30m": 5400, "1H30": 3630, "2d": 172800, "1w": 604800, "1.5s": 1, "2.9": 2, "2147483647": 2147483647,
		"": -1, "m": -1, "-1": -1, "1.5m": -1, "1.": -1, "1x": -1, "1s2s": -1, "2147483648": -1, "99999999999999999999w": -1, "1 m": -1, "1..2": -1,
	} {
		got, err := parseTime(s)
		if err != nil {
			got = -1
		}
		if got != want {
			t.Errorf("time %q: got %d, want %d (-1 is a mistake)", s, got, want)
		}
	}
}

func TestParseSize(t *testing.T) {
	for s, want := range map[string]int64{
		"0": 0, "16": 16, "1K": 1024, "512k": 512 << 10, "1.5M": 3 << 19, "1G": 1 << 30, "7E": 7 << 60, "+1": 1, "100b": 100, "0.5K": 512,
		"8E": -1, "1X": -1, "1KB": -1, "-1": -1, "1.2.3": -1, "99999999999999999999": -1, "K1": -1,
	} {
		got, err := parseSize(s)
		n := int64(got)
		if err != nil {
			n = -1
		}
		if n != want {
			t.Errorf("size %q: got %d, want %d (-1 is a mistake)", s, n, want)
		}
	}
}

func TestMatchList(t *testing.T) {
	for _, c := range []struct {
		s, list         string
		matched, denied bool
	}{
		{"a", "a", true, false}, {"a", "b,a", true, false}, {"a", "!a", false, true}, {"a", "*,!a", false, true}, {"b", "!a", false, false},
		{"b", "!a,*", true, false}, {"a", "", false, false}, {"", ",", true, false}, {"a", "a,", true, false}, {"a", strings.Repeat("a", 2000) + ",a", false, false},
	} {
		if m, d := matchList(c.s, c.list, false); m != c.matched || d != c.denied {
			t.Errorf("%q in %.20q: got %v, %v, want %v, %v", c.s, c.list, m, d, c.matched, c.denied)
		}
	}
}

func TestLines(t *testing.T) {
	for _, c := range []struct{ in, keyword, rest string }{
		{"Port 22", "port", "22"}, {"  Port\t=\t22 \r\n", "port", "22"}, {"Port=22", "port", "22"}, {"Port==22", "port", "=22"}, {"\"Port\" 22", "port", "22"},
		{"Port \"22\"", "port", "\"22\""}, {"# x", "", ""}, {"", "", ""}, {" \t\n", "", ""}, {"Port", "port", ""}, {"\f", "\f", ""}, {"\"Port 22", "", ""},
		{"Port 22\x00 33", "port", "22"},
	} {
		keyword, rest, _ := cutKeyword(c.in)
		if keyword != c.keyword || rest != c.rest {
			t.Errorf("%q: got %q and %q, want %q and %q", c.in, keyword, rest, c.keyword, c.rest)
		}
	}
	for in, want := range map[string][]string{
		`a "b c" 'd e'`: {"a", "b c", "d e"}, `a\ b`: {"a b"}, `"a\ b"`: {`a\ b`}, `a # b`: {"a"}, `a#b`: {"a#b"}, `"" x`: {"", "x"}, `a"b"c`: {"abc"},
		`\"a\'`: {`"a'`}, `a\\b\n`: {`a\b\n`}, `"#" #`: {"#"}, ``: nil,
	} {
		if got, err := splitArgs(in); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: got %q, %v, want %q", in, got, err, want)
		}
	}
}

func TestForwardsThatAreNone(t *testing.T) {
	for _, spec := range []string{"", ":", "x", "8080", "8080:db", "8080:db:x", "8080:db:0", "0:db:80", "a:8080:db:80:1", "[::1:8080:db:80", "8080:[db:80",
		"[a]b:1:c:2", `8080:db:80\`, "70000:db:80", "8080:" + strings.Repeat("x", 2000) + ":1", "/" + strings.Repeat("x", 200) + ":a:1"} {
		if f, err := parseForward(spec, false, false, nil); err == nil {
			t.Errorf("%q was taken as %+v", spec, f)
		}
	}
}

func TestUnknownAlgorithmLists(t *testing.T) {
	k := kindOf("hostkeyalgorithms")
	for said, want := range map[string]string{
		"":                          "b,a",
		"a":                         "a",
		"+c":                        "b,a,c",
		"^a":                        "a,b",
		"-b":                        "a",
		"-*":                        "",
		"*":                         "a,b,c",
		"c,*":                       "c,a,b",
		"+ssh-rsa":                  "b,a",
		"^*-cert-v01@openssh.com,c": "c,b,a",
	} {
		all, _, err := k.assemble(said, &Algorithms{HostKeys: AlgorithmList{Default: []string{"b", "a"}, Supported: []string{"a", "b", "c"}}})
		if got := strings.Join(all, ","); err != nil || got != want {
			t.Errorf("%q: got %q, %v, want %q", said, got, err, want)
		}
	}
}

// Numbers are strtol(3)'s: in octal and hexadecimal too.
func TestQoS(t *testing.T) {
	for in, want := range map[string]string{
		"af21": "af21", "EF": "ef", "none": "none", "0": "cs0", "17": "0x11", " 17": "0x11", "+17": "0x11", "0x28": "af11", "0XB8": "ef", "050": "af11", "255": "0xff",
		"lowdelay": "none", "0x": "", "08": "", "0b1": "", "0o7": "", "1_0": "", "256": "", "0x100": "", "-1": "", "": "", "x": "",
	} {
		got, err := parseQoS(in)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q, %v, want %q", in, got, err, want)
		}
		if tos := ServiceClass(got); (tos >= 0) != (got != "" && got != "none") || in == "17" && tos != 17 || in == "0XB8" && tos != 0xb8 {
			t.Errorf("%q: service class %d", got, tos)
		}
	}
}
