package sshfp

import (
	"bufio"
	"os"
	"strings"
)

// optionWords returns the words of resolv.conf's options lines.
func optionWords(path string) (words []string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if w := strings.Fields(s.Text()); len(w) > 0 && w[0] == "options" {
			words = append(words, w[1:]...)
		}
	}
	return words, nil
}
