package transport

import (
	"bytes"
	"errors"
	"fmt"
	"hash"
	"slices"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/algo"
	"github.com/adit-ssh/adit/internal/wire"
	"github.com/adit-ssh/adit/trace"
)

// Sizes of group exchange that the client asks for, in bits (RFC 8270: at least
// 2048).
const (
	gexMin       = 2048
	gexPreferred = 4096
	gexMax       = 8192
)

// kexRun is one key exchange from the peer's KEXINIT to its NEWKEYS
// (RFC 4253, sections 7 and 8; RFC 5656; RFC 4419):
//
//	client                                     server
//	KEXINIT  ─────────────────────────────────► ◄───────────────── KEXINIT
//	[KEX_DH_GEX_REQUEST ──────────────► ◄────── KEX_DH_GEX_GROUP]
//	KEX_ECDH_INIT ────────────────────► ◄─────── KEX_ECDH_REPLY
//	NEWKEYS  ─────────────────────────► ◄──────────────── NEWKEYS
type kexRun struct {
	c           *Conn
	alg         *Algorithms
	guess       *guess // right, and sent already; or nil
	method      algo.KexMethod
	clientInit  []byte
	serverInit  []byte
	hostKey     []byte // K_S
	groupPrefix []byte // group exchange: what stands between K_S and the shares in the hash
	clientShare []byte
	serverShare []byte
	secret      []byte // K
	kex         algo.Kex
	signature   []byte
	h           []byte // H
}

// exchange runs a key exchange that the peer's KEXINIT opens or continues. It
// runs on the reading goroutine and returns after the peer's NEWKEYS.
func (c *Conn) exchange(peerInit []byte) error {
	began := time.Now()
	k := &kexRun{c: c}
	if err := k.negotiate(c.beginExchange(), peerInit); err != nil {
		return err
	}
	if k.alg.guessWrong {
		if _, err := c.readKex("the guessed packet"); err != nil {
			return err
		}
	}
	run := k.client
	if c.server {
		run = k.server
	}
	if err := run(); err != nil {
		return err
	}
	if err := k.newKeys(); err != nil {
		return err
	}
	k.report(began)
	return nil
}

// negotiate parses both KEXINITs and chooses.
func (k *kexRun) negotiate(localInit, peerInit []byte) error {
	c := k.c
	var local, peer wire.KexInit
	if err := wire.Parse(localInit, &local); err != nil {
		panic("BUG: our own KEXINIT: " + err.Error())
	}
	if err := wire.Parse(peerInit, &peer); err != nil {
		return protocolError("%w", err)
	}
	alg, err := negotiate(&local, &peer, c.server)
	if err != nil {
		return err
	}
	k.alg = alg
	if c.first {
		c.strict = alg.Strict
		if !c.server {
			c.notePreference(&peer)
			if err := k.takeGuess(&local, &peer); err != nil {
				return err
			}
		}
		c.wantExtInfo = alg.PeerExtInfo
		// OpenSSH PROTOCOL, section 1.10: with strict key exchange KEXINIT is
		// the first packet.
		if c.strict && c.in.packets != 1 {
			return protocolError("strict key exchange: KEXINIT was packet %d, not the first", c.in.packets)
		}
	}
	alg.Strict = c.strict
	if c.first {
		k.reportChoice()
	}
	k.method, _ = algo.LookupKex(alg.Kex)
	k.clientInit, k.serverInit = localInit, peerInit
	if c.server {
		k.clientInit, k.serverInit = peerInit, localInit
	}
	phase := wire.PhaseKexShare
	if k.method.Gex {
		phase = wire.PhaseKexGex
	}
	c.kexPhase.Store(uint32(phase))
	return nil
}

// reportChoice tells what was agreed on, for when it comes to no more.
func (k *kexRun) reportChoice() {
	out, in := k.directions()
	trace.Emit(k.c.cfg.Tracer, trace.Negotiated{Kex: k.alg.Kex, HostKey: k.alg.HostKey, CipherOut: out.Cipher, CipherIn: in.Cipher,
		MACOut: out.MAC, MACIn: in.MAC, CompressionOut: out.Compression, CompressionIn: in.Compression, Strict: k.alg.Strict})
}

// directions returns what was agreed on for what we send and what we receive.
func (k *kexRun) directions() (out, in Direction) {
	if k.c.server {
		return k.alg.Server, k.alg.Client
	}
	return k.alg.Client, k.alg.Server
}

// serverGroup answers with a group of the size wanted.
func (k *kexRun) serverGroup() (algo.Kex, error) {
	var req wire.KexGexRequest
	if err := k.receive(&req); err != nil {
		return nil, err
	}
	p, g, err := algo.ChooseGroup(int(req.Min), int(req.N), int(req.Max))
	if err != nil {
		return nil, k.failed(err)
	}
	k.send(&wire.KexGexGroup{P: p, G: g})
	return k.group(req, p, g)
}

func (k *kexRun) group(req wire.KexGexRequest, p, g []byte) (algo.Kex, error) {
	kex, err := algo.NewGroupKex(p, g)
	if err != nil {
		return nil, k.failed(err)
	}
	b := wire.AppendUint32(nil, req.Min)
	b = wire.AppendUint32(wire.AppendUint32(b, req.N), req.Max)
	k.groupPrefix = wire.AppendString(wire.AppendString(b, p), g)
	return kex, nil
}

// server runs the server's half up to the signed reply.
func (k *kexRun) server() (err error) {
	c := k.c
	signer := k.signer()
	if signer == nil {
		panic("BUG: no host key for a negotiated algorithm " + k.alg.HostKey)
	}
	k.hostKey = signer.PublicKey().Marshal()
	var kex algo.Kex
	if k.method.Gex {
		if kex, err = k.serverGroup(); err != nil {
			return err
		}
		var m wire.KexGexInit
		err = k.receive(&m)
		k.clientShare = bytes.Clone(m.Share)
	} else {
		kex = k.method.New()
		var m wire.KexShareInit
		err = k.receive(&m)
		k.clientShare = bytes.Clone(m.Share)
	}
	if err != nil {
		return err
	}
	k.kex = kex
	if k.serverShare, k.secret, err = kex.Respond(c.cfg.rand(), k.clientShare); err != nil {
		return k.failed(err)
	}
	k.hashAll()
	if k.signature, err = algo.SignHost(c.cfg.rand(), signer, k.alg.HostKey, k.h); err != nil {
		return fmt.Errorf("sign with the %s host key: %w", k.alg.HostKey, err)
	}
	if k.method.Gex {
		k.send(&wire.KexGexReply{HostKey: k.hostKey, Share: k.serverShare, Signature: k.signature})
	} else {
		k.send(&wire.KexShareReply{HostKey: k.hostKey, Share: k.serverShare, Signature: k.signature})
	}
	return nil
}

func (k *kexRun) signer() gossh.Signer {
	for _, s := range k.c.cfg.HostKeys {
		if slices.Contains(algo.HostKeyAlgorithms(s.PublicKey()), k.alg.HostKey) {
			return s
		}
	}
	return nil
}

// hashAll computes the exchange hash H (RFC 4253, section 8; RFC 4419).
func (k *kexRun) hashAll() {
	c := k.c
	clientVersion, serverVersion := c.localVersion, c.peerVersion
	if c.server {
		clientVersion, serverVersion = serverVersion, clientVersion
	}
	h := k.method.Hash.New()
	hashStrings(h, []byte(clientVersion), []byte(serverVersion), k.clientInit, k.serverInit, k.hostKey)
	h.Write(k.groupPrefix)
	hashStrings(h, k.clientShare, k.serverShare, k.secret)
	k.h = h.Sum(nil)
}

func hashStrings(h hash.Hash, fields ...[]byte) {
	for _, f := range fields {
		h.Write(wire.AppendUint32(nil, uint32(len(f))))
		h.Write(f)
	}
}

// newKeys sends NEWKEYS and what has to follow it, and waits for the peer's.
func (k *kexRun) newKeys() error {
	c := k.c
	if c.first {
		c.sessionID, c.hostKey, c.hostKeySig = k.h, k.hostKey, k.signature
	}
	// RFC 4253, section 7.2: which letters serve which direction.
	out, err := k.cipher(k.alg.Client, 'A', true)
	in, err2 := k.cipher(k.alg.Server, 'B', false)
	if c.server {
		out, err = k.cipher(k.alg.Server, 'B', true)
		in, err2 = k.cipher(k.alg.Client, 'A', false)
	}
	k.logKeys()
	clear(k.secret)
	if err := errors.Join(err, err2); err != nil {
		return fmt.Errorf("new keys: %w", err)
	}
	outgoing, incoming := k.directions()
	c.awaitLogin(k.alg)
	c.out.queueKex(kexMsg{payload: (&wire.NewKeys{}).Append(nil), next: out, reset: c.strict, zlib: compresses(outgoing)})
	if c.first && c.wantExtInfo && len(c.cfg.Extensions) > 0 {
		m := wire.ExtInfo{Extensions: c.cfg.Extensions}
		c.out.queueKex(kexMsg{payload: m.Append(nil)})
	}
	sent := time.Now()
	c.out.kick()
	var m wire.NewKeys
	if err := k.receive(&m); err != nil {
		return err
	}
	if c.server {
		c.sampleRTT(time.Since(sent))
	}
	c.in.install(in, c.strict)
	c.in.rekeyed(compresses(incoming))
	c.rekeyOut.Store(c.cfg.rekeyBytes(outgoing.Cipher))
	c.rekeyIn.Store(c.cfg.rekeyBytes(incoming.Cipher))
	c.mu.Lock()
	c.algorithms = *k.alg
	c.mu.Unlock()
	return nil
}

// cipher derives the keys of one direction; letter is that of its IV, the keys
// follow two and four letters on.
func (k *kexRun) cipher(d Direction, letter byte, seal bool) (algo.PacketCipher, error) {
	spec, _ := algo.LookupCipher(d.Cipher)
	var mac *algo.MAC
	derive := func(letter byte, n int) []byte {
		framed := wire.AppendString(nil, k.secret)
		defer clear(framed)
		return algo.DeriveKey(k.method.Hash, framed, k.h, k.c.sessionID, letter, n)
	}
	var macKey []byte
	if d.MAC != "" {
		m, _ := algo.LookupMAC(d.MAC)
		mac = &m
		macKey = derive(letter+4, m.KeyLen)
	}
	return spec.New(derive(letter+2, spec.KeyLen), derive(letter, spec.IVLen), macKey, mac, seal)
}

// report tells the tracer and opens the way for the next exchange.
func (k *kexRun) report(began time.Time) {
	c := k.c
	out, in := k.directions()
	if trace.Wants(c.cfg.Tracer, trace.LevelConn) {
		e := trace.KexDone{Kex: k.alg.Kex, HostKey: k.alg.HostKey, CipherOut: out.Cipher, CipherIn: in.Cipher,
			MACOut: out.MAC, MACIn: in.MAC, CompressionOut: out.Compression, CompressionIn: in.Compression, Strict: c.strict, First: c.first, Took: time.Since(began)}
		if key, err := gossh.ParsePublicKey(k.hostKey); err == nil {
			e.HostKeyFingerprint = gossh.FingerprintSHA256(key)
		}
		c.cfg.Tracer.Trace(time.Now(), e)
	}
	c.endExchange()
}

func (k *kexRun) failed(err error) error {
	return &ProtocolError{wire.DisconnectKeyExchangeFailed, fmt.Errorf("key exchange %s: %w", k.alg.Kex, err)}
}

func (k *kexRun) send(m wire.Msg) {
	k.c.out.queueKex(kexMsg{payload: m.Append(nil)})
	k.c.out.kick()
}

// receive reads the one message that may come now.
func (k *kexRun) receive(m wire.Msg) error {
	p, err := k.c.readKex(wire.MsgName(m))
	if err != nil {
		return err
	}
	if p[0] != m.Num() {
		phase := wire.Phase(k.c.kexPhase.Load())
		return protocolError("%s where %s is due", wire.Name(phase, p[0]), wire.MsgName(m))
	}
	if err := wire.Parse(p, m); err != nil {
		return protocolError("%w", err)
	}
	return nil
}

// readKex reads the next message of a key exchange. Others are noise, which
// strict key exchange forbids in the first exchange, or errors.
func (c *Conn) readKex(want string) ([]byte, error) {
	for ignored := 0; ignored < maxKexIgnored; {
		// What was handed out before stays untouched: a key exchange may begin
		// while the caller still holds payloads of the same read.
		p, err := c.readRaw(!c.first)
		if err != nil {
			return nil, err
		}
		switch num := p[0]; {
		case num >= wire.NumKexInit && num < 50:
			return p, nil
		case num == wire.NumDisconnect:
			return nil, c.handleNoise(p)
		case !c.first && num >= 50 && num < wire.NumPing:
			// RFC 4253, section 7.1, forbids these between KEXINIT and NEWKEYS.
			// asyncssh sends them all the same, each with an IGNORE before it, and
			// OpenSSH takes them.
			if c.lateLen += len(p) + lateCost; c.lateLen > maxLate {
				return nil, protocolError("more than %d bytes of other messages during a key exchange", maxLate)
			}
			c.late = append(c.late, latePacket{c.in.seq - 1, slices.Clone(p)})
			ignored = 0
			continue
		case num > wire.NumDebug || num == 0 || c.first && c.strict:
			return nil, protocolError("%s during a key exchange, where %s is due", wire.Name(wire.PhaseAny, num), want)
		}
		ignored++
	}
	return nil, protocolError("%d messages without meaning during a key exchange", maxKexIgnored)
}
