//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// usage is what a process and its descendants have used so far.
type usage struct{ cpu, rss float64 } // seconds, KiB

// usageOf sums over a process tree. A server with a process for each connection
// is measured by its whole tree.
func usageOf(pid int) (u usage) {
	children := map[int][]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		if p, f := statOf(path); p > 0 {
			parent, _ := strconv.Atoi(f[1])
			children[parent] = append(children[parent], p)
		}
	}
	for todo := []int{pid}; len(todo) > 0; todo = todo[1:] {
		u.cpu += cpuOf(todo[0])
		u.rss += rssOf(todo[0])
		todo = append(todo, children[todo[0]]...)
	}
	return u
}

// statOf reads a stat file: the process's number, and the fields from its state
// on (proc(5)).
func statOf(path string) (pid int, fields []string) {
	b, err := os.ReadFile(path)
	s := string(b)
	end := strings.LastIndexByte(s, ')')
	if err != nil || end < 0 {
		return 0, nil
	}
	pid, _ = strconv.Atoi(s[:strings.IndexByte(s, ' ')])
	return pid, strings.Fields(s[end+1:])
}

// cpuOf returns the seconds of CPU that a process has used: from its threads'
// schedstat, which counts nanoseconds, or from stat, which counts ticks.
func cpuOf(pid int) (s float64) {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	for _, path := range threads {
		b, _ := os.ReadFile(path)
		if f := strings.Fields(string(b)); len(f) > 0 {
			ns, _ := strconv.ParseFloat(f[0], 64)
			s += ns / 1e9
		}
	}
	if s > 0 {
		return s
	}
	_, f := statOf(fmt.Sprintf("/proc/%d/stat", pid))
	if len(f) < 13 {
		return 0
	}
	user, _ := strconv.ParseFloat(f[11], 64)
	sys, _ := strconv.ParseFloat(f[12], 64)
	return (user + sys) / 100 // USER_HZ
}

// rssOf returns a process's own resident memory, KiB: anonymous pages only, for
// mapped files are shared.
func rssOf(pid int) float64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, ok := strings.Cut(string(b), "RssAnon:")
	if !ok {
		return 0
	}
	v, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
	return v
}
