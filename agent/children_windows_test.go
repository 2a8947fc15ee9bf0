package agent

import "testing"

func wantNoChildren(testing.TB) {}
