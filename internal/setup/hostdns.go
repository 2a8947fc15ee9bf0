package setup

import (
	"context"
	"os"
	"strings"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/sshfp"
)

// verifiesDNS reports whether DNS is asked for fingerprints.
func (o *Options) verifiesDNS() bool {
	return o.VerifyHostKeyDNS == "yes" || o.VerifyHostKeyDNS == "ask"
}

// lookupDNS asks DNS for the host's fingerprints (ssh_config: VerifyHostKeyDNS;
// OpenSSH, sshconnect.c, verify_host_key). A key that a validated answer has needs
// no known_hosts. Another one is told and goes on to known_hosts, as a match does
// that anybody could have sent.
func (h *hostKeys) lookupDNS(key gossh.PublicKey) (accepted bool) {
	o := h.o
	h.inDNS = sshfp.Silent
	if !o.verifiesDNS() {
		return false
	}
	ask := o.Fingerprints
	if ask == nil {
		ask = systemFingerprints
	}
	answer, err := ask(o.lifetime(), strings.ToLower(o.Host))
	if err != nil {
		o.say(levelVerbose, "DNS lookup error: %v", err)
		return false
	}
	h.inDNS = answer.Judge(key)
	if h.inDNS == sshfp.Differs {
		plain := key
		if cert, ok := key.(*gossh.Certificate); ok {
			plain = cert.Key
		}
		o.say(levelError, "%s", strings.Join(h.changedLines(plain), "\n"))
		o.say(levelError, "Update the SSHFP RR in DNS with the new host key to get rid of this message.")
	}
	return h.inDNS == sshfp.Matches && answer.Secure && o.VerifyHostKeyDNS == "yes"
}

func systemFingerprints(ctx context.Context, host string) (sshfp.Answer, error) {
	r, err := sshfp.System("/etc/resolv.conf", os.Getenv("RES_OPTIONS"))
	if err != nil {
		return sshfp.Answer{}, err
	}
	return r.Lookup(ctx, host)
}
