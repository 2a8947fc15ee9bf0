//go:build unix

package sshconfig

import "testing"

func TestPrivateGroup(t *testing.T) {
	const passwd = "root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/:/bin/sh\nbob:x:1001:1001::/:/bin/sh\ncid:x:1002:100::/:/bin/sh\neve:x:1003:1000x::/:/bin/sh\n"
	for _, c := range []struct {
		uid, gid int
		group    string
		want     bool
	}{
		{1000, 1000, "ann:x:1000:\n", true},
		{1000, 1000, "ann:x:1000:ann", true},
		{1000, 1000, "ann:x:1000:ann,bob\n", false},
		{1000, 1000, "ann:x:1000:bob\n", false},
		{1000, 1000, "bob:x:1001:\n", false}, // unknown here
		{1000, 1001, "bob:x:1001:\n", false}, // bob's
		{1002, 100, "users:x:100:\n", true},
		{1002, 200, "staff:x:200:\n", false}, // has no member
		{4711, 1000, "ann:x:1000:\n", false}, // nobody
	} {
		if got := privateGroup(c.uid, c.gid, []byte(passwd), []byte(c.group)); got != c.want {
			t.Errorf("user %d, group %d in %q: got %v, want %v", c.uid, c.gid, c.group, got, c.want)
		}
	}
}
