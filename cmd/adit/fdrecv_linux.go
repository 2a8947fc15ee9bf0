package main

import "golang.org/x/sys/unix"

// ioctlPending asks how many bytes can be read at once: FIONREAD.
const ioctlPending = unix.TIOCINQ
