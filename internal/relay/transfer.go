package relay

import (
	"io"
	"net"
	"sync"
)

// bufferSize is what one read of the plain copy takes, in bytes. 64 KiB is two
// full SSH packets.
const bufferSize = 64 << 10

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// send copies from local to remote until the end of local, and receive the
// other way. Remote's own methods come first: an SSH channel reads from and
// writes to a socket without a copy, but only if it is handed the socket
// itself. TCPConn's methods, which io.Copy would prefer in one direction, pass
// on a wrapper that hides it. With TCP on both sides they splice.
func send(remote Conn, local io.Reader) (int64, error) {
	if r, ok := remote.(io.ReaderFrom); ok {
		return r.ReadFrom(local)
	}
	if w, ok := local.(io.WriterTo); ok && !isSocket(local) {
		return w.WriteTo(remote)
	}
	return copyPlain(remote, local)
}

func receive(local io.Writer, remote Conn) (int64, error) {
	if w, ok := remote.(io.WriterTo); ok {
		return w.WriteTo(local)
	}
	if r, ok := local.(io.ReaderFrom); ok && !isSocket(local) {
		return r.ReadFrom(remote)
	}
	return copyPlain(local, remote)
}

func isSocket(v any) bool {
	switch v.(type) {
	case *net.TCPConn, *net.UnixConn:
		return true
	}
	return false
}

// copyPlain copies through a pooled buffer, which is held only while there is
// something in it where src is a socket that can be waited for.
func copyPlain(dst io.Writer, src io.Reader) (total int64, err error) {
	read, ok := lazyReader(src)
	if !ok {
		buf := buffers.Get().(*[bufferSize]byte)
		defer buffers.Put(buf)
		read = func() (*[bufferSize]byte, int, error) {
			n, err := src.Read(buf[:])
			return buf, n, err
		}
	}
	for {
		buf, n, readErr := read()
		if n > 0 {
			var written int
			written, err = dst.Write(buf[:n])
			total += int64(written)
			if err == nil && written < n {
				err = io.ErrShortWrite
			}
		}
		if ok && buf != nil {
			buffers.Put(buf)
		}
		switch {
		case err != nil:
			return total, err
		case readErr == io.EOF:
			return total, nil
		case readErr != nil:
			return total, readErr
		}
	}
}
