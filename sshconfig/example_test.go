package sshconfig_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/adit-ssh/adit/sshconfig"
)

func ExampleLoad() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "config")
	text := `
Host db
    HostName %h.internal.example
    Port 2222
Match host *.internal.example !user root
    ProxyJump bastion
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		log.Fatal(err)
	}
	c, err := sshconfig.Load(context.Background(), sshconfig.Options{Host: "db", File: file, User: "ann"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(c.User, c.HostName, c.Port, c.ProxyJump)
	fmt.Println("port from line", c.Origin("Port").Line)
	for _, b := range c.Blocks {
		fmt.Println(b.Text, b.Matched, "-", b.Reason)
	}
	// Output:
	// ann db.internal.example 2222 bastion
	// port from line 4
	// Host db true - db matches db
	// Match host *.internal.example !user root true - all conditions hold
}
