//go:build unix

package control

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/internal/forward"
)

// openForward answers MUX_C_OPEN_FWD. One that there is already is not opened
// again.
func (c *client) openForward(id uint32, r *forwardRequest) error {
	s, err := r.spec()
	if err != nil {
		return c.fail(id, err.Error())
	}
	if f, ok := c.m.findForward(s, false); ok {
		return c.forwarded(id, f)
	}
	if !c.m.confirmed(fmt.Sprintf("Open %s on %s?", describe(s), c.m.cfg.Host)) {
		return c.deny(id)
	}
	running, err := c.m.cfg.Client.ForwardSpec(c.m.lifetime, s, c.m.cfg.Forwarding)
	if err != nil {
		c.m.notice("requested %s failed: %v", describe(s), err)
		return c.fail(id, forwardFailure(s, err))
	}
	f := Forward{s, running}
	if !c.m.addForward(f) {
		running.Close()
		return net.ErrClosed
	}
	return c.forwarded(id, f)
}

// forwardFailure is what a client is told: OpenSSH's words, and the reason where
// it is ours to know.
func forwardFailure(s forward.Spec, err error) string {
	if !s.Remote {
		return "Port forwarding failed: " + err.Error()
	}
	if _, refused := errors.AsType[*adit.RemoteListenError](err); !refused {
		return "Port forwarding failed: " + err.Error()
	}
	if s.ListenPath != "" {
		return "remote port forwarding failed for listen path " + s.ListenPath
	}
	return fmt.Sprintf("remote port forwarding failed for listen port %d", s.Port)
}

// forwarded tells that there is a forward, and the port if it was not asked for.
func (c *client) forwarded(id uint32, f Forward) error {
	if f.Spec.Port != 0 || f.Spec.ListenPath != "" {
		return c.ok(id)
	}
	_, text, err := net.SplitHostPort(f.Running.Addr().String())
	if err != nil {
		return c.ok(id)
	}
	port, _ := strconv.ParseUint(text, 10, 16)
	return c.conn.send(message{Kind: kindRemotePort, ID: id, Value: uint32(port)})
}

// closeForward answers MUX_C_CLOSE_FWD.
func (c *client) closeForward(id uint32, r *forwardRequest) error {
	s, err := r.spec()
	if err != nil {
		return c.fail(id, "port not forwarded")
	}
	f, ok := c.m.findForward(s, true)
	if !ok {
		return c.fail(id, "port not forwarded")
	}
	if err := f.Running.Close(); err != nil {
		c.m.notice("cancel %s: %v", describe(s), err)
	}
	return c.ok(id)
}

// findForward returns the forward that was asked for in the same words; take
// removes it from the list.
func (m *Master) findForward(s forward.Spec, take bool) (Forward, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := slices.IndexFunc(m.forwards, func(f Forward) bool { return f.Spec == s })
	if i < 0 {
		return Forward{}, false
	}
	f := m.forwards[i]
	if take {
		m.forwards = slices.Delete(m.forwards, i, i+1)
	}
	return f, true
}

func (m *Master) addForward(f Forward) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false
	}
	m.forwards = append(m.forwards, f)
	return true
}
