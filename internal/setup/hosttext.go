package setup

import (
	"fmt"
	"strings"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/sshfp"
	"github.com/adit-ssh/adit/knownhosts"
)

// maxOtherNames is how many other names of a key a question lists.
const maxOtherNames = 8

// noAddress stands for the address of a server behind a proxy.
const noAddress = "<no hostip for proxy command>"

// question is the one about an unknown host.
func (h *hostKeys) question(key gossh.PublicKey, fingerprint string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "The authenticity of host '%s (%s)' can't be established.\n", h.host, h.addressName())
	fmt.Fprintf(&b, "%s key fingerprint is %s.\n", knownhosts.TypeName(key), fingerprint)
	if h.o.verifiesDNS() {
		fmt.Fprintf(&b, "%s host key fingerprint found in DNS.\n", map[bool]string{true: "Matching", false: "No matching"}[h.inDNS == sshfp.Matches])
	}
	others := h.db.OtherNames(h.host, key)
	if len(others) == 0 {
		b.WriteString("This key is not known by any other names.\n")
	} else {
		b.WriteString("This host key is known by the following other names/addresses:\n")
	}
	for i, e := range others {
		if i == maxOtherNames {
			fmt.Fprintf(&b, "    (%d additional names omitted)\n", len(others)-i)
			break
		}
		names := e.Patterns
		if strings.HasPrefix(names, "|1|") {
			names = "[hashed name]"
		}
		fmt.Fprintf(&b, "    %s:%d: %s\n", tildeFor(e.File), e.Line, printable(names))
	}
	b.WriteString("Are you sure you want to continue connecting (yes/no/[fingerprint])? ")
	return b.String()
}

// maxSkipped is how many lines that can't be used are told one by one.
const maxSkipped = 10

// skipped tells of lines of known_hosts that can't be used.
func (o *Options) skipped(lines []knownhosts.Warning) {
	for _, w := range lines[:min(len(lines), maxSkipped)] {
		o.notice("warning: " + printable(w.String()) + "; the line is skipped")
	}
	if n := len(lines) - maxSkipped; n > 0 {
		o.notice(fmt.Sprintf("warning: %d more lines are skipped", n))
	}
}

// tildeFor puts ~ in place of the home folder.
func tildeFor(path string) string {
	h := strings.TrimSuffix(home(), "/")
	if rest, ok := strings.CutPrefix(path, h+"/"); ok && h != "" {
		return "~/" + rest
	}
	return path
}

const frame = "@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@"

// sayChanged warns of a key that is not the one that is known.
func (h *hostKeys) sayChanged(v knownhosts.Verdict, ip *addressStatus) {
	host := h.host.String()
	lines := []string{}
	if ip != nil && (ip.status != knownhosts.IsChanged || string(ip.entry.Key.Marshal()) != string(v.Entry.Key.Marshal())) {
		what := map[knownhosts.Status]string{knownhosts.IsUnknown: "is unknown", knownhosts.IsKnown: "is unchanged"}[ip.status]
		if what == "" {
			what = "has a different value"
		}
		lines = append(lines, frame, "@       WARNING: POSSIBLE DNS SPOOFING DETECTED!          @", frame,
			fmt.Sprintf("The %s host key for %s has changed,", knownhosts.TypeName(v.Key), host),
			"and the key for the corresponding IP address "+ip.name,
			what+". This could either mean that",
			"DNS SPOOFING is happening or the IP address for the host",
			"and its host key have changed at the same time.")
		if ip.entry != nil {
			lines = append(lines, "Offending key for IP in "+ip.entry.Where())
			lines = append(lines, h.removal(ip.entry, ip.name)...)
		}
	}
	lines = append(lines, h.changedLines(v.Key)...)
	if len(h.user) > 0 {
		lines = append(lines, fmt.Sprintf("Add correct host key in %s to get rid of this message.", h.user[0]))
	}
	lines = append(lines, fmt.Sprintf("Offending %s key in %s", knownhosts.TypeName(v.Entry.Key), v.Entry.Where()))
	lines = append(lines, h.removal(v.Entry, host)...)
	h.o.say(levelError, "%s", strings.Join(lines, "\n"))
}

// changedLines is the warning of which every place where a key is known has the end.
func (h *hostKeys) changedLines(key gossh.PublicKey) []string {
	return []string{frame, "@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @", frame,
		"IT IS POSSIBLE THAT SOMEONE IS DOING SOMETHING NASTY!",
		"Someone could be eavesdropping on you right now (man-in-the-middle attack)!",
		"It is also possible that a host key has just been changed.",
		fmt.Sprintf("The fingerprint for the %s key sent by the remote host is\n%s.", knownhosts.TypeName(key), h.o.fingerprint(key)),
		"Please contact your system administrator."}
}

// removal is how to remove the lines of a host; the words are Debian's.
func (h *hostKeys) removal(e *knownhosts.Entry, host string) []string {
	if h.fromCommand(e) {
		return nil
	}
	return []string{"  remove with:", fmt.Sprintf("  ssh-keygen -f \"%s\" -R \"%s\"", e.File, host)}
}

// sayRevoked warns of a key that is marked as revoked.
func (h *hostKeys) sayRevoked(v knownhosts.Verdict) {
	name := knownhosts.TypeName(v.Key)
	h.o.say(levelError, "%s", strings.Join([]string{
		frame, "@       WARNING: REVOKED HOST KEY DETECTED!               @", frame,
		fmt.Sprintf("The %s host key for %s is marked as revoked.", name, h.host),
		"This could mean that a stolen key is being used to",
		"impersonate this host.",
		fmt.Sprintf("%s host key for %s was revoked and you have requested strict checking.", name, h.host),
	}, "\n"))
}
