package hub

import "sluice/flv"

// Lacks says that there is no main track of a type, as far as who publishes knows, who was told by
// another server: nobody waits for one to show (trackWait). One that comes all the same is taken. It
// holds for what is published now, until Restart.
func (p *Publisher) Lacks(typ flv.Type) {
	s := p.stream
	s.update(func() {
		if s.pub != p {
			return
		}
		if t := &s.session.tracks[mainTrack(typ)]; !t.state.known() {
			t.state = trackGone
			if !s.session.begun.IsZero() {
				s.decideIfKnownLocked()
			}
		}
	})
}
