package sshconfig

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
)

// Limits on what files may make us do. OpenSSH has only the first.
const (
	maxDepth    = 16      // nested Includes
	maxFiles    = 4000    // files read in one Load
	maxBytes    = 8 << 20 // bytes of all of them
	maxValues   = 4000    // forwards, or names in SendEnv
	maxErrors   = 20      // mistakes told
	maxWarnings = 100     // warnings told
)

// reader reads files and the command line into settings.
type reader struct {
	o *Options
	s settings

	host      string // that Host lines compare with
	final     bool   // the files are read again with the final host name
	wantFinal bool   // a Match line asks for that

	blocks   []Block
	warnings []Warning
	errs     []error
	jumps    bool // ProxyJump was set, not none
	ordered  bool // HostKeyAlgorithms was set, not only added to or taken from

	userTyped bool // User is RemoteUser
	nfiles    int
	nbytes    int
}

// scope is the place in a file: which file, and whether its lines apply.
type scope struct {
	path   string
	user   bool // the person's own, in which ~ may be used
	active bool
	never  bool // included in a block that does not apply: only checked
	depth  int
}

var errTooMany = errors.New("too many mistakes")

// mistake keeps an error, so that a person sees all of them at once. It returns
// one when there are enough.
func (r *reader) mistake(err error) error {
	r.errs = append(r.errs, err)
	if len(r.errs) >= maxErrors {
		return errTooMany
	}
	return nil
}

func (r *reader) warn(from Origin, text string) {
	w := Warning{from, text}
	// The second pass finds them again.
	if len(r.warnings) < maxWarnings && !slices.Contains(r.warnings, w) {
		r.warnings = append(r.warnings, w)
	}
}

// commandLine reads options given by hand, each "Keyword=value" or "Keyword
// value".
func (r *reader) commandLine(ctx context.Context, options []string) error {
	for _, text := range options {
		sc := &scope{user: true, active: true}
		if strings.ContainsAny(text, "\n\r") {
			return lineError(Origin{CommandLine: true}, "", errors.New("an option has a line end in it"))
		}
		if err := r.line(ctx, sc, Origin{CommandLine: true}, text); err != nil {
			return err
		}
	}
	return nil
}

// file reads one file. check refuses those that others can write.
func (r *reader) file(ctx context.Context, sc *scope, check bool) error {
	if sc.depth > maxDepth {
		return fmt.Errorf("files are included deeper than %d times", maxDepth)
	}
	if r.nfiles++; r.nfiles > maxFiles {
		return fmt.Errorf("more than %d files are included", maxFiles)
	}
	f, err := os.Open(sc.path)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if check {
		if err := checkOwner(sc.path, st); err != nil {
			return err
		}
	}
	if st.IsDir() {
		return nil // OpenSSH finds no line in it
	}
	lines := bufio.NewReader(&budget{f, &r.nbytes})
	for n := 1; ; n++ {
		text, err := lines.ReadString('\n')
		if text != "" {
			if err := r.line(ctx, sc, Origin{File: sc.path, Line: n}, text); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", sc.path, err)
		}
	}
}

// budget reads until all files together are too long.
type budget struct {
	f    io.Reader
	read *int
}

// Read implements io.Reader.
func (b *budget) Read(p []byte) (int, error) {
	n, err := b.f.Read(p)
	if *b.read += n; *b.read > maxBytes {
		return 0, fmt.Errorf("the files have more than %d bytes", maxBytes)
	}
	return n, err
}

// line reads one line. It returns an error only when reading must end; other
// mistakes are kept.
func (r *reader) line(ctx context.Context, sc *scope, from Origin, text string) error {
	name, rest, ok := cutKeyword(text)
	if !ok {
		if from.CommandLine {
			return r.mistake(lineError(from, "", fmt.Errorf("%q is not an option such as Port=22", text)))
		}
		return nil
	}
	fail := func(err error) error { return r.mistake(lineError(from, name, err)) }
	if rest == "" {
		return fail(errMissing)
	}
	key := keywordByName[name]
	if key == nil {
		return r.unknown(from, name, rest)
	}
	args, err := splitArgs(rest)
	if err != nil {
		return fail(err)
	}
	l := &line{r: r, name: lower(key.name), args: args, rest: rest, from: from, active: sc.active, user: sc.user}
	if key.parse != nil {
		if err := key.parse(l); err != nil {
			return fail(err)
		}
		if len(l.args) > 0 {
			return fail(fmt.Errorf("%q is one value too many", l.args[0]))
		}
		return nil
	}
	if from.CommandLine {
		return fail(errors.New("it can't be given on the command line"))
	}
	if l.name == "include" {
		return r.include(ctx, sc, l)
	}
	if err := r.block(ctx, sc, key, l); err != nil {
		return fail(err)
	}
	return ctx.Err()
}

// unknown is for a keyword that is not in the table.
func (r *reader) unknown(from Origin, name, rest string) error {
	if text, ok := ignored[name]; ok {
		if text != "" {
			r.warn(from, name+" "+text)
		}
	} else if matched, _ := matchList(name, r.s.text("ignoreunknown"), true); !matched {
		err := errors.New("the keyword is not known")
		if !from.CommandLine {
			err = withHint{err, "to use the file all the same, begin it with: IgnoreUnknown " + name}
		}
		return r.mistake(lineError(from, name, err))
	}
	if _, err := splitArgs(rest); err != nil {
		return r.mistake(lineError(from, name, err))
	}
	return nil
}

// block begins a Host or Match block.
func (r *reader) block(ctx context.Context, sc *scope, key *keyword, l *line) (err error) {
	b := Block{Origin: l.from, Text: key.name + " " + strings.Join(quoteAll(l.args), " "), Pass: 1}
	if r.final {
		b.Pass = 2
	}
	if key.name == "Host" {
		b.Matched, b.Reason, err = r.hostBlock(l.args)
	} else {
		b.Matched, b.Reason, err = r.matchBlock(ctx, l.args, sc.never)
	}
	if err != nil {
		return err
	}
	if sc.never {
		b.Matched, b.Reason = false, "the block that includes this file does not apply"
	}
	sc.active = b.Matched
	r.blocks = append(r.blocks, b)
	return nil
}

func quoteAll(args []string) []string {
	quoted := make([]string, len(args))
	for i, a := range args {
		quoted[i] = a // patterns need no quotes for ! and ?
		if a == "" || strings.ContainsAny(a, " \t\"'\\#") {
			quoted[i] = Quote(a)
		}
	}
	return quoted
}

// include reads the files that an Include line names. Blocks in them end with
// them.
func (r *reader) include(ctx context.Context, sc *scope, l *line) error {
	for len(l.args) > 0 {
		arg, _ := l.next()
		paths, err := r.includePaths(sc, arg)
		if err != nil {
			if err := r.mistake(lineError(l.from, l.name, err)); err != nil {
				return err
			}
			continue
		}
		for _, p := range paths {
			in := &scope{path: p, user: sc.user, active: sc.active, never: !sc.active, depth: sc.depth + 1}
			err := r.file(ctx, in, true)
			if _, told := errors.AsType[*LineError](err); told || errors.Is(err, errTooMany) || ctx.Err() != nil {
				return err
			}
			if err != nil && !(isOpen(err, p) && errors.Is(err, fs.ErrNotExist)) { // a link to nowhere
				return lineError(l.from, l.name, err)
			}
		}
	}
	return nil
}

// isOpen reports whether err is that path could not be opened.
func isOpen(err error, path string) bool {
	e, ok := errors.AsType[*fs.PathError](err)
	return ok && e.Op == "open" && e.Path == path
}
