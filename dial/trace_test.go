package dial_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/adit-ssh/adit/dial"
	"github.com/adit-ssh/adit/trace"
)

// stages dials and returns what was told of it, a line a stage.
func stages(t *testing.T, connect func(context.Context, string) (net.Conn, error), address string) (told []string, err error) {
	t.Helper()
	r := trace.NewRecorder(trace.LevelConn, 100)
	ctx, cancel := context.WithTimeout(trace.NewContext(t.Context(), r), time.Minute)
	defer cancel()
	c, err := connect(ctx, address)
	if c != nil {
		c.Close()
	}
	for _, rec := range r.Records() {
		e := rec.Event.(trace.DialStage)
		line := e.Stage + " " + e.Address
		if len(e.Found) > 0 {
			line += " " + strings.Join(e.Found, ",")
		}
		if e.Err != "" {
			line += ": " + e.Err
		}
		told = append(told, line)
	}
	return told, err
}

// Each step of dialling is told to the tracer in the context, with its outcome.
func TestDialStages(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	open := l.Addr().String()
	closed, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	shut := closed.Addr().String()
	closed.Close()
	jump := dial.Jump{Name: "bastion", Connect: func(context.Context, string) (dial.Through, error) { return nil, errors.New("no login") }}
	for _, tt := range []struct {
		name    string
		connect func(context.Context, string) (net.Conn, error)
		address string
		want    []string
		fails   bool
	}{
		{"connected", dial.TCP{}.Dial, open, []string{"look up 127.0.0.1 127.0.0.1", "connect to " + open}, false},
		{"refused", dial.TCP{}.Dial, shut, []string{"look up 127.0.0.1 127.0.0.1", "connect to " + shut + ": connection refused"}, true},
		{"jump host", jump.Dial, "db:1", []string{"jump host bastion: no login"}, true},
	} {
		got, err := stages(t, tt.connect, tt.address)
		if (err != nil) != tt.fails || strings.Join(got, "\n") != strings.Join(tt.want, "\n") {
			t.Errorf("%s: %v, told\n%s\nwant\n%s", tt.name, err, strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
		}
	}
	if got, _ := stages(t, dial.TCP{}.Dial, "nowhere.invalid:1"); len(got) != 1 || !strings.HasPrefix(got[0], "look up nowhere.invalid: ") {
		t.Errorf("a name that is not there: %q", got)
	}
}
