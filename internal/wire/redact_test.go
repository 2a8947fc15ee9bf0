package wire

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"testing"
)

// secretFields says of every field that can hold a text whether it holds a
// secret. A new field fails TestEveryFieldIsJudged until somebody has thought.
var secretFields = map[string]bool{
	"Disconnect.Description": false, "Disconnect.Language": false,
	"Ignore.Data": false, "Debug.Message": false, "Debug.Language": false,
	"ServiceRequest.Service": false, "ServiceAccept.Service": false,
	"Extension.Name": false, "Extension.Value": false,
	"KexInit.Cookie": false, "KexInit.Kex": false, "KexInit.HostKey": false,
	"KexInit.CipherClient": false, "KexInit.CipherServer": false, "KexInit.MACClient": false, "KexInit.MACServer": false,
	"KexInit.CompressionClient": false, "KexInit.CompressionServer": false,
	"KexInit.LanguageClient": false, "KexInit.LanguageServer": false,
	// Public values: they cross the network in the clear.
	"KexShareInit.Share":    false,
	"KexShareReply.HostKey": false, "KexShareReply.Share": false, "KexShareReply.Signature": false,
	"KexGexGroup.P": false, "KexGexGroup.G": false, "KexGexInit.Share": false,
	"KexGexReply.HostKey": false, "KexGexReply.Share": false, "KexGexReply.Signature": false,

	"UserauthRequest.User": false, "UserauthRequest.Service": false, "UserauthRequest.Method": false,
	"UserauthRequest.Body": true,
	// A signature covers the session identifier and serves nowhere else.
	"PublickeyBody.Algorithm": false, "PublickeyBody.Key": false, "PublickeyBody.HostKey": false, "PublickeyBody.Signature": false,
	"PasswordBody.Password": true, "PasswordBody.New": true,
	"KbdintBody.Language": false, "KbdintBody.Submethods": false,
	"UserauthFailure.Methods": false,
	"UserauthBanner.Message":  false, "UserauthBanner.Language": false,
	"UserauthPKOK.Algorithm": false, "UserauthPKOK.Key": false,
	"UserauthPasswdChange.Prompt": false, "UserauthPasswdChange.Language": false,
	"Prompt.Text": false, "UserauthInfoRequest.Name": false,
	"UserauthInfoRequest.Instruction": false, "UserauthInfoRequest.Language": false,
	"UserauthInfoResponse.Answers": true,

	"GlobalRequest.Type": false, "GlobalRequest.Data": false, "RequestSuccess.Data": false,
	"ChannelOpen.Type": false, "ChannelOpen.Data": false, "ChannelOpenConfirmation.Data": false,
	"ChannelOpenFailure.Description": false, "ChannelOpenFailure.Language": false,
	// Not ours to judge: trace.LevelData asks for it by name, lower levels never
	// see it.
	"ChannelData.Data": false, "ChannelExtendedData.Data": false,
	"ChannelRequest.Type": false, "ChannelRequest.Data": true,
	"Ping.Data": false, "Pong.Data": false,

	"DirectTCPIP.Host": false, "DirectTCPIP.OriginatorAddr": false,
	"ForwardedTCPIP.Addr": false, "ForwardedTCPIP.OriginatorAddr": false,
	"DirectStreamlocal.Path": false, "ForwardedStreamlocal.Path": false, "StreamlocalForward.Path": false,
	"X11.OriginatorAddr": false, "TCPIPForward.Addr": false, "HostKeys.Keys": false,
	"PtyReq.Term": false, "PtyReq.Modes": false,
	"X11Req.Protocol": false, "X11Req.Cookie": true,
	"Env.Name": false, "Env.Value": true,
	"Text.Value":        false, // a command: it stands in process lists anyway
	"ExitSignal.Signal": false, "ExitSignal.Message": false, "ExitSignal.Language": false,
}

// textFields lists the fields that can hold a text, of typ and the structs in it.
func textFields(typ reflect.Type) (names []string) {
	for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice || typ.Kind() == reflect.Array {
		typ = typ.Elem()
	}
	if typ.Kind() != reflect.Struct {
		return nil
	}
	for i := range typ.NumField() {
		f := typ.Field(i)
		inner := f.Type
		for inner.Kind() == reflect.Slice || inner.Kind() == reflect.Array {
			inner = inner.Elem()
		}
		switch inner.Kind() {
		case reflect.String, reflect.Uint8:
			names = append(names, typ.Name()+"."+f.Name)
		case reflect.Struct:
			names = append(names, textFields(inner)...)
		}
	}
	return names
}

func TestEveryFieldIsJudged(t *testing.T) {
	types := []any{new(PublickeyBody), new(PasswordBody), new(KbdintBody)}
	for _, k := range allKinds(t) {
		types = append(types, k.make())
	}
	for _, b := range allBodies() {
		types = append(types, b)
	}
	seen := map[string]bool{}
	for _, v := range types {
		for _, name := range textFields(reflect.TypeOf(v)) {
			seen[name] = true
			if _, ok := secretFields[name]; !ok {
				t.Errorf("%s: say in secretFields whether it holds a secret, and redact it if so", name)
			}
		}
	}
	for name := range secretFields {
		if !seen[name] {
			t.Errorf("secretFields names %s, which is gone", name)
		}
	}
}

// A message with a secret field is a Redactor, and gives its other fields away
// unchanged; one without is not touched.
func TestRedactedKeepsTheRest(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	for _, k := range allKinds(t) {
		m := k.make()
		fill(m, r)
		secret := false
		for _, name := range textFields(reflect.TypeOf(m)) {
			secret = secret || secretFields[name]
		}
		before := m.Append(nil)
		got := Redact(m)
		if _, is := m.(Redactor); is != secret {
			t.Errorf("%s: Redactor is %v, but it has secret fields: %v", k.name, is, secret)
		}
		if !secret {
			if got != m {
				t.Errorf("%s has no secrets and was copied", k.name)
			}
			continue
		}
		if !bytes.Equal(m.Append(nil), before) {
			t.Errorf("%s: Redact changed the message itself", k.name)
		}
		for i := range reflect.TypeOf(m).Elem().NumField() {
			name := reflect.TypeOf(m).Elem().Field(i).Name
			a, b := reflect.ValueOf(m).Elem().Field(i), reflect.ValueOf(got).Elem().Field(i)
			if !secretFields[k.name+"."+name] && !equalValue(a, b) {
				t.Errorf("%s.%s is not secret and was changed from %v to %v", k.name, name, a, b)
			}
		}
	}
}

func TestRedactedHidesSecrets(t *testing.T) {
	const secret = "correct horse"
	kept := []byte("kept")
	request := func(method string, body []byte) Msg {
		return &UserauthRequest{User: "kept", Service: ServiceConnection, Method: method, Body: body}
	}
	channel := func(typ string, data []byte) Msg {
		return &ChannelRequest{RecipientChannel: 7, Type: typ, Data: data}
	}
	for _, c := range []struct {
		name  string
		phase Phase
		m     Msg
		kept  bool // whether "kept" is still there
	}{
		{"password", PhaseAny, request(MethodPassword, (&PasswordBody{Password: []byte(secret)}).Append(nil)), true},
		{"password change", PhaseAny, request(MethodPassword,
			(&PasswordBody{Change: true, Password: []byte(secret), New: []byte("new " + secret)}).Append(nil)), true},
		{"malformed password", PhaseAny, request(MethodPassword, []byte(secret)), true},
		{"unknown method", PhaseAny, request("gssapi-with-mic", []byte(secret)), true},
		{"password method in capitals", PhaseAny, request("Password", AppendString([]byte{0}, secret)), true},
		{"answers", PhaseKbdint, &UserauthInfoResponse{Answers: []string{secret, "x" + secret}}, false},
		{"environment", PhaseAny, channel(RequestEnv, (&Env{Name: "kept", Value: secret}).Append(nil)), true},
		{"malformed environment", PhaseAny, channel(RequestEnv, []byte("TOKEN="+secret)), false},
		{"X11 cookie", PhaseAny, channel(RequestX11, (&X11Req{Protocol: "kept", Cookie: secret}).Append(nil)), true},
		{"unknown request", PhaseAny, channel("secret@example.com", []byte(secret)), false},
		{"data where none belongs", PhaseAny, channel(RequestShell, []byte(secret)), false},
	} {
		if !bytes.Contains(c.m.Append(nil), []byte(secret)) {
			t.Fatalf("%s: the test's message has no secret", c.name)
		}
		got := Redact(c.m).Append(nil)
		if bytes.Contains(got, []byte(secret)) {
			t.Errorf("%s: the secret is still there: %q", c.name, got)
		}
		if c.kept && !bytes.Contains(got, kept) {
			t.Errorf("%s: more is gone than the secret: %q", c.name, got)
		}
		if _, err := Decode(c.phase, got); err != nil {
			t.Errorf("%s: what is left is not a message: %v", c.name, err)
		}
	}
	got := Redact(&UserauthInfoResponse{Answers: make([]string, 3)}).(*UserauthInfoResponse)
	if len(got.Answers) != 3 {
		t.Errorf("%d answers are left of 3", len(got.Answers))
	}
	change := Redact(request(MethodPassword, (&PasswordBody{Change: true}).Append(nil))).(*UserauthRequest)
	if b, err := ParsePasswordBody(change.Body); err != nil || !b.Change {
		t.Errorf("a password change is redacted to %x, %v: it no longer shows what it is", change.Body, err)
	}
}

// Errors of parsing must not quote the message.
func TestErrorsHideSecrets(t *testing.T) {
	secret := []byte("correct horse battery staple")
	for _, k := range allKinds(t) {
		for _, payload := range [][]byte{append([]byte{k.num}, secret...), append([]byte{k.num, 0, 0, 0, 28}, secret...)} {
			if _, err := Decode(k.phase, payload); err != nil && bytes.Contains([]byte(err.Error()), []byte("horse")) {
				t.Errorf("%s: %v", k.name, err)
			}
		}
	}
	for _, b := range userauthBodies {
		if _, err := b.parse(secret); err == nil || bytes.Contains([]byte(err.Error()), []byte("horse")) {
			t.Errorf("%s: %v", b.method, err)
		}
	}
}
