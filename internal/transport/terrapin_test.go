package transport

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/algo"
	"github.com/adit-ssh/adit/internal/testnet"
	"github.com/adit-ssh/adit/internal/wire"
)

// terrapin passes one direction of a connection on, up to and with NEWKEYS, and
// inserts an IGNORE in clear before the packet of number insert; both sides send
// three: KEXINIT, their share and NEWKEYS. With drop it leaves out the first
// sealed packet, which is size bytes long (terrapin-attack.com; OpenSSH PROTOCOL,
// section 1.10).
func terrapin(from, to net.Conn, insert int, drop bool, size int) {
	defer to.Close()
	r := bufio.NewReader(from)
	line, err := r.ReadBytes('\n')
	if err != nil {
		return
	}
	to.Write(line)
	ignore := sealPlain((&wire.Ignore{}).Append(nil))
	for n := 0; ; n++ {
		if n == insert {
			to.Write(ignore)
		}
		var head [4]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return
		}
		body := make([]byte, binary.BigEndian.Uint32(head[:]))
		if _, err := io.ReadFull(r, body); err != nil {
			return
		}
		to.Write(append(head[:], body...))
		if body[1] == wire.NumNewKeys {
			if n+1 == insert {
				to.Write(ignore)
			}
			break
		}
	}
	if drop {
		if _, err := io.CopyN(io.Discard, r, int64(size)); err != nil {
			return
		}
	}
	io.Copy(to, r)
}

func sealPlain(payload []byte) []byte {
	slot := make([]byte, algo.Plain().SealedLen(len(payload)))
	copy(slot[5:], payload)
	return algo.Plain().Seal(0, slot, len(payload), bytes.NewReader(make([]byte, 64)))
}

// TestTerrapin: nobody in the middle can insert or drop packets around NEWKEYS.
func TestTerrapin(t *testing.T) {
	ext := []wire.Extension{{Name: "x", Value: []byte("y")}}
	for _, c := range []struct {
		name   string
		insert int // -1 for nothing
		drop   bool
		want   string // in the victim's error; "" for none
	}{
		{"no attack", -1, false, ""},
		{"insert before KEXINIT", 0, false, "strict key exchange"},
		{"insert and drop", 0, true, "strict key exchange"},
		{"insert after KEXINIT", 1, true, "IGNORE during a key exchange"},
		{"insert before NEWKEYS", 2, true, "IGNORE during a key exchange"},
		{"drop EXT_INFO", -1, true, "packet 0: bad packet"},
		{"insert behind NEWKEYS", 3, false, "packet 0: bad packet"},
	} {
		for _, cipher := range []string{"chacha20-poly1305@openssh.com", "aes128-gcm@openssh.com", "aes128-ctr"} {
			for _, victim := range []string{"client", "server"} {
				t.Run(c.name+"/"+cipher+"/"+victim, func(t *testing.T) {
					testTerrapin(t, cipher, victim == "server", ext, c.insert, c.drop, c.want)
				})
			}
		}
	}
}

func testTerrapin(t *testing.T, cipher string, server bool, ext []wire.Extension, insert int, drop bool, want string) {
	a, am := testnet.Pipe(testnet.Options{})
	bm, b := testnet.Pipe(testnet.Options{})
	cfg := Config{Kex: []string{"curve25519-sha256"}, Ciphers: []string{cipher}, MACs: []string{"hmac-sha2-256-etm@openssh.com"},
		Extensions: ext, CheckHostKey: accept, HostKeys: []gossh.Signer{testSigner(t)}}
	spec, _ := algo.LookupCipher(cipher)
	var mac *algo.MAC
	if !spec.AEAD {
		m, _ := algo.LookupMAC(cfg.MACs[0])
		mac = &m
	}
	sealer, err := spec.New(make([]byte, spec.KeyLen), make([]byte, spec.IVLen), make([]byte, 32), mac, true)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		terrapin(bm, am, insert, drop, sealer.SealedLen(len((&wire.ExtInfo{Extensions: ext}).Append(nil))))
	})
	wg.Go(func() { io.Copy(bm, am); bm.Close() })
	peerCfg := cfg
	wg.Go(func() { // the peer sends one message behind EXT_INFO and reads to the end
		open, msg := Server, wire.Msg(&wire.ServiceAccept{Service: "x"})
		if server {
			open, msg = Client, &wire.ServiceRequest{Service: "x"}
		}
		p, err := open(ctx, b, &peerCfg)
		if err != nil {
			return
		}
		defer p.Close()
		if !server {
			if _, err := p.ReadPacket(); err != nil {
				return
			}
		}
		if p.WritePacket(msg.Append(nil), nil) != nil {
			return
		}
		for err == nil {
			_, err = p.ReadPacket()
		}
	})
	err = func() error {
		open := Client
		if server {
			open = Server
		}
		c, err := open(ctx, a, &cfg)
		if err != nil {
			return err
		}
		defer c.Close()
		if !server {
			if err := c.WritePacket((&wire.ServiceRequest{Service: "x"}).Append(nil), nil); err != nil {
				return err
			}
		}
		_, err = c.ReadPacket()
		return err
	}()
	if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
		t.Errorf("got error %v, want %q in it", err, want)
	}
}
