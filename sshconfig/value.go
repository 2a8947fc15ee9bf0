package sshconfig

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ParseTime reads a time as OpenSSH's files and command lines have it, such as 90,
// 1h30m or 1w2d (misc.c, convtime). Parts of a second are dropped.
func ParseTime(s string) (time.Duration, error) {
	n, err := parseTime(s)
	return time.Duration(n) * time.Second, err
}

// parseTime reads a time such as 90, 1h30m or 1.5s as whole seconds (misc.c,
// convtime).
func parseTime(s string) (int, error) {
	bad := fmt.Errorf("%q is not a time such as 30, 10m or 1h30m", s)
	if s == "" {
		return 0, bad
	}
	total, sawSeconds := 0.0, false
	for s != "" {
		n := len(s) - len(strings.TrimLeft(s, "0123456789."))
		digits := s[:n]
		v, err := strconv.ParseFloat(digits, 64)
		if err != nil {
			return 0, bad
		}
		unit := byte('s')
		if s = s[n:]; s != "" {
			unit = s[0] | 0x20
			s = s[1:]
		}
		if strings.Contains(digits, ".") && (unit != 's' || strings.HasSuffix(digits, ".")) {
			return 0, bad
		}
		switch unit {
		case 's':
			if sawSeconds {
				return 0, bad
			}
			sawSeconds = true
		case 'm':
			v *= 60
		case 'h':
			v *= 60 * 60
		case 'd':
			v *= 24 * 60 * 60
		case 'w':
			v *= 7 * 24 * 60 * 60
		default:
			return 0, bad
		}
		total += v
	}
	if total > math.MaxInt32 {
		return 0, bad
	}
	return int(total), nil
}

// parseInt reads a decimal number from 0 to limit, as strtonum(3) does: with
// blanks and a sign before it.
func parseInt(s string, limit int) (int, error) {
	n, err := strconv.ParseInt(strings.TrimLeft(s, " \t\n\v\f\r"), 10, 64)
	if err != nil || n < 0 || n > int64(limit) {
		return 0, fmt.Errorf("%q is not a number from 0 to %d", s, limit)
	}
	return int(n), nil
}

// parsePort reads a port's number or its name in the services file.
func parsePort(s string) (int, error) {
	if n, err := parseInt(s, math.MaxUint16); err == nil {
		return n, nil
	}
	if s != "" {
		if n, err := net.LookupPort("tcp", s); err == nil && n <= math.MaxUint16 {
			return n, nil
		}
	}
	return 0, fmt.Errorf("%q is not a port from 1 to 65535", s)
}

// parseSize reads a number of bytes with an optional unit K, M, G, T, P or E
// (fmt_scaled.c, scan_scaled).
func parseSize(s string) (uint64, error) {
	bad := fmt.Errorf("%q is not a size such as 512M or 1G", s)
	t := strings.TrimPrefix(strings.TrimLeft(s, " \t\n\v\f\r"), "+")
	n := len(t) - len(strings.TrimLeft(t, "0123456789."))
	whole, frac, _ := strings.Cut(t[:n], ".")
	if strings.Contains(frac, ".") || len(whole) > 18 {
		return 0, bad
	}
	frac = frac[:min(len(frac), 17)]
	if n == len(t) {
		v, err := strconv.ParseUint("0"+whole, 10, 63)
		if err != nil {
			return 0, bad
		}
		return v, nil
	}
	shift := strings.IndexByte("bkmgtpe", t[n]|0x20) * 10
	if shift < 0 || n+1 < len(t) && isAlnum(t[n+1]) {
		return 0, bad
	}
	v, ok := new(big.Int).SetString("0"+whole+frac, 10)
	if !ok {
		return 0, bad
	}
	v.Lsh(v, uint(shift))
	v.Div(v, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(len(frac))), nil))
	if !v.IsInt64() {
		return 0, bad
	}
	return v.Uint64(), nil
}

func isAlnum(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
}

// validDomain returns a domain name in lower case without its last dot.
func validDomain(s string) (string, error) {
	if s == "" {
		return "", errors.New("a domain name is empty")
	}
	if !isAlnum(s[0]) {
		return "", fmt.Errorf("domain name %q begins with a character that it can't have there", s)
	}
	for i := range len(s) {
		if c := s[i]; c != '.' && c != '-' && c != '_' && !isAlnum(c) {
			return "", fmt.Errorf("domain name %q has a character that it can't have", s)
		}
	}
	if strings.Contains(s, "..") {
		return "", fmt.Errorf("domain name %q has two dots in a row", s)
	}
	return strings.TrimSuffix(lower(s), "."), nil
}

// validEnvName reports whether s can be an environment variable's name.
func validEnvName(s string) bool {
	for i := range len(s) {
		if !isAlnum(s[i]) && s[i] != '_' {
			return false
		}
	}
	return s != ""
}

// ValidHost reports whether Load takes s as a host: it is not empty, and has no
// characters that would be dangerous in a command (ssh.c, ssh_valid_hostname).
func ValidHost(s string) bool { return s != "" && validHost(s) }

// validHost refuses names that would be dangerous in a command: what a user
// types as host may come from a link (ssh.c, ssh_valid_hostname).
func validHost(s string) bool {
	if strings.HasPrefix(s, "-") {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c == 0x7f || strings.IndexByte("'`\"$\\;&<>|(){},", c) >= 0 {
			return false
		}
	}
	return true
}

// validUser does the same for user names (ssh.c, ssh_valid_ruser).
func validUser(s string) bool {
	if strings.HasPrefix(s, "-") || strings.HasSuffix(s, `\`) || strings.Contains(s, " -") {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == 0x7f || strings.IndexByte("'`\";&<>|(){}", c) >= 0 {
			return false
		}
	}
	return true
}

// service classes of IPQoS. OpenSSH ignores lowdelay, throughput and reliability
// since 10.1.
var (
	qosNames = strings.Fields("none af11 af12 af13 af21 af22 af23 af31 af32 af33 af41 af42 af43 " +
		"cs0 cs1 cs2 cs3 cs4 cs5 cs6 cs7 ef le va")
	qosValues = []int{-1, 0x28, 0x30, 0x38, 0x48, 0x50, 0x58, 0x68, 0x70, 0x78, 0x88, 0x90, 0x98,
		0, 0x20, 0x40, 0x60, 0x80, 0xa0, 0xc0, 0xe0, 0xb8, 0x04, 0xb0}
	qosIgnored = []string{"lowdelay", "throughput", "reliability"}
)

// parseQoS returns the name of a service class as -G prints it.
func parseQoS(s string) (string, error) {
	name := lower(s)
	if slices.Contains(qosIgnored, name) {
		return "none", nil
	}
	if slices.Contains(qosNames, name) {
		return name, nil
	}
	// Also in octal and hexadecimal, as strtol(3) reads them.
	n, err := strconv.ParseInt(strings.TrimLeft(s, " \t\n\v\f\r"), 0, 64)
	if err != nil || n < 0 || n > 255 || strings.ContainsAny(s, "_oO") || strings.ContainsAny(s, "bB") && !strings.ContainsAny(s, "xX") {
		return "", fmt.Errorf("%q is not a service class such as af21 or cs1, nor a number up to 255", s)
	}
	if i := slices.Index(qosValues, int(n)); i >= 0 {
		return qosNames[i], nil
	}
	return fmt.Sprintf("0x%02x", n), nil
}

// ServiceClass returns the type of service that a word of Config.IPQoS stands for,
// the whole byte; -1 for "none", which leaves it to the system.
func ServiceClass(name string) int {
	if i := slices.Index(qosNames, name); i >= 0 {
		return qosValues[i]
	}
	n, err := strconv.ParseUint(name, 0, 8)
	if err != nil {
		return -1
	}
	return int(n)
}

// visible writes an escape character as vis(3) does, blanks included.
func visible(c byte) string {
	switch {
	case c == '\\':
		return `\\`
	case c == ' ':
		return `\040`
	case c > ' ' && c < 0x7f:
		return string(rune(c))
	case c < ' ' || c == 0x7f:
		return `\^` + string(rune(c^0x40))
	case c&0x7f == ' ':
		return `\240`
	case c&0x7f < ' ' || c == 0xff:
		return `\M^` + string(rune(c&0x7f^0x40))
	}
	return `\M-` + string(rune(c&0x7f))
}
