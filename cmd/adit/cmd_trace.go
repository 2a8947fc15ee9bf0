package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/adit-ssh/adit/trace"
	"github.com/adit-ssh/adit/trace/view"
)

const traceLong = `Shows what adit recorded of an SSH connection: each message, decoded.

  adit ssh --trace db.jsonl -N -L 5432:db.private:5432 bastion
  adit trace ladder db.jsonl -o db.html

--trace goes with ssh, connect, serve, ssm and agent. The file's name says its
format, or a name in front of it, as in text:FILE:

  FILE.jsonl   JSON lines, which these verbs read (TRACE.md has their schema)
  FILE.pcapng  a capture that Wireshark decodes, whatever the algorithms
  others       text, a line a message; - is standard error

A level may follow: --trace FILE,data. The levels are conn (dialling, keys, login,
forwards), channel, packet (every message, the default) and data (channel data,
too). Passwords, answers and keys are never in a trace; what goes through a
channel is, with data, unless it leads to an agent. FILE "-" of these verbs is
standard input.`

func traceCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "trace",
		Short: "Show recorded connections: as lines, numbers or a sequence diagram",
		Long:  traceLong,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return &usageError{verbOf(cmd), fmt.Errorf("unknown verb %q: show, filter, stats or ladder is due", args[0])}
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(traceShowCommand(), traceFilterCommand(), traceStatsCommand(), traceLadderCommand())
	return cmd
}

// traceFile wants one argument.
func traceFile(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return &usageError{verbOf(cmd), errors.New("one FILE is due, as written by --trace FILE.jsonl")}
	}
	return nil
}

// readTrace reads a file. With a broken trace, err says where, and what stands
// before that is returned all the same.
func readTrace(name string) (h trace.Header, entries []trace.Entry, err error) {
	in := io.Reader(os.Stdin)
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return h, nil, err
		}
		defer f.Close()
		in = f
	}
	r, err := trace.NewReader(bufio.NewReaderSize(in, 1<<16))
	if err == nil {
		h = r.Header
		if entries, err = r.ReadAll(); err == nil && r.Lost() > 0 {
			fmt.Fprintf(os.Stderr, "adit: warning: %s: %d events were not recorded: the disk was slower than the connection\n", name, r.Lost())
		}
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", name, err)
	}
	return h, entries, err
}

// brokenTrace tells about a trace that breaks off, after what stands before
// that was shown. One that only lacks its end is no error.
func brokenTrace(err error) error {
	if e, ok := errors.AsType[*trace.FileError](err); ok && e.Cut && e.Line > 1 {
		fmt.Fprintf(os.Stderr, "adit: warning: %v\n", err)
		return nil
	}
	return err
}

// entryFilter chooses entries.
type entryFilter struct {
	conn     int
	channel  int
	messages []string
	level    string
	find     string
}

func (f *entryFilter) flags(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.IntVar(&f.conn, "conn", 0, "only this connection, by its number")
	fs.IntVar(&f.channel, "channel", -1, "only this channel, by our number")
	fs.StringSliceVar(&f.messages, "message", nil, "only these messages or events, by name or number, such as CHANNEL_OPEN or 90")
	fs.StringVar(&f.level, "level", "", "no more than this level: conn, channel, packet or data")
	fs.StringVar(&f.find, "find", "", "only entries whose line has this text")
}

func (f *entryFilter) check(cmd *cobra.Command) error {
	if _, ok := trace.ParseLevel(f.level); f.level != "" && !ok {
		return &usageError{verbOf(cmd), fmt.Errorf("--level %q is none: conn, channel, packet or data is due", f.level)}
	}
	return nil
}

func (f *entryFilter) keeps(e *trace.Entry) bool {
	level, _ := trace.ParseLevel(f.level)
	switch {
	case f.conn != 0 && e.Conn != f.conn,
		f.channel >= 0 && e.Channel != f.channel,
		f.level != "" && entryLevel(e) > level,
		f.find != "" && !strings.Contains(e.Line(), f.find):
		return false
	case len(f.messages) == 0:
		return true
	}
	return slices.ContainsFunc(f.messages, func(m string) bool {
		name := strings.TrimPrefix(strings.TrimPrefix(strings.ToUpper(m), "SSH_"), "MSG_")
		return e.Dir != "" && (strings.EqualFold(name, e.Message) || m == strconv.Itoa(int(e.Number))) || strings.EqualFold(m, e.Event)
	})
}

// entryLevel is the least level at which an entry is recorded.
func entryLevel(e *trace.Entry) trace.Level {
	switch {
	case e.Dir != "":
		return trace.LevelPacket
	case strings.HasPrefix(e.Event, "mux:"), e.Event == "transport:negotiated":
		return trace.LevelChannel
	}
	return trace.LevelConn
}

func (f *entryFilter) apply(entries []trace.Entry) []trace.Entry {
	return slices.DeleteFunc(entries, func(e trace.Entry) bool { return !f.keeps(&e) })
}

// traceVerb makes a verb that reads one trace, of which f, if it is not nil, chooses
// a part. do is called with it unless nothing of it can be read; broken is why it
// breaks off, or nil.
func traceVerb(cmd *cobra.Command, f *entryFilter, do func(cmd *cobra.Command, h trace.Header, entries []trace.Entry, broken error) error) *cobra.Command {
	cmd.Args = traceFile
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if f != nil {
			if err := f.check(cmd); err != nil {
				return err
			}
		}
		h, entries, broken := readTrace(args[0])
		if h.Version == 0 {
			return broken
		}
		if f != nil {
			entries = f.apply(entries)
		}
		if err := do(cmd, h, entries, broken); err != nil {
			return err
		}
		return brokenTrace(broken)
	}
	if f != nil {
		f.flags(cmd)
	}
	return cmd
}

func traceShowCommand() *cobra.Command {
	explain := false
	cmd := traceVerb(&cobra.Command{
		Use:   "show [flags] FILE",
		Short: "Print a trace, a line an entry",
		Example: `  adit trace show --message CHANNEL_OPEN,CHANNEL_OPEN_FAILURE db.jsonl
  adit trace show --channel 0 --explain db.jsonl`,
	}, new(entryFilter), func(cmd *cobra.Command, h trace.Header, entries []trace.Entry, _ error) error {
		w := bufio.NewWriter(cmd.OutOrStdout())
		fmt.Fprintf(w, "# %s, by %s, level %s\n", h.Began.Format("2006-01-02 15:04:05.000000 MST"), strconv.QuoteToASCII(h.Program), h.Level)
		for i := range entries {
			fmt.Fprintln(w, entries[i].Line())
			if what, where := view.Explain(&entries[i]); explain && what != "" {
				fmt.Fprintf(w, "%15s %s", "", what)
				if where != "" {
					fmt.Fprintf(w, " (%s)", where)
				}
				fmt.Fprintln(w)
			}
		}
		return w.Flush()
	})
	cmd.Flags().BoolVar(&explain, "explain", false, "say what each message means, and which section of which RFC says so")
	return cmd
}

func traceFilterCommand() *cobra.Command {
	out := ""
	cmd := traceVerb(&cobra.Command{
		Use:     "filter [flags] FILE",
		Short:   "Write a part of a trace as a trace",
		Example: `  adit trace filter --conn 2 --level packet all.jsonl | adit trace ladder - -o one.html`,
	}, new(entryFilter), func(cmd *cobra.Command, h trace.Header, entries []trace.Entry, broken error) error {
		return writeOut(cmd, out, func(w io.Writer) error { return trace.WriteEntries(w, h, entries, broken == nil) })
	})
	cmd.Flags().StringVarP(&out, "output", "o", "", "write to this file instead of standard output")
	return cmd
}

func traceStatsCommand() *cobra.Command {
	return traceVerb(&cobra.Command{
		Use:   "stats FILE",
		Short: "Count: bytes, windows used up, round trips, and what took its time",
		Long: `Prints of each connection: messages and bytes, key exchanges, the shortest round
trip that was seen, and what the time up to the first byte went into; of each
channel how long the open took, the bytes each way, and how often and how long the
window of each side was used up, so that it could not send.`,
	}, nil, func(cmd *cobra.Command, _ trace.Header, entries []trace.Entry, _ error) error {
		return view.Count(entries).Write(cmd.OutOrStdout())
	})
}

func traceLadderCommand() *cobra.Command {
	out, asText, explain := "", false, false
	cmd := traceVerb(&cobra.Command{
		Use:   "ladder [flags] FILE",
		Short: "Draw a trace as a sequence diagram, in HTML or in the terminal",
		Long: `Draws who said what to whom: the local program, adit, the server and the target.
With -o it is a page of HTML that needs nothing else, not even a network; without,
or with --text, it is drawn in the terminal.

Many messages with data in a row are drawn as one, which the page unfolds. Dashed
arrows were not seen, but follow from what was: that the server has connected to
the target.`,
		Example: `  adit trace ladder db.jsonl -o db.html
  adit trace ladder --text --channel 0 --explain db.jsonl`,
	}, new(entryFilter), func(cmd *cobra.Command, h trace.Header, entries []trace.Entry, broken error) error {
		l := view.NewLadder(h, entries)
		return writeOut(cmd, out, func(w io.Writer) error {
			if !asText && out != "" {
				return l.WriteHTML(w, broken)
			}
			o := terminalOptions(out == "")
			o.Explain = explain
			return l.WriteText(w, o)
		})
	})
	cmd.Flags().StringVarP(&out, "output", "o", "", "write a page of HTML to this file")
	cmd.Flags().BoolVar(&asText, "text", false, "draw it as text, also into a file")
	cmd.Flags().BoolVar(&explain, "explain", false, "with text: say what each message means")
	return cmd
}

// terminalOptions are those of standard output: colour if it is a terminal and
// NO_COLOR is not set (no-color.org), and the terminal's width, also when a pager
// stands in between.
func terminalOptions(stdout bool) (o view.TextOptions) {
	if !stdout {
		return o
	}
	for _, f := range []*os.File{os.Stdout, os.Stderr} {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil {
			o.Width = w
			break
		}
	}
	o.Color = term.IsTerminal(int(os.Stdout.Fd())) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	return o
}

// writeOut writes to a file that nobody else may read, or to standard output.
func writeOut(cmd *cobra.Command, name string, write func(io.Writer) error) error {
	if name == "" || name == "-" {
		w := bufio.NewWriter(cmd.OutOrStdout())
		if err := write(w); err != nil {
			return err
		}
		return w.Flush()
	}
	from, err := os.Stat(cmd.Flags().Arg(0))
	if to, terr := os.Stat(name); err == nil && terr == nil && os.SameFile(from, to) {
		return fmt.Errorf("-o %s is the trace itself, which would be lost: name another file", name)
	}
	f, err := trace.CreatePrivate(name)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	err = write(w)
	return errors.Join(err, w.Flush(), f.Close())
}
