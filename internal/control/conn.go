//go:build unix

package control

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/adit-ssh/adit/internal/fdpass"
)

// conn frames messages on a unix socket. Nothing is read ahead: a descriptor
// belongs to the byte it was sent with, and is lost if that byte is read without
// asking for it.
type conn struct {
	c *net.UnixConn

	writeMu sync.Mutex // one message at a time
}

// read returns the next message's bytes.
func (c *conn) read() ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(c.c, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxPacket {
		return nil, fmt.Errorf("message of %d bytes: at most %d are taken", n, maxPacket)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(c.c, b); err != nil {
		return nil, cut(err)
	}
	return b, nil
}

// receive reads the next message and decodes it.
func (c *conn) receive() (*message, error) {
	b, err := c.read()
	if err != nil {
		return nil, err
	}
	return decode(b)
}

// cut makes an EOF within something an unexpected one.
func cut(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// send writes a message.
func (c *conn) send(m message) error {
	b := m.append(make([]byte, 4, 64))
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	_, err := c.c.Write(b)
	return err
}

// sendFiles passes descriptors, each with a byte of its own (OpenSSH,
// monitor_fdpass.c).
func (c *conn) sendFiles(files ...*os.File) error {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	for i, f := range files {
		// Not f.Fd(), which makes it blocking for everybody who has it.
		raw, err := f.SyscallConn()
		if err == nil {
			cerr := raw.Control(func(fd uintptr) {
				_, _, err = c.c.WriteMsgUnix([]byte{0}, unix.UnixRights(int(fd)), nil)
			})
			err = cmp.Or(err, cerr)
		}
		if err != nil {
			return fmt.Errorf("pass descriptor %d: %w", i, err)
		}
	}
	return nil
}

// errDescriptor is a byte that came without the descriptor due with it.
var errDescriptor = errors.New("one descriptor is due with each byte")

// receiveFiles takes n descriptors, which the caller closes. On an error there are
// none.
func (c *conn) receiveFiles(n int) (fds []int, err error) {
	defer func() {
		if err != nil {
			closeAll(fds)
			fds = nil
		}
	}()
	for i := range n {
		read, got, err := fdpass.Receive(c.c, make([]byte, 1), false)
		fds = append(fds, got...)
		switch {
		case err == nil && read == 0:
			err = io.ErrUnexpectedEOF
		case err == nil && len(got) != 1:
			err = errDescriptor
		}
		if err != nil {
			return fds, fmt.Errorf("receive descriptor %d: %w", i, err)
		}
	}
	return fds, nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}
