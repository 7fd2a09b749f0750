package hub

import "time"

// Link is what serves a viewer, and knows how its bytes get on.
type Link interface {
	// Delivery may ask the operating system. It is called with no lock held, for as many
	// viewers as somebody looks at.
	Delivery() Delivery
}

// Delivery is how the bytes of a viewer get on, at one moment.
type Delivery struct {
	// Congested is since when the connection has not taken all that was due; the zero Time
	// while it does.
	Congested time.Time
	// Unwritten is how many bytes were framed that the connection has not taken.
	Unwritten int
	// Unacknowledged is how many bytes the operating system holds that the peer has not
	// acknowledged, those included that it has not sent yet; -1 where it does not tell.
	Unacknowledged int
	// Unanswered is how often it has sent some of them again, with no answer since.
	Unanswered int
	// Closed says that the peer has no room for more: its system answers, and the program
	// there does not read.
	Closed bool
	// Asked is how often it has been asked since then whether it has room again: after 0.2 s,
	// 0.6 s, 1.4 s, 3 s and so on, where the round trip is short.
	Asked int
	// Written is when bytes were last sent on the connection, and Acknowledged when its peer
	// was last heard to have taken some; the zero Time where that is not known.
	Written, Acknowledged time.Time
	// Rewinding says that the viewer is still given what was recorded, before it goes on in
	// its stream's log.
	Rewinding bool
}

// ServeBy notes what serves the viewer. It is for who drives it.
func (v *Viewer) ServeBy(l Link) {
	s := v.stream.Load()
	s.mu.RLock()
	defer s.mu.RUnlock()
	v.session.link = l
}
