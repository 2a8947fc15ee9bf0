//go:build !windows

package sshconfig

func withoutComputer(name string) string { return name }
