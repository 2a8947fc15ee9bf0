package packet

import "errors"

// ErrCancelled is returned by a waiting write whose cancel channel was closed
// before anything of it was sent.
var ErrCancelled = errors.New("write cancelled")
