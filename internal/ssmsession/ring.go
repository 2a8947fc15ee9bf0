package ssmsession

// ring is a queue of bytes that grows as it is needed.
type ring struct {
	buf   []byte
	at, n int // the first byte, and how many
}

// put appends p.
func (r *ring) put(p []byte) {
	if len(p) == 0 {
		return
	}
	if r.n+len(p) > len(r.buf) {
		r.grow(r.n + len(p))
	}
	end := (r.at + r.n) % len(r.buf)
	k := copy(r.buf[end:], p)
	copy(r.buf, p[k:])
	r.n += len(p)
}

func (r *ring) grow(need int) {
	size := max(4<<10, len(r.buf))
	for size < need {
		size *= 2
	}
	buf := make([]byte, size)
	n := r.n
	r.take(buf[:n])
	r.buf, r.at, r.n = buf, 0, n
}

// take removes up to len(p) bytes into p.
func (r *ring) take(p []byte) int {
	want := min(len(p), r.n)
	if want == 0 {
		return 0
	}
	k := copy(p[:want], r.buf[r.at:])
	copy(p[k:want], r.buf)
	r.at, r.n = (r.at+want)%len(r.buf), r.n-want
	if r.n == 0 {
		r.at = 0 // the cache likes the beginning
	}
	return want
}
