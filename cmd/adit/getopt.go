package main

import (
	"fmt"
	"strings"
)

// option is one flag of a command line in getopt's manner.
type option struct {
	letter byte
	value  string // empty for flags without one
}

// getopt splits args by spec, in which a letter followed by a colon takes a
// value: "-vp22", "-p 22" and "--" work as in getopt(3). It stops at the first
// argument that is no flag.
func getopt(spec string, args []string) (opts []option, rest []string, err error) {
	takes := map[byte]bool{}
	for i := 0; i < len(spec); i++ {
		if spec[i] != ':' {
			takes[spec[i]] = i+1 < len(spec) && spec[i+1] == ':'
		}
	}
	for len(args) > 0 {
		a := args[0]
		if len(a) < 2 || a[0] != '-' {
			break
		}
		args = args[1:]
		if a == "--" {
			break
		}
		for i := 1; i < len(a); i++ {
			value, known := takes[a[i]]
			switch {
			case !known && a[i] == '-' && i == 1: // a long one
				name, _, _ := strings.Cut(a, "=")
				return nil, nil, fmt.Errorf("unknown option %.64s", name)
			case !known:
				return nil, nil, fmt.Errorf("unknown option -- %c", a[i])
			case !value:
				opts = append(opts, option{letter: a[i]})
				continue
			case i+1 < len(a):
				opts = append(opts, option{a[i], a[i+1:]})
			case len(args) > 0:
				opts = append(opts, option{a[i], args[0]})
				args = args[1:]
			default:
				return nil, nil, fmt.Errorf("option requires an argument -- %c", a[i])
			}
			break
		}
	}
	return opts, args, nil
}
