//go:build unix

package main

import (
	"io"
	"log/syslog"
)

// facilities are SyslogFacility's words (ssh_config).
var facilities = map[string]syslog.Priority{
	"DAEMON": syslog.LOG_DAEMON, "USER": syslog.LOG_USER, "AUTH": syslog.LOG_AUTH, "AUTHPRIV": syslog.LOG_AUTHPRIV,
	"LOCAL0": syslog.LOG_LOCAL0, "LOCAL1": syslog.LOG_LOCAL1, "LOCAL2": syslog.LOG_LOCAL2, "LOCAL3": syslog.LOG_LOCAL3,
	"LOCAL4": syslog.LOG_LOCAL4, "LOCAL5": syslog.LOG_LOCAL5, "LOCAL6": syslog.LOG_LOCAL6, "LOCAL7": syslog.LOG_LOCAL7,
}

// openSyslog returns the system's log, which takes a line a write.
func openSyslog(facility string) (io.Writer, error) {
	return syslog.New(facilities[facility]|syslog.LOG_INFO, "adit")
}
