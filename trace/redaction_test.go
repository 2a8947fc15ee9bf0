package trace

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/adit-ssh/adit/internal/wire"
)

// shown are the fields of messages, and of what they carry, whose text may stand
// in a trace. Everything else must not: keys and signatures are lengths, secrets
// are nowhere. Whoever adds a field decides here.
var shown = []string{
	"Disconnect.Description", "Debug.Message", "ServiceRequest.Service", "ServiceAccept.Service", "Extension.Name", "Extension.Value",
	"KexInit.Kex", "KexInit.HostKey", "KexInit.CipherClient", "KexInit.CipherServer", "KexInit.MACClient", "KexInit.MACServer",
	"KexInit.CompressionClient", "KexInit.CompressionServer",
	"UserauthRequest.User", "UserauthRequest.Service", "UserauthRequest.Method", "PublickeyBody.Algorithm", "KbdintBody.Submethods",
	"UserauthFailure.Methods", "UserauthBanner.Message", "UserauthPKOK.Algorithm", "UserauthPasswdChange.Prompt",
	"UserauthInfoRequest.Name", "UserauthInfoRequest.Instruction", "Prompt.Text",
	"GlobalRequest.Type", "ChannelOpen.Type", "ChannelOpenFailure.Description", "ChannelRequest.Type",
	"DirectTCPIP.Host", "DirectTCPIP.OriginatorAddr", "ForwardedTCPIP.Addr", "ForwardedTCPIP.OriginatorAddr",
	"DirectStreamlocal.Path", "ForwardedStreamlocal.Path", "StreamlocalForward.Path", "X11.OriginatorAddr", "TCPIPForward.Addr",
	"PtyReq.Term", "X11Req.Protocol", "Env.Name", "Text.Value", "ExitSignal.Signal", "ExitSignal.Message",
	// With LevelData only, as the next table says.
	"ChannelData.Data", "ChannelExtendedData.Data",
}

// dataOnly are those of shown that LevelData asks for by its name.
var dataOnly = []string{"ChannelData.Data", "ChannelExtendedData.Data"}

// secrets must not even be in an event.
var secrets = []string{"PasswordBody.Password", "PasswordBody.New", "UserauthInfoResponse.Answers", "Env.Value", "X11Req.Cookie"}

// sample is a message with a mark in every field that can hold a text.
type sample struct {
	name string // of the Go type
	msg  wire.Msg
}

// messageTypes are the types of package wire that have a message number, read
// from its sources: a new one is found without being told.
func messageTypes(t *testing.T) (names []string) {
	t.Helper()
	files, err := filepath.Glob("../internal/wire/*.go")
	if err != nil || len(files) < 5 {
		t.Fatalf("package wire is not where it was: %v, %v", files, err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Name.Name != "Num" || fn.Recv == nil {
				continue
			}
			if star, ok := fn.Recv.List[0].Type.(*ast.StarExpr); ok {
				names = append(names, star.X.(*ast.Ident).Name)
			}
		}
	}
	return names
}

// samples has every type of message, and those that carry something else with
// everything that they may carry.
func samples(t *testing.T) (all []sample) {
	plain := []wire.Msg{
		new(wire.Disconnect), new(wire.Ignore), new(wire.Unimplemented), new(wire.Debug), new(wire.ServiceRequest), new(wire.ServiceAccept),
		new(wire.ExtInfo), new(wire.NewCompress), new(wire.KexInit), new(wire.NewKeys), new(wire.KexShareInit), new(wire.KexShareReply),
		new(wire.KexGexRequest), new(wire.KexGexGroup), new(wire.KexGexInit), new(wire.KexGexReply),
		new(wire.UserauthRequest), new(wire.UserauthFailure), new(wire.UserauthSuccess), new(wire.UserauthBanner), new(wire.UserauthPKOK),
		new(wire.UserauthPasswdChange), new(wire.UserauthInfoRequest), new(wire.UserauthInfoResponse),
		new(wire.GlobalRequest), new(wire.RequestSuccess), new(wire.RequestFailure), new(wire.ChannelOpen), new(wire.ChannelOpenConfirmation),
		new(wire.ChannelOpenFailure), new(wire.ChannelWindowAdjust), new(wire.ChannelData), new(wire.ChannelExtendedData),
		new(wire.ChannelEOF), new(wire.ChannelClose), new(wire.ChannelRequest), new(wire.ChannelSuccess), new(wire.ChannelFailure),
		new(wire.Ping), new(wire.Pong),
	}
	have := map[string]bool{}
	for _, m := range plain {
		mark(reflect.ValueOf(m).Elem())
		name := reflect.TypeOf(m).Elem().Name()
		have[name] = true
		all = append(all, sample{name, m})
	}
	for _, name := range messageTypes(t) {
		if !have[name] {
			t.Errorf("wire.%s is not among the samples: add it, and say in shown which of its fields a trace may have", name)
		}
	}
	return append(all, carriers()...)
}

// carriers are messages with something else in them.
func carriers() (all []sample) {
	login := func(method string, body []byte) {
		all = append(all, sample{"UserauthRequest", &wire.UserauthRequest{User: "u", Service: "s", Method: method, Body: body}})
	}
	pk, host, pw, kbd := new(wire.PublickeyBody), new(wire.PublickeyBody), new(wire.PasswordBody), new(wire.KbdintBody)
	for _, v := range []any{pk, host, pw, kbd} {
		mark(reflect.ValueOf(v).Elem())
	}
	pk.HasSignature, host.HasSignature, host.Hostbound, pw.Change = true, true, true, true
	pk.Hostbound = false
	login(wire.MethodPublickey, pk.Append(nil))
	login(wire.MethodHostbound, host.Append(nil))
	login(wire.MethodPassword, pw.Append(nil))
	login(wire.MethodPassword, []byte("PasswordBody.Password"))
	login(wire.MethodKeyboardInteractive, kbd.Append(nil))
	login("gssapi-with-mic", []byte("PasswordBody.Password"))
	body := func(b wire.Body) []byte {
		mark(reflect.ValueOf(b).Elem())
		return b.Append(nil)
	}
	for _, typ := range []string{wire.ChannelDirectTCPIP, wire.ChannelForwardedTCPIP, wire.ChannelDirectStreamlocal, wire.ChannelForwardedStreamlocal, wire.ChannelX11} {
		all = append(all, sample{"ChannelOpen", &wire.ChannelOpen{Type: typ, Data: body(wire.OpenBody(typ))}})
	}
	for _, typ := range []string{wire.GlobalTCPIPForward, wire.GlobalCancelTCPIPForward, wire.GlobalStreamlocalForward, wire.GlobalHostKeys} {
		all = append(all, sample{"GlobalRequest", &wire.GlobalRequest{Type: typ, Data: body(wire.GlobalBody(typ))}})
	}
	for _, typ := range []string{wire.RequestPty, wire.RequestX11, wire.RequestEnv, wire.RequestExec, wire.RequestSubsystem, wire.RequestSignal,
		wire.RequestWindow, wire.RequestXonXoff, wire.RequestExitStatus, wire.RequestExitSignal} {
		all = append(all, sample{"ChannelRequest", &wire.ChannelRequest{Type: typ, Data: body(wire.RequestBody(typ))}})
	}
	all = append(all, sample{"ChannelRequest", &wire.ChannelRequest{Type: wire.RequestEnv, Data: []byte("Env.Value")}})
	return append(all, sample{"ChannelRequest", &wire.ChannelRequest{Type: "x@example.com", Data: []byte("Env.Value")}})
}

// mark writes Type.Field into every field that can hold it.
func mark(v reflect.Value) {
	for i := range v.NumField() {
		f, name := v.Field(i), v.Type().Name()+"."+v.Type().Field(i).Name
		switch {
		case f.Kind() == reflect.String:
			f.SetString(name)
		case f.Type() == reflect.TypeFor[[]byte]():
			f.SetBytes([]byte(name))
		case f.Type() == reflect.TypeFor[[]string]():
			f.Set(reflect.ValueOf([]string{name}))
		case f.Type() == reflect.TypeFor[[][]byte]():
			f.Set(reflect.ValueOf([][]byte{[]byte(name)}))
		case f.Kind() == reflect.Slice && f.Type().Elem().Kind() == reflect.Struct:
			one := reflect.New(f.Type().Elem()).Elem()
			mark(one)
			f.Set(reflect.Append(f, one))
		}
	}
}

var marked = regexp.MustCompile(`[A-Z][A-Za-z0-9]+\.[A-Z][A-Za-z0-9]+`)

// TestRedaction has every type of message go through every sink, as the
// transport hands them over, and finds nothing there that shown does not name.
func TestRedaction(t *testing.T) {
	allowed := map[string]bool{}
	for _, name := range shown {
		allowed[name] = true
	}
	onlyData := map[string]bool{}
	for _, name := range dataOnly {
		onlyData[name] = true
	}
	found := map[string]bool{}
	all := samples(t)
	for _, s := range all {
		if !bytes.Contains(s.msg.Append(nil), []byte(".")) {
			continue
		}
		for _, name := range secrets {
			if bytes.Contains(wire.Redact(s.msg).Append(nil), []byte(name)) {
				t.Errorf("%s: %s is in the event", s.name, name)
			}
		}
	}
	for _, level := range []Level{LevelPacket, LevelData} {
		for _, s := range all {
			for _, name := range marked.FindAllString(written(t, level, s.msg), -1) {
				found[name] = true
				if !allowed[name] || level < LevelData && onlyData[name] {
					t.Errorf("%s, level %s: %s is in the trace", s.name, level, name)
				}
			}
		}
	}
	for name := range allowed {
		if !found[name] {
			t.Errorf("shown names %s, which no trace has", name)
		}
	}
	t.Logf("%d types of messages, %d samples", len(messageTypes(t)), len(all))
}

// written is what all sinks make of a message, base64 opened.
func written(t *testing.T, level Level, m wire.Msg) string {
	t.Helper()
	e := Packet{Out: true, Num: m.Num(), Msg: wire.Redact(m), Size: len(m.Append(nil))}
	var out bytes.Buffer
	for _, f := range []Format{new(JSON), new(Lines)} {
		b := f.Begin(nil, Header{Version: SchemaVersion, Level: level})
		tee := Tee(sinkOf{level, func(e Event) { b = f.Event(b, 1, time.Time{}, e) }}, sinkOf{LevelData, func(Event) {}})
		tee.Trace(time.Time{}, e)
		out.Write(b)
	}
	fmt.Fprintln(&out, Describe(e.Msg), Line(e))
	text := out.String()
	for _, word := range regexp.MustCompile(`"data_base64":"([^"]*)"`).FindAllStringSubmatch(text, -1) {
		raw, err := base64.StdEncoding.DecodeString(word[1])
		if err != nil {
			t.Error(err)
		}
		text += string(raw)
	}
	return text
}

// sinkOf is a Tracer made of a function.
type sinkOf struct {
	level Level
	do    func(Event)
}

func (s sinkOf) Level() Level               { return s.level }
func (s sinkOf) Trace(_ time.Time, e Event) { s.do(e) }

// The sources of this package know no name of a secret.
func TestNoSecretField(t *testing.T) {
	for _, e := range []Event{ConnStart{}, DialStage{}, ConnUp{}, ConnEnd{}, Version{}, BannerLine{}, Negotiated{}, KexDone{}, Compressing{}, Compressed{}, AuthAttempt{},
		ChannelOpened{}, ChannelRefused{}, ChannelClosed{}, Forward{}, Lost{}, Packet{}, Message{Protocol: ProtocolAgent}, AgentDecision{}} {
		typ := reflect.TypeOf(e)
		for i := range typ.NumField() {
			if regexp.MustCompile(`(?i)passw|passphrase|secret|private|answer|cookie`).MatchString(typ.Field(i).Name) {
				t.Errorf("%s has a field %s", typ, typ.Field(i).Name)
			}
		}
		if e.Name() == "" {
			t.Errorf("%s has no name", typ)
		}
	}
}
