package fanout

import "sluice/hub"

// An outlet also carries media that is no viewer's of the hub, such as that of a file. Whoever
// has some sends a piece at a time, and the next one when the connection has taken
// everything:
//
//	Send ──▶ Drained ──▶ Send ──▶ …
//
// So backpressure reaches the sender, which may do something else while it waits. How
// long it may take is Config.WriteTimeout, as for viewers.

// Send is Write for a piece of media, which has no bound of its own: one frame may have
// megabytes.
func (o *Outlet) Send(p []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sendMediaLocked(p)
	return o.err
}

func (o *Outlet) sendMediaLocked(p []byte) {
	switch o.state {
	case flowing:
		o.sendLocked(nil, p)
	case draining:
		o.queueLocked(p)
		o.wakeDrainLocked()
	}
}

// Drained returns a channel that is closed when the connection has taken everything that
// was written to the outlet, or the outlet has closed.
func (o *Outlet) Drained() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.state == flowing || o.state == closed {
		return always
	}
	if o.empty == nil {
		o.empty = make(chan struct{})
	}
	o.wakeDrainLocked()
	return o.empty
}

// always is a closed channel.
var always = func() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// Err returns why the outlet closed, nil if it is open.
func (o *Outlet) Err() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

// ReasonOf returns the hub's reason for an end by err, an error of an Outlet.
func ReasonOf(err error) hub.Reason { return reasonOf(err) }
