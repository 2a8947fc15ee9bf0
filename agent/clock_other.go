//go:build !linux

package agent

import "time"

// bootTime is a time that only grows. It counts what the machine sleeps where the
// wall clock is not set back meanwhile.
func bootTime() time.Duration { return time.Duration(time.Now().UnixNano()) }
