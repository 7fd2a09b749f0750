//go:build !linux

package bench

import (
	"errors"
	"time"
)

// pumps write the bytes of a null server.
type pumps struct{}

func newPumps(int, time.Duration, int) (*pumps, error) {
	return nil, errors.New("-null and -floor need Linux")
}

func (p *pumps) add(c *nullClient) { c.Close() }

func (p *pumps) close() {}
