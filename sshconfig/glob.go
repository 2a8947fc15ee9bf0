package sshconfig

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// includePaths returns the files that an argument of Include stands for. Paths
// that are not absolute begin in ~/.ssh, or in the system's folder for the
// system's file, where ~ can't be used.
func (r *reader) includePaths(sc *scope, arg string) ([]string, error) {
	if arg == "" {
		return nil, errEmpty
	}
	host, err := r.currentHost()
	if err != nil {
		return nil, err
	}
	p, err := expand(arg, r.tokens(host, host), r.o.Getenv)
	if err != nil {
		return nil, err
	}
	switch {
	case strings.HasPrefix(p, "~"):
		if !sc.user {
			return nil, errors.New("~ can't be used in the system's file")
		}
		if p, err = r.tilde(p); err != nil {
			return nil, err
		}
	case absolute(p):
	case sc.user:
		p = strings.TrimSuffix(r.o.Home, "/") + "/.ssh/" + p
	default:
		p = systemDir() + "/" + p
	}
	return glob(p)
}

// glob is glob(3): [!a] is not [^a], and * does not match a leading dot.
func glob(pattern string) ([]string, error) {
	pattern = strings.ReplaceAll(pattern, "[!", "[^")
	found, err := filepath.Glob(pattern)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", pattern, err)
	}
	parts := strings.Split(filepath.ToSlash(pattern), "/")
	var visible []string
	for _, path := range found {
		names := strings.Split(filepath.ToSlash(path), "/")
		hidden := false
		for i, name := range names {
			hidden = hidden || i < len(parts) && strings.HasPrefix(name, ".") && strings.ContainsAny(parts[i][:min(1, len(parts[i]))], "*?[")
		}
		if !hidden {
			visible = append(visible, path)
		}
	}
	return visible, nil
}
