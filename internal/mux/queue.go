package mux

import "sync"

// chunkSize is the unit of queued data. A packet of the usual size fits.
const chunkSize = 32 << 10

var chunks = sync.Pool{New: func() any { return new([chunkSize]byte) }}

// chunk is a part of a queue: b[r:w] holds data.
type chunk struct {
	b    *[chunkSize]byte
	r, w int
}

// queue holds received data until somebody reads it. Small packets share a
// chunk, so memory is bounded by the window and one chunk. Its lock is the
// channel's.
type queue struct {
	list []chunk
	size int
}

// push copies data into the queue.
func (q *queue) push(data []byte) {
	q.size += len(data)
	for len(data) > 0 {
		if n := len(q.list); n == 0 || q.list[n-1].w == chunkSize {
			q.list = append(q.list, chunk{b: chunks.Get().(*[chunkSize]byte)})
		}
		last := &q.list[len(q.list)-1]
		n := copy(last.b[last.w:], data)
		last.w += n
		data = data[n:]
	}
}

// read moves data into p.
func (q *queue) read(p []byte) (n int) {
	for n < len(p) && len(q.list) > 0 {
		first := &q.list[0]
		k := copy(p[n:], first.b[first.r:first.w])
		first.r += k
		n += k
		if first.r == first.w {
			chunks.Put(first.b)
			q.drop()
		}
	}
	q.size -= n
	return n
}

// pop takes the first chunk out. release gives it back.
func (q *queue) pop() (c chunk, ok bool) {
	if len(q.list) == 0 {
		return chunk{}, false
	}
	c = q.list[0]
	q.drop()
	q.size -= c.w - c.r
	return c, true
}

func (c chunk) data() []byte { return c.b[c.r:c.w] }
func (c chunk) release()     { chunks.Put(c.b) }

func (q *queue) drop() {
	q.list[0] = chunk{}
	if q.list = q.list[1:]; len(q.list) == 0 {
		q.list = nil
	}
}

// clear drops everything and returns how much it was.
func (q *queue) clear() int {
	n := q.size
	for _, c := range q.list {
		chunks.Put(c.b)
	}
	*q = queue{}
	return n
}
