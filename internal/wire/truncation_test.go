package wire

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
)

// lenient are the messages that may end early, and where: known peers leave
// their last fields out.
var lenient = map[string]func(fields []byte) []int{
	"Disconnect": func(f []byte) []int { return []int{8 + int(binary.BigEndian.Uint32(f[4:]))} },
	"Ignore":     func([]byte) []int { return []int{0} },
	"ChannelOpenFailure": func(f []byte) []int {
		return []int{8, 12 + int(binary.BigEndian.Uint32(f[8:]))}
	},
	"ServiceAccept": func([]byte) []int { return []int{0} },
}

func TestTruncation(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, k := range allKinds(t) {
		layout := layouts[k.name]
		for range 20 {
			m := k.make()
			fill(m, r)
			payload := m.Append(nil)
			fixed := len(payload)
			if strings.HasSuffix(layout, "rest") { // may be cut anywhere
				fixed -= len(flatten(reflect.ValueOf(m))[len(flatten(reflect.ValueOf(m)))-1].val.(string))
			}
			var allowed []int
			if at := lenient[k.name]; at != nil {
				allowed = at(payload[1:])
			}
			for n := range fixed {
				_, err := Decode(k.phase, payload[:n:n])
				if contains(allowed, n-1) {
					if err != nil {
						t.Fatalf("%s of %d bytes: %v, but it may end there", k.name, n, err)
					}
				} else if err == nil {
					t.Fatalf("%s cut to %d of %d bytes is taken", k.name, n, len(payload))
				}
			}
			if _, err := Decode(k.phase, append(bytes.Clone(payload), 0)); err == nil && !strings.HasSuffix(layout, "rest") && k.name != "Ignore" {
				t.Fatalf("%s is taken with a byte too many", k.name)
			}
		}
	}
}

func TestBodyTruncation(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for _, b := range allBodies() {
		for range 20 {
			full := newLike(b)
			fill(full, r)
			data := full.Append(nil)
			ends := map[int]bool{}
			if keys, ok := full.(*HostKeys); ok { // ends after any of its entries
				for n, i := 0, 0; i < len(keys.Keys); i++ {
					ends[n] = true
					n += 4 + len(keys.Keys[i])
				}
			}
			for n := range len(data) {
				if err := ParseBody(data[:n:n], newLike(b)); (err == nil) != ends[n] {
					t.Fatalf("%T cut to %d of %d bytes: %v", b, n, len(data), err)
				}
			}
			if err := ParseBody(append(data, 0), newLike(b)); err == nil {
				t.Fatalf("%T is taken with a byte too many", b)
			}
		}
	}
	for _, b := range userauthBodies {
		data := userauthSample(b.method, r)
		for n := range len(data) {
			if _, err := b.parse(data[:n:n]); err == nil {
				t.Fatalf("%s cut to %d of %d bytes is taken", b.method, n, len(data))
			}
		}
		if _, err := b.parse(append(data, 0)); err == nil {
			t.Fatalf("%s is taken with a byte too many", b.method)
		}
	}
}

// userauthSample returns a body of the method with all its fields.
func userauthSample(method string, r *rand.Rand) []byte {
	switch method {
	case MethodPassword:
		return (&PasswordBody{Change: true, Password: randomBytes(r, 20), New: randomBytes(r, 20)}).Append(nil)
	case MethodKeyboardInteractive:
		return (&KbdintBody{Language: "en", Submethods: "pam"}).Append(nil)
	}
	return (&PublickeyBody{HasSignature: true, Algorithm: "ssh-ed25519", Key: randomBytes(r, 20),
		Hostbound: method == MethodHostbound, HostKey: randomBytes(r, 20), Signature: randomBytes(r, 20)}).Append(nil)
}

func contains(list []int, n int) bool {
	for _, v := range list {
		if v == n {
			return true
		}
	}
	return false
}
