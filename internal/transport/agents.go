package transport

import (
	"sync"

	"github.com/adit-ssh/adit/internal/wire"
)

// agentChannels are the channels of a traced connection that lead to an agent. Who
// runs ssh-add at the server sends private keys through them, and passphrases,
// which no trace has: of their data it has the length. The directions are traced by
// different goroutines.
type agentChannels struct {
	mu    sync.Mutex
	ours  map[uint32]bool // by our numbers; guarded by mu
	peers map[uint32]bool // by the peer's; guarded by mu
}

// have reports whether the channel that a message is for is among them.
func (a *agentChannels) have(out bool, recipient uint32) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if out {
		return a.peers[recipient]
	}
	return a.ours[recipient]
}

// note learns from a message which ones they are.
func (a *agentChannels) note(out bool, m wire.Msg) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ours == nil {
		a.ours, a.peers = map[uint32]bool{}, map[uint32]bool{}
	}
	sender, recipient := a.ours, a.peers // whose numbers they are
	if !out {
		sender, recipient = recipient, sender
	}
	switch m := m.(type) {
	case *wire.ChannelOpen:
		keep(sender, m.SenderChannel, m.Type == wire.ChannelAuthAgentOpenSSH || m.Type == wire.ChannelAgentConnect)
	case *wire.ChannelOpenConfirmation:
		keep(sender, m.SenderChannel, recipient[m.RecipientChannel])
	case *wire.ChannelOpenFailure:
		delete(recipient, m.RecipientChannel)
	case *wire.ChannelClose: // the last that is sent there; the number may come again
		delete(recipient, m.RecipientChannel)
	}
}

func keep(set map[uint32]bool, number uint32, is bool) {
	if is {
		set[number] = true
		return
	}
	delete(set, number)
}
