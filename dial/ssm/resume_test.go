package ssm

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/adit-ssh/adit/internal/testpeer/ssmgw"
)

// Credentials expire while a session lives, and are others when it is resumed: they are
// read anew for each attempt.
func TestResumeWithOtherCredentials(t *testing.T) {
	g := &ssmgw.Gateway{Faults: ssmgw.Faults{CloseAfter: 5000, Closes: 1}}
	serve(t, g)
	file := filepath.Join(t.TempDir(), "credentials")
	write := func(key string) {
		text := "[default]\naws_access_key_id = " + key + "\naws_secret_access_key = x\naws_session_token = y\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Error(err)
		}
	}
	write(ssmgw.AccessKey)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", file)
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	g.Trouble = func(verb string, times int) string {
		if verb == "ssm:ResumeSession" && times == 1 {
			return "ExpiredTokenException expired"
		}
		return ""
	}
	s, err := Load(t.Context(), Config{})
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, s, Options{Target: node, Port: target(t, echo)})
	write("AKIDSOMEBODYELSES000") // refused by the gateway before it asks Trouble
	go func() {
		g.Await(t, "ResumeSession", 2) // else the first ones would have done
		write(ssmgw.AccessKey)
	}()
	roundTrip(t, c, 10_000)
	resumed := 0
	for _, e := range g.Events() {
		if e == "ResumeSession" {
			resumed++
		}
	}
	if resumed < 4 {
		t.Errorf("resumed %d times, want two refusals of the key, one of its age, and one that is good", resumed)
	}
}
