package wire

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math/rand/v2"
	"os"
	"reflect"
	"strings"
	"testing"
)

var allPhases = []Phase{PhaseAny, PhaseKexShare, PhaseKexGex, PhasePublickey, PhasePassword, PhaseKbdint}

// kind is one message type, and a phase in which Decode gives it.
type kind struct {
	name  string // of the Go type
	phase Phase
	num   byte
}

func (k kind) make() Msg { return newMsg(k.phase, k.num) }

// allKinds finds every message that Decode can return.
func allKinds(t testing.TB) []kind {
	t.Helper()
	var kinds []kind
	seen := map[string]bool{}
	for _, phase := range allPhases {
		for num := range 256 {
			m := newMsg(phase, byte(num))
			if m == nil {
				continue
			}
			name := reflect.TypeOf(m).Elem().Name()
			if m.Num() != byte(num) {
				t.Errorf("%s is decoded for number %d and says %d", name, num, m.Num())
			}
			if !seen[name] {
				seen[name] = true
				kinds = append(kinds, kind{name, phase, byte(num)})
			}
		}
	}
	return kinds
}

// userauthBody gives the bodies of UserauthRequest the methods of Body, so that
// the same tests serve them.
type userauthBody struct {
	method string
	parse  func([]byte) (any, error)
}

var userauthBodies = []userauthBody{
	{MethodPublickey, func(b []byte) (any, error) { return ParsePublickeyBody(b, false) }},
	{MethodHostbound, func(b []byte) (any, error) { return ParsePublickeyBody(b, true) }},
	{MethodPassword, func(b []byte) (any, error) { return ParsePasswordBody(b) }},
	{MethodKeyboardInteractive, func(b []byte) (any, error) { return ParseKbdintBody(b) }},
}

// allBodies has one of each body, empty.
func allBodies() []Body {
	return []Body{
		new(DirectTCPIP), new(ForwardedTCPIP), new(DirectStreamlocal), new(ForwardedStreamlocal), new(X11),
		new(TCPIPForward), new(TCPIPForwardReply), new(StreamlocalForward), new(HostKeys),
		new(PtyReq), new(X11Req), new(WindowChange), new(XonXoff), new(Env), new(Text), new(ExitStatus), new(ExitSignal),
	}
}

func newLike[T any](v T) T { return reflect.New(reflect.TypeOf(v).Elem()).Interface().(T) }

// Fields that do not hold just any bytes.
var nameListFields = map[string]bool{"UserauthFailure.Methods": true} // and all of KexInit's
var mpintFields = map[string]bool{
	"KexGexGroup.P": true, "KexGexGroup.G": true, "KexGexInit.Share": true, "KexGexReply.Share": true,
}

// fill puts random values into every field of the struct that v points to.
func fill(v any, r *rand.Rand) {
	s := reflect.ValueOf(v).Elem()
	for i := range s.NumField() {
		name := s.Type().Name() + "." + s.Type().Field(i).Name
		f := s.Field(i)
		switch {
		case mpintFields[name]:
			f.SetBytes(MpintBody(randomBytes(r, 40)))
		case f.Type() == reflect.TypeFor[[]string]() && (s.Type().Name() == "KexInit" || nameListFields[name]):
			var names []string
			for range r.IntN(5) {
				names = append(names, fmt.Sprintf("name-%d@example.com", r.IntN(1000)))
			}
			f.Set(reflect.ValueOf(names))
		default:
			fillValue(f, r)
		}
	}
	// A field that is only there with another one.
	switch v := v.(type) {
	case *PublickeyBody:
		if !v.HasSignature {
			v.Signature = nil
		}
		if !v.Hostbound {
			v.HostKey = nil
		}
	case *PasswordBody:
		if !v.Change {
			v.New = nil
		}
	}
}

func fillValue(f reflect.Value, r *rand.Rand) {
	switch f.Kind() {
	case reflect.Bool:
		f.SetBool(r.IntN(2) == 1)
	case reflect.Uint8, reflect.Uint32:
		f.SetUint(r.Uint64() >> (64 - f.Type().Bits()))
	case reflect.String:
		f.SetString(string(randomBytes(r, 40)))
	case reflect.Array:
		for i := range f.Len() {
			fillValue(f.Index(i), r)
		}
	case reflect.Slice:
		if f.Type().Elem().Kind() == reflect.Uint8 {
			f.SetBytes(randomBytes(r, 40))
			return
		}
		f.Set(reflect.MakeSlice(f.Type(), r.IntN(4), 4))
		for i := range f.Len() {
			fillValue(f.Index(i), r)
		}
	case reflect.Struct:
		for i := range f.NumField() {
			fillValue(f.Field(i), r)
		}
	default:
		panic("BUG: fill does not know " + f.Type().String())
	}
}

func randomBytes(r *rand.Rand, most int) []byte {
	b := make([]byte, r.IntN(most))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// equal is reflect.DeepEqual that takes nil and empty slices for the same.
func equal(a, b any) bool { return equalValue(reflect.ValueOf(a), reflect.ValueOf(b)) }

func equalValue(a, b reflect.Value) bool {
	if a.Type() != b.Type() {
		return false
	}
	switch a.Kind() {
	case reflect.Pointer:
		return equalValue(a.Elem(), b.Elem())
	case reflect.Slice, reflect.Array:
		if a.Len() != b.Len() {
			return false
		}
		for i := range a.Len() {
			if !equalValue(a.Index(i), b.Index(i)) {
				return false
			}
		}
		return true
	case reflect.Struct:
		for i := range a.NumField() {
			if !equalValue(a.Field(i), b.Field(i)) {
				return false
			}
		}
		return true
	}
	return a.Equal(b)
}

// The tests walk what newMsg and allBodies give; this one sees to it that no
// type hides from them.
func TestEveryTypeIsTested(t *testing.T) {
	known := map[string]bool{}
	for _, k := range allKinds(t) {
		known[k.name] = true
	}
	for _, b := range allBodies() {
		known[reflect.TypeOf(b).Elem().Name()] = true
	}
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, file := range files {
		if !strings.HasSuffix(file.Name(), ".go") || strings.HasSuffix(file.Name(), "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Recv == nil || fn.Name.Name != "parse" {
				continue
			}
			name := fn.Recv.List[0].Type.(*ast.StarExpr).X.(*ast.Ident).Name
			found++
			if !known[name] {
				t.Errorf("%s (%s) can be parsed, but neither Decode nor allBodies knows it", name, file.Name())
			}
		}
	}
	if found != len(known) {
		t.Errorf("found %d types in the source, want %d", found, len(known))
	}
}
