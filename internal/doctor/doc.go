// Package doctor finds out why a connection fails: it makes one stage by stage,
// as `adit ssh` would, and says of each whether it works, how long it took, and
// for the first one that fails what that means and what to change.
//
// It changes nothing: no key is accepted or written down, nobody is asked
// anything, nothing is forwarded. Run does the examination; Report.Text and
// Report.JSON show it. A check is a file: config.go, gui.go, resolve.go,
// proxy.go, address.go, version.go, negotiation.go, hostkey.go, agent.go,
// login.go, forward.go, idle.go.
//
// # JSON
//
// One object. Names and values stay; new ones may come:
//
//	host, target, as   what was examined: "db", "ann@10.0.0.5:22", "" or "gui"
//	ok                 nothing failed
//	exit_status        0, or the number of the stage that failed first
//	failed             that stage's name, or ""
//	meaning, fix       what it means and what to do, of the first failure
//	checks             the checks in order, each with
//	  stage            configuration, gui, name, proxy, address, version,
//	                   negotiation, key exchange, host key, agent, login,
//	                   forward, idle
//	  subject          which address, key or forward, or ""
//	  status           ok, warning, failed, skipped
//	  ms               how long it took, in milliseconds
//	  text, details    what was found: a line, and further ones
//	  meaning, fix     for a failure or a warning
//
// Exit statuses are those of Stage.
package doctor
