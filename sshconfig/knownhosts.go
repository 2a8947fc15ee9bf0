package sshconfig

import (
	"errors"
	"fmt"
	"os"
)

// KnownHostsArgs is what only the tokens of KnownHostsCommand tell.
type KnownHostsArgs struct {
	// Invocation is why the command runs (%I): ORDER, HOSTNAME or ADDRESS.
	Invocation string
	// Host is the name or address that is looked up, in known_hosts form (%H).
	Host string
	// KeyType, Fingerprint and Key are the server's key: its type, its
	// fingerprint and its wire form in base64 (%t, %f, %K). Empty is NONE.
	KeyType, Fingerprint, Key string
}

// ExpandKnownHostsCommand returns KnownHostsCommand as a program and its
// arguments, with tokens and ${NAME} expanded in the latter (sshconnect.c,
// load_hostkeys_command).
func (c *Config) ExpandKnownHostsCommand(a KnownHostsArgs) ([]string, error) {
	args, err := splitWords(c.KnownHostsCommand, false)
	if err != nil {
		return nil, err
	}
	if len(args) == 0 {
		return nil, errors.New("it has no command")
	}
	if !absolute(args[0]) {
		return nil, fmt.Errorf("%q is not an absolute path", args[0])
	}
	t := tokens{'I': a.Invocation, 'H': a.Host, 't': orNONE(a.KeyType), 'f': orNONE(a.Fingerprint), 'K': orNONE(a.Key)}
	for token, text := range c.tokens {
		t[token] = text
	}
	for i := range args[1:] {
		if args[i+1], err = expand(args[i+1], t, os.LookupEnv); err != nil {
			return nil, err
		}
	}
	return args, nil
}

func orNONE(s string) string {
	if s == "" {
		return "NONE"
	}
	return s
}
