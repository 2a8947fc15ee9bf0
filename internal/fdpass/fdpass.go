// Package fdpass hands connected sockets from one program to another over a unix
// socket (SCM_RIGHTS), in the form of OpenSSH's ProxyUseFdpass: one byte that
// carries one descriptor (OpenSSH: monitor_fdpass.c, sshconnect.c,
// ssh_proxy_fdpass_connect). Check and Send are the helper's half, Pair and Receive
// that of who starts it.
//
// It starts no program and knows no SSH. Systems without unix sockets that pass
// descriptors have Check and Send only, which say so.
package fdpass
