package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/adit-ssh/adit/internal/algo"
)

// queries are the lists of -Q, by name; a name in capitals is an ssh_config
// keyword that ssh takes for one of them (ssh.c).
var queries = []struct {
	name, keywords string
	list           func() []string
}{
	{"cipher", "Ciphers", algo.SupportedCiphers},
	{"cipher-auth", "", func() []string {
		return slices.DeleteFunc(algo.SupportedCiphers(), func(n string) bool {
			return !strings.Contains(n, "-gcm@") && !strings.Contains(n, "poly1305")
		})
	}},
	{"compression", "", algo.SupportedCompression},
	{"kex", "KexAlgorithms", algo.SupportedKex},
	{"key", "", func() []string { return keyNames(true, true) }},
	{"key-cert", "", func() []string { return keyNames(true, false) }},
	{"key-plain", "", func() []string { return keyNames(false, true) }},
	{"key-sig", "CASignatureAlgorithms HostKeyAlgorithms HostbasedAcceptedAlgorithms HostbasedAcceptedKeyTypes PubkeyAcceptedAlgorithms PubkeyAcceptedKeyTypes", algo.SupportedHostKeys},
	{"mac", "MACs", algo.SupportedMACs},
	{"protocol-version", "", func() []string { return []string{"2"} }},
	{"sig", "", func() []string {
		return slices.DeleteFunc(algo.SupportedHostKeys(), isCertificate)
	}},
}

func isCertificate(name string) bool { return strings.Contains(name, "-cert-v01@") }

// keyNames are the types of keys: signature algorithms, with RSA's own for those
// that RSA keys sign with.
func keyNames(certs, plain bool) []string {
	var names []string
	for _, n := range algo.SupportedHostKeys() {
		n = strings.Replace(strings.Replace(n, "rsa-sha2-512", "ssh-rsa", 1), "rsa-sha2-256", "ssh-rsa", 1)
		if (isCertificate(n) && certs || !isCertificate(n) && plain) && !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	return names
}

// query prints the list of -Q.
func query(w io.Writer, name string) error {
	if name == "help" {
		for _, q := range queries {
			fmt.Fprintln(w, q.name)
		}
		return nil
	}
	for _, q := range queries {
		same := func(keyword string) bool { return strings.EqualFold(keyword, name) }
		if q.name == name || slices.ContainsFunc(strings.Fields(q.keywords), same) {
			_, err := fmt.Fprintln(w, strings.Join(q.list(), "\n"))
			return err
		}
	}
	return &usageError{"ssh", fmt.Errorf("Unsupported query %q", name)} //lint:ignore ST1005 OpenSSH's words
}
