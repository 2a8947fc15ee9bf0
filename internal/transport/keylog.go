package transport

import (
	"encoding/hex"
	"fmt"

	"github.com/adit-ssh/adit/internal/algo"
	"github.com/adit-ssh/adit/internal/wire"
)

// logKeys writes the secrets of a key exchange to Config.KeyLog, in the words of
// Wireshark's SSH dissector (packet-ssh.c, ssh_keylog_process_line): the cookie
// of our KEXINIT, in hexadecimal, and
//
//   - our private key alone: Wireshark from 3.6 on, for Curve25519, the only
//     method whose key it can use there;
//   - SHARED_SECRET and K: Wireshark 4.6, for every method that it knows (4.4 not).
//     An older one skips the line, a newer one takes it rather than the other,
//     since it comes last. K stands as it is hashed: an mpint's zero byte in
//     front does no harm.
//
// Whoever has them reads the connection, so nothing else has them: no event, no
// log, no error.
func (k *kexRun) logKeys() {
	w := k.c.cfg.KeyLog
	if w == nil {
		return
	}
	local := k.clientInit
	if k.c.server {
		local = k.serverInit
	}
	var init wire.KexInit
	if wire.Parse(local, &init) != nil {
		return
	}
	cookie := hex.EncodeToString(init.Cookie[:])
	var lines []byte
	if p, ok := k.kex.(algo.PrivateKeyer); ok && curve25519(k.alg.Kex) {
		key := p.PrivateKey()
		lines = fmt.Appendf(lines, "%s %x\n", cookie, key)
		clear(key)
	}
	lines = fmt.Appendf(lines, "%s SHARED_SECRET %x\n", cookie, k.secret)
	w.Write(lines) // in one piece: several connections may share a file
	clear(lines)
}

// curve25519 reports the two names of one method (RFC 8731).
func curve25519(kex string) bool {
	return kex == "curve25519-sha256" || kex == "curve25519-sha256@libssh.org"
}
