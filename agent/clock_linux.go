package agent

import (
	"time"

	"golang.org/x/sys/unix"
)

// bootTime is how long the machine has been up. Unlike Go's clock it counts the
// time that the machine sleeps: a key with an hour to live is gone after a night.
func bootTime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return time.Duration(time.Now().UnixNano()) // no Linux of this century
	}
	return time.Duration(ts.Nano())
}
