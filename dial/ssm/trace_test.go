package ssm

import (
	"bytes"
	"context"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/adit-ssh/adit/internal/ssmwire"
	"github.com/adit-ssh/adit/internal/testpeer/ssmgw"
	"github.com/adit-ssh/adit/trace"
	"github.com/adit-ssh/adit/trace/view"
)

// recorded dials with a Tracer, does what do says, and returns the entries.
func recorded(t *testing.T, g *ssmgw.Gateway, level trace.Level, o Options, do func(io.ReadWriter)) []trace.Entry {
	t.Helper()
	s := serve(t, g)
	recorder := trace.NewRecorder(level, 1<<20)
	ctx, cancel := context.WithTimeout(trace.NewContext(t.Context(), recorder), patience)
	defer cancel()
	c, err := s.Dial(ctx, o)
	if err == nil {
		c.SetDeadline(time.Now().Add(patience))
		do(c)
		c.Close()
	}
	return trace.Entries(recorder.Records())
}

// labels are stages and messages in few words.
func labels(all []trace.Entry) (got []string) {
	for _, e := range all {
		switch {
		case e.Event == "dial:stage":
			got = append(got, e.Text("stage")+" "+e.Text("address"))
		case e.Text("again") == "true": // by us, or by the agent, when an acknowledgement is late
		case e.Dir != "" && e.Message != ssmwire.Acknowledge && e.Message != ssmwire.StartPublication: // which come at any time
			got = append(got, strings.TrimSpace(e.Dir+" "+e.Message+" "+e.Text("payload_type")+" "+e.Text("flag")))
		}
	}
	return got
}

// A session is told stage by stage and message by message: what was asked of AWS,
// the handshake, data both ways, and its end.
func TestTrace(t *testing.T) {
	all := recorded(t, &ssmgw.Gateway{}, trace.LevelPacket, Options{Target: node, Port: target(t, echo)}, func(c io.ReadWriter) {
		io.WriteString(c, "open sesame")
		io.ReadFull(c, make([]byte, 11))
	})
	want := []string{
		"find " + node, "ssm:StartSession " + node, "data channel ",
		"in output_stream_data handshake request", "out input_stream_data handshake response", "in output_stream_data handshake complete",
		"handshake agent 3.3.987.0",
		"out input_stream_data output", "in output_stream_data output", "out input_stream_data flag terminate session",
	}
	got := labels(all)
	// The handshake's stage ends while its last message is told.
	slices.Sort(got[5:7])
	slices.Sort(want[5:7])
	if len(got) < len(want) || !slices.Equal(got[:len(want)], want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	for _, e := range all {
		if what, _ := view.Explain(&e); what == "" && e.Dir != "" {
			t.Errorf("%s is not explained", e.Message)
		}
	}
	acked := map[string]int{}
	for _, e := range all {
		switch {
		case e.Message == ssmwire.Acknowledge:
			acked[e.Dir]++
			if _, ok := e.Int("acknowledged_sequence_number"); !ok || e.Text("flags") != "3" {
				t.Errorf("an acknowledgement says %+v", e.Fields)
			}
		case e.Message == ssmwire.Input && e.Text("payload_type") == "output" && (e.Seq != 1 || e.Size != 11 || e.Text("data_length") != "11"):
			t.Errorf("our data is %+v", e)
		case e.Text("payload_type") == "handshake request" && (e.Text("agent_version") != "3.3.987.0" || e.Text("session_type") != "Port" || e.Text("actions") != "SessionType"):
			t.Errorf("the request is %+v", e.Fields)
		}
	}
	if acked["in"] < 2 || acked["out"] < 3 {
		t.Errorf("acknowledgements: %v, want those of two of ours and three of the agent's at least", acked)
	}
}

// Neither tokens nor, below LevelData, data are in a trace; no level has a
// challenge of the encryption's.
func TestTraceHasNoSecrets(t *testing.T) {
	g := &ssmgw.Gateway{Faults: ssmgw.Faults{CloseAfter: 20_000, Closes: 2}}
	for level, want := range map[trace.Level]bool{trace.LevelConn: false, trace.LevelPacket: false, trace.LevelData: true} {
		all := recorded(t, g, level, Options{Target: node, Port: target(t, echo)}, func(c io.ReadWriter) {
			io.WriteString(c, "open sesame")
			io.ReadFull(c, make([]byte, 11))
		})
		var out bytes.Buffer
		if err := trace.WriteEntries(&out, trace.Header{}, all, true); err != nil {
			t.Fatal(err)
		}
		// "open sesame" in base64.
		if got := strings.Contains(out.String(), "b3BlbiBzZXNhbWU="); got != want {
			t.Errorf("level %s: the data is there: %t, want %t", level, got, want)
		}
		if i := strings.Index(strings.ToLower(out.String()), "token"); i >= 0 {
			t.Errorf("level %s: …%.80s…", level, out.String()[i:])
		}
	}
	f := ssmwire.Frame{Type: ssmwire.Output, Created: 1, PayloadType: ssmwire.PayloadChallengeRequest, Payload: []byte("a challenge")}
	if got := payloadFields(&f, true); len(got) != 0 {
		t.Errorf("of a challenge there is %v", got)
	}
}

// What is sent again is marked, and so are pauses and resumptions.
func TestTraceOfTroubles(t *testing.T) {
	g := &ssmgw.Gateway{Faults: ssmgw.Faults{DropAcks: 0.3, PauseEvery: 5, CloseAfter: 40_000, Closes: 1, Delay: time.Millisecond, Seed: 1}}
	all := recorded(t, g, trace.LevelPacket, Options{Target: node, Port: target(t, echo)}, func(c io.ReadWriter) {
		const size = 50_000
		go c.Write(make([]byte, size)) // ends with the read of what comes back
		io.ReadFull(c, make([]byte, size))
	})
	again, pauses := 0, 0
	for _, e := range all {
		if e.Text("again") == "true" {
			again++
		}
		if e.Message == ssmwire.PausePublication {
			pauses++
		}
	}
	if again == 0 || pauses == 0 || !slices.Contains(labels(all), "ssm:ResumeSession and data channel ") {
		t.Errorf("%d messages were sent again, %d pauses; the stages are %q", again, pauses, labels(all)[:3])
	}
}

// A stage that fails says why, in words without URLs and tokens.
func TestTraceOfFailure(t *testing.T) {
	all := recorded(t, &ssmgw.Gateway{Deny: []string{"ssm:StartSession"}}, trace.LevelConn, Options{Target: node}, nil)
	last := all[len(all)-1]
	if last.Text("stage") != "ssm:StartSession" || !strings.HasPrefix(last.Text("error"), "AccessDeniedException: ") {
		t.Errorf("got %+v", last)
	}
}

func TestNumbers(t *testing.T) {
	var s numbers
	for _, tt := range []struct {
		n    int64
		want bool
	}{{0, false}, {0, true}, {3, false}, {3, true}, {1, false}, {2, false}, {3, true}, {4, false}, {2, true}} {
		if got := s.again(tt.n); got != tt.want {
			t.Errorf("%d was there before: %t, want %t", tt.n, got, tt.want)
		}
	}
	if len(s.ahead) != 0 || s.next != 5 {
		t.Errorf("it remembers %+v", s)
	}
}
