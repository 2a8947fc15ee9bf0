package unixsock

// peerPID is 0: the system does not say.
func peerPID(int) int { return 0 }
