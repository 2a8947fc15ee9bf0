package ssm

import (
	"fmt"
	"testing"
)

// Port and Host are parameters of AWS's documents, whoever names those; of others
// nothing is known.
func TestInput(t *testing.T) {
	for _, c := range []struct {
		o    Options
		want string // "" is an error
	}{
		{Options{}, "AWS-StartSSHSession map[portNumber:[22]]"},
		{Options{Port: 2222}, "AWS-StartSSHSession map[portNumber:[2222]]"},
		{Options{Port: 5432, Host: "db"}, "AWS-StartPortForwardingSessionToRemoteHost map[host:[db] portNumber:[5432]]"},
		{Options{Port: 2222, Document: documentSSH}, "AWS-StartSSHSession map[portNumber:[2222]]"},
		{Options{Port: 80, Document: documentForward}, "AWS-StartPortForwardingSession map[portNumber:[80]]"},
		{Options{Port: 80, Document: documentRemote, Host: "db"}, "AWS-StartPortForwardingSessionToRemoteHost map[host:[db] portNumber:[80]]"},
		{Options{Document: documentRemote, Parameters: map[string][]string{"host": {"x"}, "portNumber": {"1"}}}, "AWS-StartPortForwardingSessionToRemoteHost map[host:[x] portNumber:[1]]"},
		{Options{Port: 80, Document: "Own", Parameters: map[string][]string{"a": {"b"}}}, "Own map[a:[b]]"},
		{Options{Port: 80, Document: documentSSH, Host: "db"}, ""},
		{Options{Port: 65536}, ""},
	} {
		in, err := c.o.input(documentSSH)
		got := ""
		if err == nil {
			got = fmt.Sprintf("%s %v", in.DocumentName, in.Parameters)
		}
		if got != c.want {
			t.Errorf("%+v: %s, %v, want %s", c.o, got, err, c.want)
		}
	}
}
