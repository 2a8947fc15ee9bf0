package adit

import (
	"sync"

	"github.com/adit-ssh/adit/internal/mux"
	"github.com/adit-ssh/adit/internal/wire"
)

// handlers are who answers the server's opens, by channel type. Global requests
// of servers (hostkeys-00, keepalive) are refused, as is right for those that
// want an answer.
type handlers struct {
	mu sync.Mutex
	by map[string]func(*mux.Pending)
}

// set makes f answer opens of a type; it reports false when somebody does.
func (h *handlers) set(typ string, f func(*mux.Pending)) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.by == nil {
		h.by = map[string]func(*mux.Pending){}
	}
	if _, taken := h.by[typ]; taken {
		return false
	}
	h.by[typ] = f
	return true
}

func (h *handlers) open(p *mux.Pending) {
	h.mu.Lock()
	f := h.by[p.Type()]
	h.mu.Unlock()
	if f == nil {
		p.Reject(wire.OpenAdministrativelyProhibited, "nobody asked for such channels")
		return
	}
	f(p)
}

func (h *handlers) global(string, []byte) (bool, []byte) { return false, nil }
