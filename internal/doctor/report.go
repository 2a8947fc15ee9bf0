package doctor

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
)

// Stage is a stage of connecting. Its number is the exit status of `adit doctor`
// when it is the first that fails.
type Stage int

// The stages, in their order.
const (
	StageConfig      Stage = 1 + iota
	StageName              // 2: looking up the host's name
	StageAddress           // 3: connecting to an address
	StageProxy             // 4: ProxyCommand or ProxyJump
	StageVersion           // 5: the server's version line
	StageNegotiation       // 6: algorithms in common
	StageKex               // 7: key exchange
	StageHostKey           // 8: is the server the right one
	StageLogin             // 9
	StageAgent             // 10
	StageForward           // 11: local ports and targets
	StageIdle              // 12: does it answer a keepalive request
	StageGUI               // 13: what a program started from the desktop lacks
)

var stageNames = [...]string{StageConfig: "configuration", StageName: "name", StageAddress: "address", StageProxy: "proxy",
	StageVersion: "version", StageNegotiation: "negotiation", StageKex: "key exchange", StageHostKey: "host key",
	StageLogin: "login", StageAgent: "agent", StageForward: "forward", StageIdle: "idle", StageGUI: "gui"}

// String returns the stage's name, as JSON has it.
func (s Stage) String() string { return stageNames[s] }

// MarshalText implements encoding.TextMarshaler.
func (s Stage) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Status is how a check ended.
type Status string

// The statuses. A warning is a fault that does not keep this connection from
// being made.
const (
	OK      Status = "ok"
	Warning Status = "warning"
	Failed  Status = "failed"
	Skipped Status = "skipped"
)

// Check is one check and its outcome. All text is printable.
type Check struct {
	Stage   Stage
	Subject string // which address, key or forward; "" where there is one only
	Status  Status
	Took    time.Duration
	Text    string   // what was found, on one line
	Details []string // further lines
	Meaning string   // of a failure or a warning; may be ""
	Fix     string   // what to change; may be ""
}

// Report is an examination.
type Report struct {
	Host   string // as typed
	Target string // user@host:port; "" if the configuration does not tell
	As     string // "" or "gui"
	Checks []Check
}

// Failure returns the first check that failed, nil if none did. A refused
// attempt to log in counts only together with the others.
func (r *Report) Failure() *Check {
	for i := range r.Checks {
		if r.Checks[i].Status == Failed && r.Checks[i].Meaning != "" {
			return &r.Checks[i]
		}
	}
	return nil
}

// ExitStatus returns 0, or the number of the stage that failed first.
func (r *Report) ExitStatus() int {
	if c := r.Failure(); c != nil {
		return int(c.Stage)
	}
	return 0
}

// Text writes the report for people.
func (r *Report) Text(w io.Writer) error {
	var b strings.Builder
	as := ""
	if r.As == "gui" {
		as = ", as a program started from the desktop"
	}
	fmt.Fprintf(&b, "%s is %s%s\n\n", r.Host, r.Target, as)
	if r.Target == "" {
		b.Reset()
		fmt.Fprintf(&b, "%s%s\n\n", r.Host, as)
	}
	for i := 0; i < len(r.Checks); i++ {
		c := r.Checks[i]
		took, stages := "", c.Stage.String()
		if c.Took > 0 {
			took = duration(c.Took)
		}
		for i+1 < len(r.Checks) && c.Status == Skipped && sameSkip(c, r.Checks[i+1]) {
			i++
			stages += ", " + r.Checks[i].Stage.String()
		}
		text := c.Text
		if c.Subject != "" {
			text = strings.TrimSuffix(c.Subject+": "+text, ": ")
		}
		line := fmt.Sprintf("%-8s %-14s %7s  %s", c.Status, stages, took, text)
		if len(stages) > len("configuration ") {
			line = fmt.Sprintf("%-8s %s: %s", c.Status, stages, text)
		}
		fmt.Fprintf(&b, "%s\n", line)
		for _, d := range c.Details {
			fmt.Fprintf(&b, "%33s%s\n", "", d)
		}
		if c.Status == Warning {
			explain(&b, fmt.Sprintf("%33s", ""), c)
		}
	}
	if c := r.Failure(); c != nil {
		fmt.Fprintf(&b, "\nThe first failure is at: %s\n", c.Stage)
		explain(&b, "", *c)
	} else {
		b.WriteString("\nEverything works.\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// sameSkip reports whether two checks were skipped for the same reason.
func sameSkip(a, b Check) bool {
	return b.Status == Skipped && a.Text == b.Text && a.Subject == "" && b.Subject == "" && len(a.Details)+len(b.Details) == 0
}

func explain(b *strings.Builder, indent string, c Check) {
	if c.Meaning != "" {
		fmt.Fprintf(b, "%smeaning: %s\n", indent, c.Meaning)
	}
	if c.Fix != "" {
		fmt.Fprintf(b, "%sto do:   %s\n", indent, c.Fix)
	}
}

// duration has three digits at most.
func duration(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%.1f ms", max(0.1, d.Seconds()*1000))
	case d < time.Second:
		return fmt.Sprintf("%.0f ms", d.Seconds()*1000)
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

// JSON writes the report as one object; see the package's comment.
func (r *Report) JSON(w io.Writer) error {
	type check struct {
		Stage   Stage    `json:"stage"`
		Subject string   `json:"subject"`
		Status  Status   `json:"status"`
		MS      float64  `json:"ms"`
		Text    string   `json:"text"`
		Details []string `json:"details"`
		Meaning string   `json:"meaning"`
		Fix     string   `json:"fix"`
	}
	out := struct {
		Host    string  `json:"host"`
		Target  string  `json:"target"`
		As      string  `json:"as"`
		OK      bool    `json:"ok"`
		Exit    int     `json:"exit_status"`
		Failed  string  `json:"failed"`
		Meaning string  `json:"meaning"`
		Fix     string  `json:"fix"`
		Checks  []check `json:"checks"`
	}{Host: r.Host, Target: r.Target, As: r.As, OK: true, Exit: r.ExitStatus(), Checks: []check{}}
	if c := r.Failure(); c != nil {
		out.OK, out.Failed, out.Meaning, out.Fix = false, c.Stage.String(), c.Meaning, c.Fix
	}
	for _, c := range r.Checks {
		ms := float64(c.Took.Microseconds()) / 1000
		out.Checks = append(out.Checks, check{c.Stage, c.Subject, c.Status, ms, c.Text, append([]string{}, c.Details...), c.Meaning, c.Fix})
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(out)
}
