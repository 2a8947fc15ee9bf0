package dial

import (
	"io"
	"net"
	"os"
)

// pump gives deadlines to a file that knows none, such as a pipe on Windows: a
// goroutine copies between it and a net.Pipe. Close closes the near end only;
// end ends the file and waits for the goroutine.
type pump struct {
	net.Conn
	f    *os.File
	done chan struct{}
}

// pumpIn reads from a file.
func pumpIn(f *os.File) *pump {
	return newPump(f, func(far net.Conn) {
		io.Copy(far, f)
		far.Close() // the reader's EOF
	})
}

// pumpOut writes to a file, and closes it when its own end was closed.
func pumpOut(f *os.File) *pump {
	return newPump(f, func(far net.Conn) {
		io.Copy(f, far)
		f.Close()
		far.Close()
	})
}

func newPump(f *os.File, copy func(far net.Conn)) *pump {
	near, far := net.Pipe()
	p := &pump{near, f, make(chan struct{})}
	go func() {
		defer close(p.done)
		copy(far)
	}()
	return p
}

// end waits for the goroutine, which ends when the file's other end is gone. A
// console on Windows may hold it until a key is pressed: then it stays.
func (p *pump) end() {
	p.f.Close()
	within(p.done, endGrace)
}
