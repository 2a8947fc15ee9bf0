// Package sockio sends and receives on sockets without telling Go's scheduler.
//
// A call of syscall.Write says that it may block. One that takes more than 20 µs,
// as moving 128 KiB does, then loses its processor to another thread, which is
// woken for that and finds nothing to do. That is 4 % of what an upload over
// loopback costs. The calls here never block, whatever the descriptor's mode
// (MSG_DONTWAIT), so there is nothing to tell. What they move at once, 2 MiB at
// the most, takes less than a millisecond.
//
// It is for Linux; elsewhere the connections are read and written as net.Conns.
package sockio

// MaxBufs is the most slices moved in one call; those behind it are left for the
// next.
const MaxBufs = 32
