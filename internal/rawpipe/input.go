package rawpipe

import (
	"fmt"
	"io"
	"strings"
)

// bufferSize is the most that is copied at once, in bytes.
const bufferSize = 128 << 10

// input is standard input, of which the first bytes are read before there is
// where to send them: they tell what the client speaks, and whether it is there.
type input struct {
	begun  chan struct{}  // closed when head is there; it is empty for EOF
	head   []byte         // immutable once begun
	sink   chan io.Writer // where it all goes; given once
	failed chan error     // what the sink said
	ended  chan struct{}  // closed at EOF, when all was sent
	over   chan struct{}  // closed by stop
	told   bool           // the client was told of a failure; Run's
}

// startInput begins to read. The goroutine ends at src's EOF, or after stop when
// src has something.
func startInput(src io.Reader) *input {
	in := &input{
		begun: make(chan struct{}), sink: make(chan io.Writer, 1), failed: make(chan error, 1),
		ended: make(chan struct{}), over: make(chan struct{}),
	}
	go in.copy(src)
	return in
}

func (in *input) stop() { close(in.over) }

func (in *input) copy(src io.Reader) {
	buf := make([]byte, bufferSize)
	n, err := 0, error(nil)
	for n == 0 && err == nil {
		n, err = src.Read(buf)
	}
	in.head = append([]byte(nil), buf[:n]...)
	close(in.begun)
	var sink io.Writer
	select {
	case sink = <-in.sink:
	case <-in.over:
		return
	}
	for {
		if n > 0 {
			if _, werr := sink.Write(buf[:n]); werr != nil {
				in.failed <- fmt.Errorf("to the server: %w", werr)
				sink = io.Discard // so that the client can write, and then read why
			}
		}
		if err != nil {
			close(in.ended)
			return
		}
		select {
		case <-in.over:
			return
		default:
		}
		n, err = src.Read(buf)
	}
}

// ssh reports whether the client is taken for one of SSH: unless it is known or
// seen to be none.
func (in *input) ssh(notSSH bool) bool {
	if notSSH {
		return false
	}
	select {
	case <-in.begun:
		n := min(len(in.head), len("SSH-"))
		return string(in.head[:n]) == "SSH-"[:n]
	default:
		return true
	}
}

// version is the client's version line as far as it is known.
func (in *input) version() string {
	select {
	case <-in.begun:
		line, _, _ := strings.Cut(string(in.head), "\n")
		return strings.TrimSuffix(line, "\r")
	default:
		return ""
	}
}
