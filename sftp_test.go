package adit_test

import (
	"bytes"
	"crypto/rand"
	"io"
	"path/filepath"
	"testing"

	"github.com/pkg/sftp"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/internal/testpeer"
)

// pkg/sftp runs on our connection as on one of x/crypto's.
func TestSFTP(t *testing.T) {
	census(t)
	s := testpeer.SSHD(t, testpeer.SSHDOptions{Config: []string{"Subsystem sftp internal-sftp"}})
	c := dial(t, s.Addr, &adit.Config{User: s.User, CheckHostKey: adit.FixedHostKey(s.HostKeys[0]), Keys: adit.Keys(s.Key.Signer)})
	client, err := sftp.NewClient(c.SSH())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	want := make([]byte, 5<<20)
	rand.Read(want)
	name := filepath.Join(t.TempDir(), "file")
	f, err := client.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := f.ReadFrom(bytes.NewReader(want)); n != int64(len(want)) || err != nil {
		t.Errorf("upload: %d bytes, %v, want %d", n, err, len(want))
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	r, err := client.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); !bytes.Equal(got, want) || err != nil {
		t.Errorf("download: %d bytes, %v, want the %d that went up", len(got), err, len(want))
	}
}
