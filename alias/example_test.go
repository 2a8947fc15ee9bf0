package alias_test

import (
	"context"
	"fmt"
	"log"

	"github.com/adit-ssh/adit/alias"
)

// A connection to a database that only the host db-bastion of ~/.ssh/config
// reaches, as `adit ssh db-bastion` would be made.
func Example() {
	ctx := context.Background()
	client, err := alias.Dial(ctx, "db-bastion", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	conn, err := client.DialContext(ctx, "tcp", "db.internal:5432")
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	fmt.Println(conn.RemoteAddr())
}
