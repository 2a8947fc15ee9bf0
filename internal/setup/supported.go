package setup

import "github.com/adit-ssh/adit/internal/algo"

// Supported returns the algorithms that can be named with a keyword of
// ssh_config, KexAlgorithms, Ciphers, MACs or HostKeyAlgorithms, those that are
// not used by default too.
func Supported(keyword string) []string {
	switch keyword {
	case "KexAlgorithms":
		return algo.SupportedKex()
	case "Ciphers":
		return algo.SupportedCiphers()
	case "MACs":
		return algo.SupportedMACs()
	case "HostKeyAlgorithms":
		return algo.SupportedHostKeys()
	}
	return nil
}
