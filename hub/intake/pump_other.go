//go:build !linux

package intake

import (
	"errors"
	"net"
	"time"
)

// pump would wait for sources.
type pump struct{}

func newPump() (*pump, error) { return nil, errors.ErrUnsupported }

func (*pump) close() {}

// Source is a connection in a pool. There are none on this system.
type Source struct{}

// Add says errors.ErrUnsupported on this system.
func (p *Pool) Add(net.Conn, func()) (*Source, error) { return nil, errors.ErrUnsupported }

// Wait would have the source run once.
func (*Source) Wait(time.Time) {}

// Wake would have the source run soon.
func (*Source) Wake() {}

// TryRead would read without blocking.
func (*Source) TryRead([]byte) (int, error) { return 0, errors.ErrUnsupported }

// Close would take the source out of the pool.
func (*Source) Close() {}
