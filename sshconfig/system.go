package sshconfig

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"time"
)

// systemDir is where the system's ssh_config is.
func systemDir() string {
	if runtime.GOOS == "windows" {
		return os.Getenv("ProgramData") + "/ssh"
	}
	return "/etc/ssh"
}

// runInShell runs a command as OpenSSH's Match exec does: in the person's shell,
// with nothing to read and nowhere to write but standard error.
func runInShell(ctx context.Context, command string) (int, error) {
	shell, flag := os.Getenv("SHELL"), "-c"
	switch {
	case runtime.GOOS == "windows":
		shell, flag = "cmd.exe", "/c"
	case shell == "":
		shell = "/bin/sh"
	}
	c := exec.CommandContext(ctx, shell, flag, command)
	c.Stderr = os.Stderr
	c.WaitDelay = time.Second // a child that it left behind may hold standard error
	err := c.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.Exited() {
		return exit.ExitCode(), nil
	}
	return 0, err
}

// localAddresses lists the addresses of interfaces that are up.
func localAddresses() ([]netip.Addr, error) {
	ifs, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var all []netip.Addr
	for _, i := range ifs {
		if i.Flags&net.FlagUp == 0 {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			return nil, err
		}
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok {
				if ip, ok := netip.AddrFromSlice(n.IP); ok {
					all = append(all, ip.Unmap())
				}
			}
		}
	}
	return all, nil
}
