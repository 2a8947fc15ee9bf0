package transport

import "testing"

func TestQuirks(t *testing.T) {
	openSSH := Quirks{SkipsWrongGuess: true, BearsEarlyShare: true, BearsEarlyOpen: true}
	for version, want := range map[string]Quirks{
		"SSH-2.0-OpenSSH_9.2p1 Debian-2": openSSH,
		"SSH-2.0-OpenSSH_6.0":            openSSH,
		"SSH-2.0-OpenSSH_10.2":           openSSH,
		"SSH-2.0-OpenSSH_5.9":            {},
		"SSH-2.0-OpenSSH_1":              {},
		"SSH-2.0-OpenSSH_":               {},
		"SSH-2.0-OpenSSH_for_Windows_9":  {},
		"SSH-2.0-adit":                   {true, true, true, true},
		"SSH-2.0-Go":                     {SkipsWrongGuess: true, BearsEarlyShare: true},
		"SSH-2.0-dropbear_2022.83":       {SkipsWrongGuess: true, BearsEarlyShare: true},
		"SSH-2.0-AsyncSSH_2.10.1":        {BearsEarlyShare: true},
		"SSH-2.0-Erlang/4.15.2":          {BearsEarlyShare: true},
		"SSH-2.0-libssh_0.10":            {},
		"SSH-1.99-OpenSSH_9.2":           {},
		"OpenSSH_9.2":                    {},
		"":                               {},
	} {
		if got := QuirksOf(version); got != want {
			t.Errorf("%q: %+v, want %+v", version, got, want)
		}
	}
}
