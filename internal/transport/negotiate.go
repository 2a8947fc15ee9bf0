package transport

import (
	"slices"

	"github.com/adit-ssh/adit/internal/algo"
	"github.com/adit-ssh/adit/internal/wire"
)

// Pseudo-algorithms in the kex list.
const (
	extInfoClient = "ext-info-c"                   // RFC 8308, section 2.1
	extInfoServer = "ext-info-s"                   //
	strictClient  = "kex-strict-c-v00@openssh.com" // OpenSSH PROTOCOL, section 1.10
	strictServer  = "kex-strict-s-v00@openssh.com" //
)

// isPseudo reports names in the kex list that are signals, never chosen.
func isPseudo(name string) bool {
	switch name {
	case extInfoClient, extInfoServer, strictClient, strictServer:
		return true
	}
	return false
}

// Direction is what was chosen for one direction.
type Direction struct {
	Cipher      string
	MAC         string // empty with an AEAD cipher
	Compression string
}

// Algorithms is the outcome of a negotiation.
type Algorithms struct {
	Kex, HostKey   string
	Client, Server Direction // client to server, server to client
	Strict         bool      // both sides offered strict key exchange
	PeerExtInfo    bool      // the peer wants EXT_INFO
	guessWrong     bool      // a guessed packet of the peer is to be skipped
}

// negotiate chooses algorithms as RFC 4253, section 7.1, says: the first of the
// client's names that the server has too. It is pure.
func negotiate(local, peer *wire.KexInit, server bool) (*Algorithms, error) {
	client, srv := local, peer
	peerStrict, peerExt, localStrict := strictServer, extInfoServer, strictClient
	if server {
		client, srv = peer, local
		peerStrict, peerExt, localStrict = strictClient, extInfoClient, strictServer
	}
	var err error
	choose := func(what string, list func(*wire.KexInit) []string) string {
		name, ok := first(list(client), list(srv))
		if !ok && err == nil {
			err = &NegotiationError{What: what, Local: real(list(local)), Peer: real(list(peer))}
		}
		return name
	}
	a := &Algorithms{
		Kex:     choose("key exchange", func(m *wire.KexInit) []string { return m.Kex }),
		HostKey: choose("host key", func(m *wire.KexInit) []string { return m.HostKey }),
	}
	a.Client.Cipher = choose("cipher (client to server)", func(m *wire.KexInit) []string { return m.CipherClient })
	a.Server.Cipher = choose("cipher (server to client)", func(m *wire.KexInit) []string { return m.CipherServer })
	if !isAEAD(a.Client.Cipher) {
		a.Client.MAC = choose("MAC (client to server)", func(m *wire.KexInit) []string { return m.MACClient })
	}
	if !isAEAD(a.Server.Cipher) {
		a.Server.MAC = choose("MAC (server to client)", func(m *wire.KexInit) []string { return m.MACServer })
	}
	a.Client.Compression = choose("compression (client to server)", func(m *wire.KexInit) []string { return m.CompressionClient })
	a.Server.Compression = choose("compression (server to client)", func(m *wire.KexInit) []string { return m.CompressionServer })
	if err != nil {
		return nil, err
	}
	a.Strict = slices.Contains(peer.Kex, peerStrict) && slices.Contains(local.Kex, localStrict)
	a.PeerExtInfo = slices.Contains(peer.Kex, peerExt)
	// RFC 4253, section 7: the guess is right when the first kex and host key
	// algorithms of both sides are the same.
	a.guessWrong = peer.FirstKexFollows && !(sameFirst(local.Kex, peer.Kex) && sameFirst(local.HostKey, peer.HostKey))
	return a, nil
}

func first(client, server []string) (string, bool) {
	for _, n := range client {
		if !isPseudo(n) && slices.Contains(server, n) {
			return n, true
		}
	}
	return "", false
}

func real(names []string) []string {
	return slices.DeleteFunc(slices.Clone(names), isPseudo)
}

func sameFirst(a, b []string) bool { return len(a) > 0 && len(b) > 0 && a[0] == b[0] }

func isAEAD(cipher string) bool {
	c, ok := algo.LookupCipher(cipher)
	return ok && c.AEAD
}
