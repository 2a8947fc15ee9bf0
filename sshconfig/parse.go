package sshconfig

import (
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
)

// The parsers of keywords.go's table, as readconf.c's process_config_line has
// them. Each takes what it understands from l.args; what it leaves is an error.

var (
	errMissing = errors.New("a value is missing")
	errEmpty   = errors.New("an argument is empty")
)

func errAlone(word string) error { return fmt.Errorf("%q can't stand beside other values", word) }

// Limits of OpenSSH (ssh.h, readconf.h).
const (
	maxHostFiles = 32
	maxKeyFiles  = 100
)

func text(l *line) error {
	arg, err := l.need()
	if err == nil {
		l.set(arg)
	}
	return err
}

// oneOf reads one of some words, whose case does not count. Words with the same
// meaning are given together; the first is what -G prints.
func oneOf(meanings ...string) func(*line) error {
	words := make([][]string, len(meanings))
	var all []string
	for i, m := range meanings {
		words[i] = strings.Fields(m)
		all = append(all, words[i]...)
	}
	return func(l *line) error {
		arg, err := l.need()
		if err != nil {
			return err
		}
		for _, same := range words {
			if slices.ContainsFunc(same, func(w string) bool { return strings.EqualFold(w, arg) }) {
				l.set(same[0])
				return nil
			}
		}
		return fmt.Errorf("%q is not one of %s", arg, strings.Join(all, ", "))
	}
}

var yesNo = oneOf("yes true", "no false")

func number(l *line) error {
	arg, err := l.need()
	if err != nil {
		return err
	}
	n, err := parseInt(arg, math.MaxInt32)
	if err == nil {
		l.set(strconv.Itoa(n))
	}
	return err
}

func port(l *line) error {
	arg, err := l.need()
	if err != nil {
		return err
	}
	n, err := parsePort(arg)
	if err == nil && n == 0 {
		err = fmt.Errorf("%q is not a port from 1 to 65535", arg)
	}
	if err == nil {
		l.set(strconv.Itoa(n))
	}
	return err
}

// seconds reads a time. The word none sets nothing: a later line still can.
func seconds(l *line) error {
	arg, err := l.need()
	if err != nil || arg == "none" {
		return err
	}
	n, err := parseTime(arg)
	if err == nil {
		l.set(strconv.Itoa(n))
	}
	return err
}

// command takes the rest of the line as it is, quotes and # included.
func command(l *line) error {
	l.args = nil
	l.set(strings.TrimLeft(l.rest, blanks+"="))
	return nil
}

// addendum takes the rest of the line too, a comment included: OpenSSH means to
// cut it off, and does not.
func addendum(l *line) error {
	l.args = nil
	s := l.rest
	if strings.Contains(s, "\r") {
		return errors.New("it has a carriage return")
	}
	if strings.EqualFold(s, "none") {
		s = ""
	}
	l.set(s)
	return nil
}

func refuse(l *line) error {
	arg, err := l.need()
	if err == nil && l.active {
		return fmt.Errorf("the configuration refuses to connect: %s", arg)
	}
	return err
}

func logLevel(l *line) error {
	levels := []string{"QUIET", "FATAL", "ERROR", "INFO", "VERBOSE", "DEBUG", "DEBUG1", "DEBUG2", "DEBUG3"}
	arg, _ := l.next()
	level := strings.ToUpper(arg)
	if level == "SILENT" { // Debian's
		level = "QUIET"
	}
	if !slices.Contains(levels, level) {
		return fmt.Errorf("%q is not one of %s", arg, strings.Join(levels, ", "))
	}
	if level == "DEBUG1" {
		level = "DEBUG"
	}
	l.set(level)
	return nil
}

// syslogFacility does not look whether its block applies; neither does OpenSSH.
func syslogFacility(l *line) error {
	arg, _ := l.next()
	name := strings.ToUpper(arg)
	n, found := strings.CutPrefix(name, "LOCAL")
	if !slices.Contains([]string{"DAEMON", "USER", "AUTH", "AUTHPRIV"}, name) && !(found && len(n) == 1 && n[0] >= '0' && n[0] <= '7') {
		return fmt.Errorf("%q is not DAEMON, USER, AUTH, AUTHPRIV or LOCAL0 to LOCAL7", arg)
	}
	l.active = true
	l.set(name)
	return nil
}

// bindMask counts wherever it stands, the last one of all; so it does in
// OpenSSH.
func bindMask(l *line) error {
	arg, err := l.need()
	if err != nil {
		return err
	}
	digits := strings.TrimPrefix(strings.TrimLeft(arg, " \t\n\v\f\r"), "+") // as strtol(3)
	digits = digits[:len(digits)-len(strings.TrimLeft(digits, "01234567"))]
	n, err := strconv.ParseUint(digits, 8, 32)
	if err != nil || n > 0o777 {
		return fmt.Errorf("%q is not an octal mask such as 0177", arg)
	}
	l.r.s[l.name] = []value{l.value(fmt.Sprintf("0%o", n))}
	return nil
}

// setSwitch sets yes or no if that is what stands there.
func (l *line) setSwitch(arg string) bool {
	word := map[string]string{"yes": "yes", "true": "yes", "no": "no", "false": "no"}[arg]
	if word != "" {
		l.set(word)
	}
	return word != ""
}

func obscure(l *line) error {
	arg, err := l.need()
	if err != nil {
		return err
	}
	if l.setSwitch(arg) {
		return nil
	}
	ms, ok := strings.CutPrefix(arg, "interval:")
	n, err := parseInt(ms, 1000)
	if !ok || err != nil || n == 0 {
		return fmt.Errorf("%q is not yes, no, or interval: and 1 to 1000 milliseconds", arg)
	}
	if n == 20 {
		l.set("yes")
	} else {
		l.set(strconv.Itoa(n))
	}
	return nil
}

func addKeys(l *line) error {
	bad := errors.New(`yes, no, ask, confirm, "confirm" and a time, or a time is due`)
	arg, err := l.need()
	if err != nil {
		return err
	}
	life, hasLife := l.next()
	word := map[string]string{"true": "true", "yes": "true", "false": "false", "no": "false", "ask": "ask", "confirm": "confirm"}[lower(arg)]
	switch {
	case word == "confirm" && hasLife:
		n, err := parseTime(life)
		if err != nil {
			return err
		}
		if n > 0 {
			word = "confirm " + strconv.Itoa(n)
		}
	case hasLife:
		return bad
	case word == "":
		n, err := parseTime(arg)
		if err != nil {
			return bad
		}
		if word = "true"; n > 0 {
			word = strconv.Itoa(n)
		}
	}
	l.set(word)
	return nil
}

func controlPersist(l *line) error {
	arg, err := l.need()
	if err != nil {
		return err
	}
	if l.setSwitch(arg) {
		return nil
	}
	n, err := parseTime(arg)
	switch {
	case err != nil:
		return errors.New("yes, no or a time is due")
	case n == 0:
		l.set("yes") // 0 is for ever
	default:
		l.set(strconv.Itoa(n))
	}
	return nil
}

func escapeChar(l *line) error {
	arg, err := l.need()
	switch {
	case err != nil:
		return err
	case arg == "none":
		l.set("none")
	case len(arg) == 1:
		l.set(visible(arg[0]))
	case len(arg) == 2 && arg[0] == '^' && arg[1] >= 64 && arg[1] < 128:
		l.set(visible(arg[1] & 31))
	default:
		return fmt.Errorf("%q is not a character, ^ and a letter, or none", arg)
	}
	return nil
}

func qos(l *line) error {
	arg, err := l.need()
	if err != nil {
		return err
	}
	first, err := parseQoS(arg)
	if err != nil {
		return err
	}
	second := first
	if arg, ok := l.next(); ok {
		if second, err = parseQoS(arg); err != nil {
			return err
		}
	}
	l.set(first + " " + second)
	return nil
}

// rekeyInterval is where RekeyLimit's second half is kept: a line without it
// leaves it to later lines.
const rekeyInterval = "rekeylimit interval"

func rekeyLimit(l *line) error {
	arg, err := l.need()
	if err != nil {
		return err
	}
	var n uint64
	if arg != "default" {
		if n, err = parseSize(arg); err != nil {
			return err
		}
		if n != 0 && n < 16 {
			return errors.New("a limit below 16 bytes is too small")
		}
	}
	l.set(strconv.FormatUint(n, 10))
	if len(l.args) == 0 {
		return nil
	}
	l.name = rekeyInterval
	return seconds(l)
}

func tunnelDevice(l *line) error {
	arg, err := l.need()
	if err != nil {
		return err
	}
	local, remote, both := strings.Cut(arg, ":")
	if !both {
		remote = "any"
	}
	for _, p := range []*string{&local, &remote} {
		if strings.EqualFold(*p, "any") {
			*p = "any"
			continue
		}
		n, err := parseInt(*p, math.MaxInt32-2)
		if err != nil {
			return fmt.Errorf("%q is not a device such as 0, 1:2 or any", arg)
		}
		*p = strconv.Itoa(n)
	}
	l.set(local + ":" + remote)
	return nil
}

// agentPath reads a path in which an environment variable may stand.
func agentPath(l *line) error {
	arg, err := l.need()
	if err != nil {
		return err
	}
	if err := checkAgentPath(arg, l.r.o.Getenv); err != nil {
		return err
	}
	l.set(arg)
	return nil
}

func checkAgentPath(arg string, getenv func(string) (string, bool)) error {
	if _, err := expand(arg, nil, getenv); err != nil {
		return err
	}
	if arg[0] == '$' && !strings.HasPrefix(arg, "${") && !validEnvName(arg[1:]) {
		return fmt.Errorf("%q is not the name of an environment variable", arg[1:])
	}
	return nil
}

// forwardAgentPath is where ForwardAgent's path is kept: it goes before yes and
// no, even of earlier lines.
const forwardAgentPath = "forwardagent path"

func forwardAgent(l *line) error {
	if len(l.args) > 0 && slices.Contains([]string{"yes", "true", "no", "false"}, lower(l.args[0])) {
		return yesNo(l)
	}
	arg, err := l.need()
	if err != nil {
		return err
	}
	l.set("yes")
	if err := checkAgentPath(arg, l.r.o.Getenv); err != nil {
		return err
	}
	l.name = forwardAgentPath
	l.set(arg)
	return nil
}

// environ is the default of Options.Getenv.
func environ(name string) (string, bool) { return os.LookupEnv(name) }
