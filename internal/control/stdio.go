//go:build unix

package control

import (
	"net/netip"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/internal/wire"
)

// stdioOriginator is where -W says that it comes from: OpenSSH's words.
var stdioOriginator = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 65535)

// openStdio opens what a client's -W leads to.
func (m *Master) openStdio(r *stdioRequest) (*adit.Conn, error) {
	if r.Port == pathPort {
		return m.cfg.Client.OpenChannel(m.lifetime, wire.ChannelDirectStreamlocal, (&wire.DirectStreamlocal{Path: r.Host}).Append(nil), adit.Options{})
	}
	return m.cfg.Client.OpenDirect(m.lifetime, r.Host, uint16(r.Port), stdioOriginator)
}
