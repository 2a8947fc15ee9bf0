package algo

import (
	"bytes"
	"crypto/rand"
	"errors"
	"testing"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/wire"
)

// FuzzOpen gives each cipher arbitrary bytes as a stream of packets. Nothing but
// a payload within the packet or one of the three faults may come of it.
func FuzzOpen(f *testing.F) {
	all := suites()
	for i, s := range all {
		sealer, _ := s.pair(f, 1)
		f.Add(uint8(i), uint32(0), seal(sealer, 0, []byte("payload"), fill(0)))
		f.Add(uint8(i), uint32(1<<32-1), seal(sealer, 1<<32-1, make([]byte, 300), fill(1)))
		f.Add(uint8(i), uint32(0), []byte{0, 0, 0, 16})
		f.Add(uint8(i), uint32(0), append([]byte{0, 0, 0, 12, 255}, make([]byte, 100)...))
	}
	f.Fuzz(func(t *testing.T, which uint8, seq uint32, stream []byte) {
		s := all[int(which)%len(all)]
		_, opener := s.pair(t, 1)
		for len(stream) >= opener.Prefix() {
			n, err := opener.Length(seq, stream)
			if err != nil {
				if !errors.Is(err, ErrPacketLength) {
					t.Fatalf("Length: %v", err)
				}
				return
			}
			if n < minPacket-lengthSize || n > lengthSize+MaxPacketLength+maxTag {
				t.Fatalf("Length says %d", n)
			}
			if n > len(stream) {
				return
			}
			behind := bytes.Clone(stream[n:])
			payload, err := opener.Open(seq, stream[:n:n])
			if err != nil {
				if !errors.Is(err, ErrTag) && !errors.Is(err, ErrPadding) && !errors.Is(err, ErrPacketLength) {
					t.Fatalf("Open: %v", err)
				}
				return
			}
			if len(payload) == 0 || len(payload) > n-payloadOffset-minPadding {
				t.Fatalf("payload of %d bytes in a packet of %d", len(payload), n)
			}
			if !bytes.Equal(stream[n:], behind) {
				t.Fatal("Open wrote behind the packet")
			}
			stream, seq = stream[n:], seq+1
		}
	})
}

// FuzzOpenWithoutLength hands slices of any length to Open, which a transport
// does not do.
func FuzzOpenWithoutLength(f *testing.F) {
	all := suites()
	for i := range all {
		f.Add(uint8(i), make([]byte, i))
		f.Add(uint8(i), make([]byte, 16*i))
	}
	f.Fuzz(func(t *testing.T, which uint8, b []byte) {
		_, opener := all[int(which)%len(all)].pair(t, 1)
		if payload, err := opener.Open(0, b); err == nil && len(payload) == 0 {
			t.Fatal("no payload and no error")
		}
	})
}

// FuzzSealOpen sends any payload through each cipher.
func FuzzSealOpen(f *testing.F) {
	all := suites()
	for i := range all {
		f.Add(uint8(i), uint32(i), bytes.Repeat([]byte{byte(i)}, 20*i+1))
	}
	f.Fuzz(func(t *testing.T, which uint8, seq uint32, payload []byte) {
		if len(payload) == 0 || len(payload) > 64<<10 {
			return
		}
		sealer, opener := all[int(which)%len(all)].pair(t, 2)
		got, err := open(opener, seq, seal(sealer, seq, payload, rand.Reader))
		if err != nil || !bytes.Equal(got, payload) {
			t.Fatalf("sent %x, got %x, %v", payload, got, err)
		}
	})
}

// FuzzKex hands arbitrary shares to both sides of every method. Groups 16 and
// 18 are the code of group 14 at a higher price and left out.
func FuzzKex(f *testing.F) {
	var methods []KexMethod
	for _, m := range kexMethods {
		if m.Name != "diffie-hellman-group16-sha512" && m.Name != "diffie-hellman-group18-sha512" {
			methods = append(methods, m)
		}
	}
	for i, m := range methods {
		share, err := kexForTest(f, m).Init(seeded(1))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), share)
		answer, _, err := kexForTest(f, m).Respond(seeded(2), share)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), answer)
		f.Add(uint8(i), []byte{1})
	}
	f.Fuzz(func(t *testing.T, which uint8, share []byte) {
		m := methods[int(which)%len(methods)]
		client, server := kexForTest(t, m), kexForTest(t, m)
		if _, err := client.Init(seeded(3)); err != nil {
			t.Fatal(err)
		}
		if k, err := client.Finish(share); err == nil {
			checkSecret(t, m, k)
		}
		if _, k, err := server.Respond(seeded(4), share); err == nil {
			checkSecret(t, m, k)
		}
	})
}

// checkSecret fails for a secret that cannot be or that anybody knows.
func checkSecret(t *testing.T, m KexMethod, k []byte) {
	t.Helper()
	if m.Name == "mlkem768x25519-sha256" {
		if len(k) != 32 {
			t.Fatalf("K of %d bytes", len(k))
		}
	} else if err := wire.CheckMpint(k); err != nil {
		t.Fatalf("K: %v", err)
	}
	if len(k) < 20 {
		t.Fatalf("K is %x", k)
	}
}

// FuzzNewGroupKex looks at groups that a server made up. It does not compute in
// them: big groups take milliseconds, by design.
func FuzzNewGroupKex(f *testing.F) {
	f.Add(wire.MpintBody(groups[14].p().Bytes()), []byte{2})
	f.Add([]byte{0xff}, []byte{0})
	f.Add(append([]byte{1}, make([]byte, 1024)...), []byte{2})
	f.Fuzz(func(t *testing.T, p, g []byte) {
		x, err := NewGroupKex(p, g)
		if err != nil {
			return
		}
		d := x.(*dhKex)
		if n := d.p.BitLen(); n < MinGroupBits || n > MaxGroupBits || d.p.Bit(0) == 0 || !d.inRange(d.g) {
			t.Fatalf("group of %d bits, g %v is taken", n, d.g)
		}
	})
}

// FuzzVerifyHost looks for keys and signatures that make the verifier panic, and
// for keys that come out other than they went in.
func FuzzVerifyHost(f *testing.F) {
	good, refused := hostKeyVectors(f)
	algs := append(SupportedHostKeys(), "ssh-dss")
	data := []byte("exchange hash")
	for i, v := range append(good, refused...) {
		f.Add(uint8(i), v.key, v.sig)
	}
	s := newSecurityKey(f)
	sig, err := SignHost(nil, s, gossh.KeyAlgoSKED25519, []byte("other data"))
	if err != nil {
		f.Fatal(err)
	}
	for i, alg := range algs {
		if alg == gossh.KeyAlgoSKED25519 {
			f.Add(uint8(i), s.PublicKey().Marshal(), sig)
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, key, sig []byte) {
		alg := algs[int(which)%len(algs)]
		parsed, err := VerifyHost(alg, key, sig, data)
		if (parsed == nil) == (err == nil) {
			t.Fatalf("key %v and error %v", parsed, err)
		}
		if err == nil && !bytes.Equal(parsed.Marshal(), key) {
			t.Fatal("the key returned is another")
		}
		if p, err := gossh.ParsePublicKey(key); err == nil {
			HostKeyAlgorithms(p)
		}
	})
}
