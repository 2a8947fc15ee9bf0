//go:build unix && !linux

package main

// ioctlPending asks how many bytes can be read at once: FIONREAD.
const ioctlPending = 0x4004667f
