// Package sshfp judges host keys by the fingerprints that DNS has of them (RFC 4255,
// ssh_config: VerifyHostKeyDNS).
package sshfp

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
	gossh "golang.org/x/crypto/ssh"
)

// Resolver asks name servers for SSHFP records.
type Resolver struct {
	// Servers are asked in turn, HOST:PORT each.
	Servers []string
	// Timeout is how long one server may take; 0 is 5 seconds.
	Timeout time.Duration
	// Attempts is how often all of them are asked; 0 is once.
	Attempts int
	// TrustAD says that the way to the servers is safe, so that their word for
	// having validated an answer counts (resolv.conf: trust-ad).
	TrustAD bool
}

// Answer is what DNS has for a host.
type Answer struct {
	Records []Record
	// Secure says that the answer was validated (DNSSEC).
	Secure bool
}

// Record is an SSHFP record (RFC 4255, section 3.1).
type Record struct {
	Algorithm, Type uint8
	Fingerprint     []byte
}

// Verdict is what an Answer says about a key.
type Verdict uint8

// Verdicts.
const (
	// Silent: there are no records.
	Silent Verdict = iota
	// Matches: there is a record of the key, and none of another key of its kind.
	Matches
	// Differs: there are records, but not of this key.
	Differs
)

const (
	defaultTimeout = 5 * time.Second
	// maxUDP is how large an answer may be before it comes over TCP, in bytes.
	maxUDP = 1232
)

// errNumeric is the answer for what has no name.
var errNumeric = errors.New("an address has no fingerprints in DNS")

// Lookup asks for the fingerprints of a host, which is a whole name: no search list
// is tried, as by OpenSSH. That there are none is no error.
func (r *Resolver) Lookup(ctx context.Context, host string) (Answer, error) {
	if _, err := netip.ParseAddr(host); err == nil {
		return Answer{}, errNumeric
	}
	q := new(dns.Msg)
	q.SetQuestion(dns.Fqdn(host), dns.TypeSSHFP)
	q.SetEdns0(maxUDP, r.TrustAD)
	q.AuthenticatedData = r.TrustAD
	last := errors.New("no name servers are known")
	for range max(1, r.Attempts) {
		for _, server := range r.Servers {
			a, err := r.ask(ctx, server, q)
			if err == nil {
				return a, nil
			}
			last = err
			if ctx.Err() != nil {
				return Answer{}, last
			}
		}
	}
	return Answer{}, last
}

func (r *Resolver) ask(ctx context.Context, server string, q *dns.Msg) (Answer, error) {
	timeout := r.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var m *dns.Msg
	for _, network := range []string{"udp", "tcp"} {
		c := dns.Client{Net: network, Timeout: timeout}
		var err error
		if m, _, err = c.ExchangeContext(ctx, q, server); err != nil {
			return Answer{}, fmt.Errorf("name server %s: %w", server, err)
		}
		if !m.Truncated {
			break
		}
	}
	switch m.Rcode {
	case dns.RcodeSuccess, dns.RcodeNameError:
	default:
		return Answer{}, fmt.Errorf("name server %s: %s", server, dns.RcodeToString[m.Rcode])
	}
	a := Answer{Secure: r.TrustAD && m.AuthenticatedData}
	for _, rr := range m.Answer { // a CNAME goes before what it leads to
		if fp, ok := rr.(*dns.SSHFP); ok {
			if b, err := hex.DecodeString(fp.FingerPrint); err == nil {
				a.Records = append(a.Records, Record{fp.Algorithm, fp.Type, b})
			}
		}
	}
	return a, nil
}

// algorithms are the registered numbers of key types (RFC 4255, 6594, 7479).
var algorithms = map[string]uint8{
	gossh.KeyAlgoRSA: 1, gossh.KeyAlgoECDSA256: 3, gossh.KeyAlgoECDSA384: 3, gossh.KeyAlgoECDSA521: 3, gossh.KeyAlgoED25519: 4,
}

// Judge compares a key with the records. As for OpenSSH (dns.c,
// verify_host_key_dns), one record of another key of its kind spoils the match.
func (a Answer) Judge(key gossh.PublicKey) Verdict {
	if cert, ok := key.(*gossh.Certificate); ok {
		key = cert.Key
	}
	algorithm, known := algorithms[key.Type()]
	if !known || len(a.Records) == 0 {
		return Silent // no number stands for such a key
	}
	v := Differs
	for _, r := range a.Records {
		if r.Algorithm != algorithm {
			continue
		}
		var sum []byte
		switch r.Type {
		case 1: // RFC 4255
			s := sha1.Sum(key.Marshal())
			sum = s[:]
		case 2: // RFC 6594
			s := sha256.Sum256(key.Marshal())
			sum = s[:]
		default:
			continue
		}
		if subtle.ConstantTimeCompare(sum, r.Fingerprint) != 1 {
			return Differs
		}
		v = Matches
	}
	return v
}

// System is the resolver of /etc/resolv.conf and RES_OPTIONS (resolv.conf(5)).
func System(path, options string) (*Resolver, error) {
	c, err := dns.ClientConfigFromFile(path)
	if err != nil {
		return nil, err
	}
	r := &Resolver{Timeout: time.Duration(c.Timeout) * time.Second, Attempts: c.Attempts}
	for _, s := range c.Servers {
		r.Servers = append(r.Servers, net.JoinHostPort(s, c.Port))
	}
	words, err := optionWords(path)
	if err != nil {
		return nil, err
	}
	for _, w := range append(words, strings.Fields(options)...) {
		if w == "trust-ad" {
			r.TrustAD = true
		}
	}
	return r, nil
}
