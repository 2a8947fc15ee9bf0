package setup

import (
	"fmt"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/knownhosts"
)

// addressStatus is what the lines of the server's address say (CheckHostIP).
type addressStatus struct {
	name   string // in the files' form
	status knownhosts.Status
	entry  *knownhosts.Entry // nil for an unknown address
}

// addressName is the server's address in the files' form.
func (h *hostKeys) addressName() string {
	if !h.peer.IsValid() {
		return noAddress
	}
	port := knownhosts.SplitAddr(h.o.address()).Port
	return knownhosts.Host{Name: h.peer.String(), Port: port}.String()
}

// lookupAddress looks the address up. It returns nil where that says nothing
// beyond the name: without CheckHostIP, behind a proxy, on this machine, for a
// host that was named by its address, and for certificates.
func (h *hostKeys) lookupAddress(v knownhosts.Verdict, key gossh.PublicKey) (*addressStatus, error) {
	_, cert := key.(*gossh.Certificate)
	name := h.addressName()
	if !h.o.CheckHostIP || cert || !h.peer.IsValid() || h.peer.IsLoopback() || name == h.host.String() {
		return nil, nil
	}
	db, err := h.command(h.db, "ADDRESS", name, key)
	if err != nil {
		return nil, err
	}
	a := &addressStatus{name: name}
	a.status, a.entry = db.Lookup(name, v.Key)
	return a, nil
}

// addAddress writes the address of a known host down.
func (h *hostKeys) addAddress(v knownhosts.Verdict, ip *addressStatus) {
	if ip == nil || ip.status != knownhosts.IsUnknown || v.PortLess {
		return
	}
	typ := knownhosts.TypeName(v.Key)
	if len(h.user) == 0 || h.fromCommand(v.Entry) {
		h.o.say(levelInfo, "%s host key for IP address '%s' not in list of known hosts.", typ, ip.name)
		return
	}
	h.o.makeFolder(h.user[0])
	// The address is in the files' form already.
	if err := knownhosts.Append(h.user[0], knownhosts.Host{Name: ip.name, Port: 22}, v.Key, h.o.HashKnown); err != nil {
		h.o.say(levelInfo, "Failed to add the %s host key for IP address '%s' to the list of known hosts (%s).", typ, ip.name, h.user[0])
		return
	}
	h.o.say(levelInfo, "Warning: Permanently added the %s host key for IP address '%s' to the list of known hosts.", typ, ip.name)
}

// compareAddress deals with a key that is right for the name and wrong for the
// address.
func (h *hostKeys) compareAddress(v knownhosts.Verdict, ip *addressStatus) error {
	if ip == nil || ip.status != knownhosts.IsChanged {
		return nil
	}
	text := fmt.Sprintf("Warning: the %s host key for '%s' differs from the key for the IP address '%s'\nOffending key for IP in %s",
		knownhosts.TypeName(v.Key), h.host, ip.name, ip.entry.Where())
	if v.Status == knownhosts.IsKnown {
		text += "\nMatching host key in " + v.Entry.Where()
	}
	wrong := &knownhosts.MismatchError{Host: knownhosts.Host{Name: ip.name, Port: 22}, Key: v.Key, Want: []knownhosts.Entry{*ip.entry}}
	switch h.o.StrictHostKey {
	case "no", "off":
		h.o.say(levelInfo, "%s", text)
		return nil
	case "yes", "accept-new":
		h.o.say(levelInfo, "%s", text)
		h.o.say(levelError, "Exiting, you have requested strict checking.")
		return wrong
	}
	ok, err := h.o.confirm(text+"\nAre you sure you want to continue connecting (yes/no)? ", "Please type 'yes' or 'no': ", "")
	if err == nil && !ok {
		err = wrong
	}
	return err
}
