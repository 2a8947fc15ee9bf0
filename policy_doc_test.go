package adit_test

import (
	"bytes"
	"go/ast"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestPolicyPackageDoc(t *testing.T) {
	for _, pkg := range packages(t) {
		var docs []string
		code := false
		for _, f := range pkg.files {
			if f.test {
				continue
			}
			code = true
			if f.ast.Doc != nil {
				docs = append(docs, f.name)
				want := "Package " + f.ast.Name.Name + " "
				if f.ast.Name.Name == "main" {
					want = "Command "
				}
				if !strings.HasPrefix(f.ast.Doc.Text(), want) {
					t.Errorf("%s: the package comment begins with %q", f.name, want)
				}
			}
		}
		if code && len(docs) != 1 {
			t.Errorf("package %s has %d package comments %v, want exactly one", pkg.path, len(docs), docs)
		}
	}
}

func TestPolicyPackageNames(t *testing.T) {
	banned := []string{"util", "utils", "common", "helper", "helpers", "base", "misc"}
	for _, pkg := range packages(t) {
		for _, name := range strings.Split(pkg.path, "/") {
			if slices.Contains(banned, name) {
				t.Errorf("package %s: %q says nothing about what is in it", pkg.path, name)
			}
		}
	}
}

func TestPolicyDocComments(t *testing.T) {
	eachFile(t, func(f *file) {
		if f.test || f.ast.Name.Name == "main" {
			return
		}
		for _, decl := range f.ast.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				if !d.Name.IsExported() {
					continue
				}
				if d.Recv != nil && (!ast.IsExported(receiver(d)) || (d.Doc == nil && slices.Contains(methodsOfInterfaces, d.Name.Name))) {
					continue
				}
				f.wantDoc(t, d, d.Name.Name, d.Doc)
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					f.wantSpecDoc(t, d, spec)
				}
			}
		}
	})
}

// methodsOfInterfaces need no comment: the interface says what they do.
var methodsOfInterfaces = []string{
	"Error", "Unwrap", "Is", "Timeout", "Temporary", "String", // error, fmt
	"Num", "Append", "Name", // wire.Msg, trace.Event
	"Network", "LocalAddr", "RemoteAddr", "SetDeadline", "SetReadDeadline", "SetWriteDeadline", // net
	"Read", "Write", "Close", "ReadFrom", "WriteTo", "CloseWrite", // io
	"Len", "Less", "Swap", "Unlock", "Lock", // sort, sync
	"Public", "Sign", "PublicKey", "Type", "Marshal", "Verify", // crypto, gossh
}

// wantSpecDoc checks one type, constant or variable. In a group, the group's
// comment or one on the same line will do.
func (f *file) wantSpecDoc(t *testing.T, d *ast.GenDecl, spec ast.Spec) {
	grouped := d.Lparen.IsValid()
	switch s := spec.(type) {
	case *ast.TypeSpec:
		if !s.Name.IsExported() {
			return
		}
		doc := s.Doc
		if doc == nil {
			if grouped && d.Doc != nil {
				return
			}
			doc = d.Doc
		}
		f.wantDoc(t, s, s.Name.Name, doc)
	case *ast.ValueSpec:
		if !slices.ContainsFunc(s.Names, (*ast.Ident).IsExported) {
			return
		}
		if grouped {
			if s.Doc == nil && s.Comment == nil && d.Doc == nil {
				t.Errorf("%s: %s is exported and has no comment", f.at(s), s.Names[0].Name)
			}
			return
		}
		f.wantDoc(t, s, s.Names[0].Name, d.Doc)
	}
}

func (f *file) wantDoc(t *testing.T, n ast.Node, name string, doc *ast.CommentGroup) {
	text := ""
	if doc != nil {
		text = doc.Text()
	}
	for _, article := range []string{"A ", "An ", "The "} {
		text = strings.TrimPrefix(text, article)
	}
	rest, ok := strings.CutPrefix(text, name)
	if !ok || (rest != "" && !strings.ContainsAny(rest[:1], " \n,.:'(")) {
		t.Errorf("%s: %s is exported: its comment begins with its name", f.at(n), name)
	}
}

func receiver(d *ast.FuncDecl) string {
	typ := d.Recv.List[0].Type
	for {
		switch x := typ.(type) {
		case *ast.StarExpr:
			typ = x.X
		case *ast.IndexExpr:
			typ = x.X
		case *ast.Ident:
			return x.Name
		default:
			return ""
		}
	}
}

// RFC words, spelled as Go: ChannelOpen, not the C name.
func TestPolicyNames(t *testing.T) {
	eachFile(t, func(f *file) {
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if id, ok := n.(*ast.Ident); ok && (strings.Contains(id.Name, "SSH_MSG") || strings.Contains(id.Name, "SSHMsg")) {
				t.Errorf("%s: %s: messages have the RFC's name spelled as Go (ChannelOpen)", f.at(id), id.Name)
			}
			return true
		})
	})
}

// The project speaks of itself only: no path of a machine it was made on, and
// no note to finish something later. The brackets keep the patterns from
// finding themselves.
var bannedText = []struct {
	re  *regexp.Regexp
	why string
}{
	{regexp.MustCompile(`(^|[^A-Za-z0-9_.)~-])/(wor[k]|far[m]|workspac[e]|build[s])/`), "a path of somebody's machine"},
	{regexp.MustCompile(`[.]librar[y]/`), "a path of somebody's machine"},
	{regexp.MustCompile(`\b(TOD[O]|FIXM[E]|XX[X])\b`), "do it, or write an issue"},
}

func TestPolicyText(t *testing.T) {
	eachPath(t, func(name string) {
		if !slices.Contains([]string{".go", ".md", ".sh", ".py", ".c", ".erl", ".txtar", ".mod", "", ".toml", ".yml"}, path.Ext(name)) {
			return
		}
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range bytes.Split(src, []byte("\n")) {
			for _, b := range bannedText {
				if m := b.re.Find(line); m != nil {
					t.Errorf("%s:%d: %q: %s", name, i+1, m, b.why)
				}
			}
		}
	})
}
