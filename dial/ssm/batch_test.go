package ssm

import (
	"bytes"
	"net"
	"testing"
)

func TestBatch(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	b := &batchConn{Conn: near}
	got := make(chan []byte, 10)
	go func() {
		buf := make([]byte, 1<<20)
		for {
			n, err := far.Read(buf)
			if err != nil {
				close(got)
				return
			}
			got <- bytes.Clone(buf[:n])
		}
	}()
	b.Write([]byte("at once"))
	b.hold()
	b.Write([]byte("together "))
	b.Write([]byte("with this"))
	b.release()
	b.Write([]byte("at once"))
	near.Close()
	for _, want := range []string{"at once", "together with this", "at once"} {
		if b := <-got; string(b) != want {
			t.Errorf("wrote %q, want %q", b, want)
		}
	}
}
