package main

import (
	"errors"
	"fmt"
	"slices"
)

// logLevels are those of LogLevel, each with what the ones before it show
// (ssh_config: LogLevel). QUIET shows nothing.
var logLevels = []string{"QUIET", "FATAL", "ERROR", "INFO", "VERBOSE", "DEBUG", "DEBUG2", "DEBUG3"}

// shows reports whether LogLevel lets a message of a level through.
func (a *sshArgs) shows(level string) bool {
	most := slices.Index(logLevels, a.logLevel)
	switch {
	case a.logLevel == "":
		most = slices.Index(logLevels, "INFO")
	case a.verbose > 0 && most > slices.Index(logLevels, "FATAL"):
		most = len(logLevels)
	}
	return slices.Index(logLevels, level) <= most
}

// quieted is an error of the connection as LogLevel lets it be told: scripts with
// ssh -q rely on silence, and on the exit status alone. Mistakes in what was
// typed are told before that, as by ssh; those in files too, which ssh -q keeps to
// itself.
func (a *sshArgs) quieted(err error) error {
	if err == nil || a.shows("ERROR") {
		return err
	}
	if _, ok := errors.AsType[exitError](err); ok {
		return err
	}
	if _, ok := errors.AsType[signalError](err); ok {
		return err
	}
	if line := deniedLine(err); line != "" && a.shows("FATAL") {
		fmt.Fprintln(messages, line)
	}
	return exitError(255)
}
