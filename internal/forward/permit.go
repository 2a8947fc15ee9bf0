package forward

import (
	"net"
	"slices"
	"strconv"
)

// Permit is what a proxy's clients may reach, as "host:port" or
// "[address]:port" with "*" for any host or any port (ssh_config,
// PermitRemoteOpen). Nil permits all; an entry in another form, such as "none",
// permits nothing.
type Permit []string

// Allows reports whether host:port may be reached. A host is compared as the
// client wrote it, as OpenSSH does (channels.c, open_match): to permit a name
// does not permit its addresses.
func (p Permit) Allows(host string, port uint16) bool {
	return p == nil || slices.ContainsFunc(p, func(entry string) bool {
		h, n, err := net.SplitHostPort(entry)
		return err == nil && (h == "*" || h == host) && (n == "*" || n == strconv.Itoa(int(port)))
	})
}
