package relay

import (
	"io"
	"sync"
)

// bufferSize is what one read of the plain copy takes, in bytes. 64 KiB is two
// full SSH packets.
const bufferSize = 64 << 10

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// transfer copies src to dst until the end of src, by the fast path of either
// if there is one: an SSH channel's own methods read from and write to a
// socket without a copy, and the kernel splices two sockets.
func transfer(dst io.Writer, src io.Reader) (int64, error) {
	if r, ok := dst.(io.ReaderFrom); ok {
		return r.ReadFrom(src)
	}
	if w, ok := src.(io.WriterTo); ok {
		return w.WriteTo(dst)
	}
	return copyPlain(dst, src)
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
