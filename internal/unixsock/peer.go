package unixsock

import "net"

// PeerOf asks the system who is at the other end of a unix socket: the process that
// connected, and its effective user. pid is 0 and uid -1 where the system does not
// say, and for connections that are no unix sockets: then the socket's mode decides
// alone.
func PeerOf(nc net.Conn) (pid, uid int, err error) {
	uc, ok := nc.(*net.UnixConn)
	if !ok {
		return 0, -1, nil
	}
	raw, err := uc.SyscallConn()
	if err != nil {
		return 0, -1, err
	}
	pid, uid = 0, -1
	cerr := raw.Control(func(fd uintptr) { pid, uid, err = peer(int(fd)) })
	if err == nil {
		err = cerr
	}
	if err != nil {
		return 0, -1, err
	}
	return pid, uid, nil
}
