package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/adit-ssh/adit/trace"
	"github.com/adit-ssh/adit/trace/pcapng"
)

// traceHelp says what --trace takes, for the verbs that have it.
const traceHelp = "record to FILE[,conn|channel|packet|data]: JSON lines, text or pcapng by its name (adit trace --help)"

// keylogHelp is that of --keylog.
const keylogHelp = "append the connection's secrets to FILE for Wireshark (ssh.keylog_file): whoever has them can read it all"

// tracing is what --trace and --keylog, or -o AditTrace and AditKeyLog, ask for.
// The zero value asks for nothing.
type tracing struct {
	file   string // FILE[,LEVEL], with a format's name and a colon in front or not
	keylog string
}

// longOptions are the options of `adit ssh` that are no letters, and their names
// for -o.
var longOptions = map[string]string{"--trace": "AditTrace", "--keylog": "AditKeyLog", "--push-key": "AditPushKey"}

// spellLong puts -o in the place of long options, up to the first argument that
// is no flag.
func spellLong(spec string, args []string) (spelt []string, err error) {
	for len(args) > 0 {
		a := args[0]
		if len(a) < 2 || a[0] != '-' || a == "--" {
			break
		}
		args = args[1:]
		if name, value, given := strings.Cut(a, "="); longOptions[name] != "" {
			if !given {
				if len(args) == 0 {
					return nil, fmt.Errorf("option requires an argument -- %s", name[2:])
				}
				value, args = args[0], args[1:]
			}
			spelt = append(spelt, "-o", longOptions[name]+"="+value)
			continue
		}
		spelt = append(spelt, a)
		if takesNext(spec, a) && len(args) > 0 {
			spelt, args = append(spelt, args[0]), args[1:]
		}
	}
	return append(spelt, args...), nil
}

// takesNext reports whether the argument behind the flags a is their value.
func takesNext(spec, a string) bool {
	for i := 1; i < len(a); i++ {
		if at := strings.IndexByte(spec, a[i]); a[i] != ':' && at >= 0 && strings.HasPrefix(spec[at+1:], ":") {
			return i == len(a)-1
		}
	}
	return false
}

// option reads -o AditTrace=… and -o AditKeyLog=…, which are adit's own: they
// stand on the command line only. The first one wins, as for all options.
func (t *tracing) option(option string) bool {
	for name, to := range map[string]*string{"AditTrace": &t.file, "AditKeyLog": &t.keylog} {
		if len(option) <= len(name) || !strings.EqualFold(option[:len(name)], name) || !strings.ContainsAny(option[len(name):len(name)+1], "= \t") {
			continue
		}
		if *to == "" {
			*to = strings.TrimSpace(strings.TrimPrefix(strings.TrimLeft(option[len(name):], " \t"), "="))
		}
		return true
	}
	return false
}

// options are ssh_config's that go with a recorded connection, behind all that
// the command line says: it is no master's of the files, of which nothing would
// be seen here.
func (t *tracing) options() []string {
	if t.file == "" && t.keylog == "" {
		return nil
	}
	return []string{"ControlPath=none"}
}

// traceFormats are the formats by their names; the first name is shown.
var traceFormats = []struct {
	prefix   string
	suffixes []string
	format   func() trace.Format
}{
	{"json", []string{".jsonl", ".json", ".ndjson"}, func() trace.Format { return new(trace.JSON) }},
	{"pcapng", []string{".pcapng"}, func() trace.Format { return new(pcapng.Format) }},
	{"text", nil, func() trace.Format { return new(trace.Lines) }}, // and all other names
}

// traceTarget takes the value of --trace apart.
func traceTarget(value string) (name, format string, level trace.Level, err error) {
	level = trace.LevelPacket
	name = value
	if i := strings.LastIndexByte(value, ','); i >= 0 {
		l, ok := trace.ParseLevel(value[i+1:])
		switch {
		case ok && l > trace.LevelOff:
			name, level = value[:i], l
		case !strings.ContainsAny(value[i+1:], "./"):
			return "", "", 0, fmt.Errorf("--trace %s: %q is no level: conn, channel, packet or data is due", value, value[i+1:])
		}
	}
	for _, f := range traceFormats {
		if rest, ok := strings.CutPrefix(name, f.prefix+":"); ok {
			name, format = rest, f.prefix
			break
		}
	}
	if format == "" {
		format = "text"
		for _, f := range traceFormats {
			for _, s := range f.suffixes {
				if strings.EqualFold(filepath.Ext(name), s) {
					format = f.prefix
				}
			}
		}
	}
	switch {
	case name == "":
		return "", "", 0, errors.New("--trace: the file's name is empty")
	case format == "pcapng" && level < trace.LevelPacket:
		return "", "", 0, fmt.Errorf("--trace %s: a capture has messages, so the level is packet or data", value)
	}
	return name, format, level, nil
}

// check finds mistakes before anything is opened.
func (t *tracing) check() error {
	if t.file == "" {
		return nil
	}
	_, _, _, err := traceTarget(t.file)
	return err
}

// tells reports whether the trace goes to standard error.
func (t *tracing) tells() bool {
	name, _, _, err := traceTarget(t.file)
	return err == nil && name == "-"
}

// checkFor is check for those who have no messages of SSH: a capture is not for
// them. what is it that they record.
func (t *tracing) checkFor(what string) error {
	if err := t.check(); err != nil || t.file == "" {
		return err
	}
	if _, format, _, _ := traceTarget(t.file); format == "pcapng" {
		return fmt.Errorf("--trace %s: %s are not SSH, which is all that a capture can show: take a .jsonl file, or text", t.file, what)
	}
	return nil
}

// absolute is the value of --trace for a program with another working directory.
// The file is made, so that its errors are told here.
func (t *tracing) absolute() (string, error) {
	name, format, level, err := traceTarget(t.file)
	if err != nil || name == "-" {
		return t.file, err
	}
	f, err := trace.CreatePrivate(name)
	if err != nil {
		return "", fmt.Errorf("--trace: %w", err)
	}
	f.Close()
	if name, err = filepath.Abs(name); err != nil {
		return "", fmt.Errorf("--trace: %w", err)
	}
	return format + ":" + name + "," + level.String(), nil
}

// start opens what is asked for. The tracer is nil without --trace, the key log
// without --keylog. end completes both, and comes when the connections have
// ended.
func (t *tracing) start() (tracer trace.Tracer, keys io.Writer, end func(), err error) {
	var closers []func()
	end = func() {
		for _, c := range closers {
			c()
		}
	}
	if t.file != "" {
		name, format, level, err := traceTarget(t.file)
		if err != nil {
			return nil, nil, end, err
		}
		f, err := openTrace(name, format, level)
		if err != nil {
			return nil, nil, end, fmt.Errorf("--trace: %w", err)
		}
		closers = append(closers, func() {
			if err := f.Close(); err != nil {
				fmt.Fprintf(os.Stderr, "adit: warning: --trace %s: it is not complete: %v\n", name, err)
			}
		})
		tracer = f
	}
	if t.keylog != "" {
		f, err := openKeyLog(t.keylog)
		if err != nil {
			end()
			return nil, nil, func() {}, fmt.Errorf("--keylog: %w", err)
		}
		log := &keyLog{f: f}
		closers = append(closers, log.end)
		keys = log
		fmt.Fprintf(os.Stderr, "adit: warning: --keylog: the keys of this connection go to %s: whoever has them and a capture can read everything, passwords too; delete it when you are done\n", t.keylog)
	}
	return tracer, keys, end, nil
}

// around records what do does as one connection, whose Tracer its context has.
func (t *tracing) around(ctx context.Context, start trace.ConnStart, do func(context.Context) error) error {
	tracer, _, end, err := t.start()
	defer end()
	if err != nil {
		return err
	}
	tracer = trace.Branch(tracer)
	began := time.Now()
	trace.Emit(tracer, start)
	err = do(trace.NewContext(ctx, tracer))
	e := trace.ConnEnd{Took: time.Since(began)}
	if err != nil {
		e.Err = err.Error()
	}
	trace.Emit(tracer, e)
	return err
}

func openTrace(name, format string, level trace.Level) (*trace.File, error) {
	for _, f := range traceFormats {
		if f.prefix != format {
			continue
		}
		if name == "-" {
			return trace.NewFile(keepOpen{os.Stderr}, level, "adit "+version, f.format()), nil
		}
		return trace.CreateFile(name, level, "adit "+version, f.format())
	}
	panic("BUG: no trace format " + format)
}

// keepOpen is a stream that outlives those who write to it.
type keepOpen struct{ io.Writer }

// Close does nothing.
func (keepOpen) Close() error { return nil }

// keyLog is a key log that tells, in the end, if it lacks keys.
type keyLog struct {
	f *os.File

	mu  sync.Mutex
	err error // the first; guarded by mu
}

func (k *keyLog) Write(b []byte) (int, error) {
	n, err := k.f.Write(b)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.err = cmp.Or(k.err, err)
	return n, err
}

func (k *keyLog) end() {
	err := k.f.Close()
	k.mu.Lock()
	defer k.mu.Unlock()
	if err = cmp.Or(k.err, err); err != nil {
		fmt.Fprintf(os.Stderr, "adit: warning: --keylog: it is not complete: %v\n", err)
	}
}

// openKeyLog opens a file that nobody else may read, to append to.
func openKeyLog(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	if info, serr := f.Stat(); serr == nil && info.Mode().IsRegular() {
		if err := f.Chmod(0o600); err != nil {
			f.Close()
			return nil, err
		}
	}
	return f, nil
}
