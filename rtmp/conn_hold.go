package rtmp

import (
	"slices"
	"time"
)

// holdMore reads once, as receive does, at most n bytes, which are held: Read returns
// them before anything else.
func (c *conn) holdMore(n int, deadline, now time.Time) error {
	held := len(c.held)
	c.held = slices.Grow(c.held, n)
	n, err := c.receive(c.held[held:held+n], deadline, now)
	c.held = c.held[:held+n]
	if len(c.held) == 0 {
		c.held = nil
	}
	if n > 0 {
		return nil // an error comes again
	}
	return err
}

// readHeld takes held bytes.
func (c *conn) readHeld(p []byte) int {
	n := copy(p, c.held)
	if c.held = c.held[n:]; len(c.held) == 0 {
		c.held = nil
	}
	return n
}

// sleep has run called once, in a goroutine of its own: at a time, or after interrupt,
// even if that came first. Bytes that come do not matter. It returns at once.
func (c *conn) sleep(until time.Time, run func()) {
	c.armMu.Lock()
	defer c.armMu.Unlock()
	d := time.Until(until)
	if c.interrupted {
		c.interrupted, c.armed = false, past
		d = 0
	}
	var timer *time.Timer
	timer = time.AfterFunc(d, func() {
		c.armMu.Lock()
		due := c.asleep == timer // not so after an interrupt at that very moment
		if due {
			c.asleep = nil
		}
		c.armMu.Unlock()
		if due {
			run()
		}
	})
	c.asleep = timer
}
