//go:build !unix

package main

import (
	"context"
	"errors"
	"os"

	"github.com/adit-ssh/adit/internal/session"
)

// startBackground can't: a process does not leave its console here.
func startBackground(context.Context) (up bool, err error) {
	return false, errors.New("-f: there is no background on this system; use -N in a window of its own")
}

func inBackground(ctx context.Context) (context.Context, *background) { return ctx, nil }

func (b *background) leave(*session.Streams) error { return nil }

func closeStdout() { os.Stdout.Close() }
