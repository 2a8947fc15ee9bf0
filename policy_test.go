package adit_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The rules of the house that a machine can check. Each failure says which rule
// broke and where; the reasons stand with the rules. CONVENTIONS.md has the
// rules that need a reader.

const module = "github.com/adit-ssh/adit"

// importRule says what one package, and those below it that have no rule of
// their own, may import besides the standard library. Tests are freer: they may
// import anything that does not make a cycle.
type importRule struct {
	pkg    string   // below the module path, "." is the root
	ours   []string // our packages
	others []string // path prefixes outside the standard library
	why    string
}

const (
	xCrypto = "golang.org/x/crypto"
	xSys    = "golang.org/x/sys"
	xTerm   = "golang.org/x/term"
	xAny    = "golang.org/x"
)

var importRules = []importRule{
	// Below the engine.
	{"internal/wire", nil, nil,
		"bytes to messages and back: no I/O, no keys, nothing to configure, so that it can be fuzzed alone"},
	{"internal/packet", []string{"internal/wire"}, nil,
		"transport and mux share these buffers, so it must lie below both"},
	{"internal/sockio", nil, []string{xSys},
		"system calls on a descriptor: it knows nothing of what they carry"},
	{"internal/zstream", nil, nil,
		"bytes to bytes: it knows no packets, so that it can be fuzzed alone"},
	{"internal/procs", nil, nil,
		"counts changes between flows, whatever they are, for a knob that the whole process has once"},
	{"trace", []string{"internal/wire"}, nil,
		"every layer emits events, so trace may know none of them"},
	{"trace/pcapng", []string{"trace", "internal/wire"}, nil,
		"plays a trace again as a capture, with cryptography of the standard library: none of the connection's"},
	{"trace/view", []string{"trace"}, nil,
		"draws and counts recorded traces; it has only what stands in a file"},
	{"internal/algo", []string{"internal/wire"}, []string{xCrypto, xSys},
		"pure functions on keys and bytes: no connection, no events"},

	// The engine: three layers that know each other only through interfaces.
	{"internal/transport", []string{"internal/algo", "internal/packet", "internal/sockio", "internal/wire", "internal/zstream", "trace"}, []string{xCrypto, xSys},
		"RFC 4253 ends where payloads begin: it does not know what it carries"},
	{"internal/userauth", []string{"internal/algo", "internal/wire", "trace"}, []string{xCrypto},
		"takes a PacketConn of its own, so that tests run it on an in-memory pipe"},
	{"internal/mux", []string{"internal/packet", "internal/procs", "internal/sockio", "internal/wire", "trace"}, []string{xCrypto, xSys},
		"takes a PacketConn of its own, so that tests run it on an in-memory pipe"},

	// Beside the engine: these see net.Conn and small interfaces.
	{"socks", nil, nil, "a codec that knows nothing of SSH; others may want it alone"},
	{"internal/wildcard", nil, nil,
		"two strings and an answer, for all whose files have patterns"},
	{"sshconfig", []string{"internal/wildcard"}, []string{xSys}, "a file format; knows nothing of connections"},
	{"knownhosts", []string{"internal/wildcard"}, []string{xCrypto}, "a file format; knows nothing of connections"},
	{"internal/relay", []string{"internal/wire"}, []string{xSys},
		"copies between two connections and translates their errors, whatever they are"},
	{"internal/unixsock", nil, []string{xSys},
		"sockets with paths, and who connects to them; what is spoken there is its callers' matter"},
	{"internal/forward", []string{"internal/relay", "internal/unixsock", "internal/wire", "socks", "trace"}, []string{xSys},
		"knows channels as net.Conn with CloseWrite and a way to open them, not the client"},
	{"internal/fdpass", nil, []string{xSys},
		"descriptors between programs: who starts them, and what SSH is, are its callers' matter"},
	{"dial", []string{"internal/fdpass", "socks", "trace"}, []string{xSys},
		"gives a net.Conn; a jump host is an interface that Client satisfies"},
	{"internal/ssmwire", nil, nil,
		"bytes to frames and back: no I/O, no state, so that it can be fuzzed alone"},
	{"internal/ssmsession", []string{"internal/ssmwire"}, nil,
		"takes messages through an interface of its own, so that tests run it in memory; no WebSocket, no AWS"},
	{"dial/ssm", []string{"internal/ssmsession", "internal/ssmwire", "trace"}, []string{"github.com/aws/", "github.com/coder/websocket", "github.com/xtaci/smux"},
		"the one place with AWS's libraries, so that library users do not inherit them"},
	{"internal/rawpipe", []string{"internal/relay", "internal/wire"}, []string{xSys},
		"a ProxyCommand's standard streams; how the server is reached is its caller's matter"},
	{"internal/authkeys", []string{"internal/algo", "internal/wildcard", "internal/wire"}, []string{xCrypto},
		"a file format and the rules in it; knows nothing of connections"},
	{"internal/session", []string{"internal/mux", "internal/wire"}, []string{xSys, xTerm},
		"a session's requests and the person's terminal, on a channel that somebody opened"},
	{"agent", []string{"internal/relay", "internal/unixsock", "internal/wildcard", "internal/wire", "trace"}, []string{xCrypto, xSys, "github.com/Microsoft/go-winio"},
		"speaks the agent protocol over any stream; needs no SSH connection"},

	// On top of the engine.
	{".", []string{"agent", "dial", "internal/algo", "internal/forward", "internal/mux", "internal/proxied", "internal/relay", "internal/transport",
		"internal/userauth", "internal/wire", "socks", "trace"}, []string{xCrypto, xSys},
		"the front door puts the layers together; files and flags are setup's matter"},
	{"bastion", []string{"internal/algo", "internal/authkeys", "internal/forward", "internal/mux", "internal/relay", "internal/transport",
		"internal/userauth", "internal/wire", "trace"}, []string{xCrypto, xSys},
		"the server half; it never needs the client"},
	{"internal/setup", []string{".", "agent", "dial", "internal/algo", "internal/forward", "internal/sshfp", "knownhosts", "sshconfig", "trace"}, []string{xCrypto, xSys, xTerm},
		"turns files and flags into adit.Config, so that the library reads no files by itself"},
	{"internal/sshfp", nil, []string{xCrypto, "github.com/miekg/dns"},
		"DNS has fingerprints; what follows from them is setup's matter"},
	{"internal/proxied", []string{"internal/packet", "internal/wire"}, nil,
		"a mux.PacketConn, which is all that it has to do with channels"},
	{"internal/control", []string{".", "internal/fdpass", "internal/forward", "internal/mux", "internal/proxied", "internal/session", "internal/unixsock", "internal/wire"}, []string{xSys},
		"serves a connection to other programs: how it was made and set up is its caller's matter"},
	{"alias", []string{".", "internal/setup", "sshconfig", "trace"}, nil,
		"a person's files for Go programs: what setup does, behind one call that names no part of it"},
	{"internal/doctor", []string{".", "agent", "dial", "internal/forward", "internal/setup", "knownhosts", "sshconfig", "trace"}, []string{xAny},
		"checks what a user has, through the same doors the user takes"},
	{"cmd/adit", []string{".", "agent", "bastion", "dial", "dial/ssm", "internal/algo", "internal/control", "internal/doctor", "internal/fdpass", "internal/forward", "internal/session", "internal/setup",
		"internal/procs", "internal/rawpipe", "internal/relay", "internal/unixsock", "internal/wire", "knownhosts", "sshconfig", "trace", "trace/pcapng", "trace/view"}, []string{xAny, "github.com/spf13/"},
		"verbs, prompts and messages: it names algorithms and prints messages, but never sees the layers that use them"},
	{"bench", []string{".", "bastion", "internal/testnet", "internal/testpeer", "internal/testpeer/ssmgw", "trace"}, []string{xCrypto, xSys},
		"measures what users get, so it goes through the front door"},

	// For tests only (testImports).
	{"internal/testnet", nil, []string{xSys, "github.com/Microsoft/go-winio"}, "connections that misbehave on purpose, and those of agents; knows no SSH"},
	{"internal/interop", nil, nil, "only tests: adit beside other implementations"},
	{"internal/testpeer", []string{"internal/testnet"}, []string{xCrypto, xSys},
		"other people's SSH: if it used ours, it would agree with our mistakes"},
	{"internal/testpeer/ssmgw", nil, []string{"github.com/coder/websocket", "github.com/xtaci/smux"},
		"another implementation of the protocol: if it used ours, it would agree with our mistakes"},
}

// testImports are the packages that only tests and the benchmarks import.
var testImports = []string{"internal/testnet", "internal/testpeer", "internal/testpeer/ssmgw"}

func TestPolicyImports(t *testing.T) {
	for _, pkg := range packages(t) {
		rule := ruleFor(pkg.path)
		if rule == nil {
			t.Errorf("package %s has no rule in importRules: add a line that says what it may import, and why", pkg.path)
			continue
		}
		for _, f := range pkg.files {
			if f.test {
				continue
			}
			for _, spec := range f.ast.Imports {
				imported, err := strconv.Unquote(spec.Path.Value)
				if err != nil {
					t.Fatal(err)
				}
				if !rule.allows(pkg.path, imported) {
					t.Errorf("%s: %s may not import %s: %s", f.at(spec), pkg.path, imported, rule.why)
				}
			}
		}
	}
}

// ruleFor returns the rule of the package or of the nearest one above it.
func ruleFor(pkg string) *importRule {
	for dir := pkg; ; dir = path.Dir(dir) {
		for i := range importRules {
			if importRules[i].pkg == dir {
				return &importRules[i]
			}
		}
		// The root's rule is for the root alone: a new package takes thought.
		if !strings.Contains(dir, "/") {
			return nil
		}
	}
}

func (r *importRule) allows(from, imported string) bool {
	if imported == module || strings.HasPrefix(imported, module+"/") {
		rel := strings.TrimPrefix(strings.TrimPrefix(imported, module), "/")
		if rel == "" {
			rel = "."
		}
		return slices.Contains(r.ours, rel) || (r.pkg != "." && (rel == r.pkg || strings.HasPrefix(rel, r.pkg+"/")))
	}
	first, _, _ := strings.Cut(imported, "/")
	if !strings.Contains(first, ".") {
		return imported != "C" // the standard library; cgo is never used
	}
	return slices.ContainsFunc(r.others, func(prefix string) bool {
		return imported == strings.TrimSuffix(prefix, "/") || strings.HasPrefix(imported, strings.TrimSuffix(prefix, "/")+"/")
	})
}

func TestPolicyImportRulesAreSound(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range importRules {
		if seen[r.pkg] {
			t.Errorf("two rules for %s", r.pkg)
		}
		seen[r.pkg] = true
		if r.why == "" {
			t.Errorf("the rule for %s gives no reason", r.pkg)
		}
		if _, err := os.Stat(r.pkg); err != nil {
			t.Errorf("the rule for %s is about no package: %v", r.pkg, err)
		}
		if !slices.Contains(testImports, r.pkg) && r.pkg != "bench" {
			for _, pkg := range testImports {
				if slices.Contains(r.ours, pkg) {
					t.Errorf("%s may not import %s, which is for tests", r.pkg, pkg)
				}
			}
		}
	}
	for _, r := range importRules {
		for _, pkg := range r.ours {
			if !seen[pkg] {
				t.Errorf("the rule for %s allows %s, which has no rule", r.pkg, pkg)
			}
		}
	}
	wire := ruleFor("internal/wire")
	if wire.allows("internal/wire", module+"/internal/mux") || wire.allows("internal/wire", "golang.org/x/crypto/ssh") || wire.allows("internal/wire", "C") {
		t.Error("the rule for internal/wire lets everything through")
	}
	if ruleFor("unheard") != nil {
		t.Error("a package without a rule got one")
	}
}

// The alias keeps "ssh" free for ours and tells a reader at a glance whose type
// it is.
func TestPolicyImportAlias(t *testing.T) {
	eachFile(t, func(f *file) {
		for _, spec := range f.ast.Imports {
			if spec.Path.Value == `"golang.org/x/crypto/ssh"` && (spec.Name == nil || spec.Name.Name != "gossh") {
				t.Errorf("%s: golang.org/x/crypto/ssh is imported as gossh", f.at(spec))
			}
		}
	})
}

func TestPolicyGofmt(t *testing.T) {
	eachFile(t, func(f *file) {
		want, err := format.Source(f.src)
		if err != nil {
			t.Errorf("%s: %v", f.name, err)
		} else if !bytes.Equal(f.src, want) {
			t.Errorf("%s is not gofmt'ed", f.name)
		}
	})
}

// A test that sleeps is slow on a fast machine and fails on a slow one. There
// are synctest, events and pipes.
func TestPolicyNoSleepInTests(t *testing.T) {
	eachFile(t, func(f *file) {
		if !f.test && !slices.Contains(testImports, path.Dir(f.name)) {
			return
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok && sel.Sel.Name == "Sleep" {
				if x, ok := sel.X.(*ast.Ident); ok && x.Name == "time" {
					t.Errorf("%s: a test sleeps", f.at(sel))
				}
			}
			return true
		})
	})
}

// A peer cannot make us panic, so a panic can only be our own mistake, and says
// so.
func TestPolicyPanics(t *testing.T) {
	eachFile(t, func(f *file) {
		if f.test {
			return
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if name, ok := call.Fun.(*ast.Ident); ok && name.Name == "panic" && !beginsBug(call.Args[0]) {
				t.Errorf("%s: panic's text begins with \"BUG:\", because only our own broken invariants may panic", f.at(call))
			}
			return true
		})
	})
}

// beginsBug reports whether a string expression begins with the word: a
// literal, a concatenation, or a call (fmt.Sprintf, errors.New) that begins so.
func beginsBug(e ast.Expr) bool {
	switch x := e.(type) {
	case *ast.BasicLit:
		s, err := strconv.Unquote(x.Value)
		return err == nil && strings.HasPrefix(s, "BUG:")
	case *ast.BinaryExpr:
		return beginsBug(x.X)
	case *ast.CallExpr:
		return len(x.Args) > 0 && beginsBug(x.Args[0])
	}
	return false
}

// file is one parsed Go file; name is relative to the top, with slashes.
type file struct {
	name string
	test bool
	src  []byte
	ast  *ast.File
	fset *token.FileSet
}

func (f *file) at(n ast.Node) string {
	return fmt.Sprintf("%s:%d", f.name, f.fset.Position(n.Pos()).Line)
}

type goPackage struct {
	path  string // below the module path
	files []*file
}

// packages parses every Go file in the module, for all systems, grouped by
// directory.
func packages(t *testing.T) []*goPackage {
	t.Helper()
	fset := token.NewFileSet()
	var pkgs []*goPackage
	byDir := map[string]*goPackage{}
	eachPath(t, func(name string) {
		if path.Ext(name) != ".go" {
			return
		}
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := parser.ParseFile(fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		dir := path.Dir(name)
		pkg := byDir[dir]
		if pkg == nil {
			pkg = &goPackage{path: dir}
			byDir[dir], pkgs = pkg, append(pkgs, pkg)
		}
		pkg.files = append(pkg.files, &file{name: name, test: strings.HasSuffix(name, "_test.go"), src: src, ast: parsed, fset: fset})
	})
	if len(pkgs) < 3 {
		t.Fatalf("found %d packages: the test does not see the module", len(pkgs))
	}
	return pkgs
}

func eachFile(t *testing.T, do func(*file)) {
	t.Helper()
	for _, pkg := range packages(t) {
		for _, f := range pkg.files {
			do(f)
		}
	}
}

// eachPath calls do with each of the module's files, relative to the top.
// Test data, build output and hidden directories but .ci are left out.
func eachPath(t *testing.T, do func(name string)) {
	t.Helper()
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			base := d.Name()
			if base == "testdata" || base == "bin" || (strings.HasPrefix(base, ".") && base != "." && base != ".ci") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasPrefix(d.Name(), ".") {
			do(filepath.ToSlash(name))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
