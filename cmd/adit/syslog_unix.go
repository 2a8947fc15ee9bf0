//go:build unix

package main

import (
	"io"
	"log/syslog"
)

// openSyslog returns the system's log, which takes a line a write.
func openSyslog() (io.Writer, error) { return syslog.New(syslog.LOG_USER|syslog.LOG_INFO, "adit") }
