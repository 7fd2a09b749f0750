//go:build !linux

package bench

import (
	"context"
	"errors"
)

// front is nginx in front of a server.
type front struct {
	hosts hosts
	pids  []int
}

func startFront(context.Context, string, string, certificateFiles, hosts) (*front, error) {
	return nil, errors.New("-ways nginx needs Linux")
}

func (f *front) close() error { return nil }
