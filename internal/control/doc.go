// Package control shares one connection among programs, as OpenSSH's
// ControlMaster does: a master listens on a unix socket, and clients have it open
// sessions and forwards for them (OpenSSH, PROTOCOL.mux and mux.c). Both sides
// work with OpenSSH's ssh on the other.
//
// Listen and Serve make a master of an adit.Client; Dial reaches one. Sessions and
// -W run on descriptors that the client passes over the socket (SCM_RIGHTS), so
// that the master moves the data and the client only waits.
//
// Who may connect: the socket has mode 0600, and peers of another user are
// refused by their credentials, but for root.
//
// It is not the connection: how that is made, and what becomes of it when the last
// client has gone, is for the caller to say. Windows has no descriptors to pass, and
// nothing of this.
package control
