package event

import (
	"slices"

	"sluice/hub"
)

// updateBatch is how many sessions one update holds at the most.
const updateBatch = 500

// update tells the sessions that there are. A receiver that was not told all of the last ones yet
// is not told these: there is no use in old ones.
func (n *Notifier) update() {
	var to []*queue
	for _, q := range n.queues {
		if !q.holds(TypeUpdate) {
			to = append(to, q)
		}
	}
	if len(to) == 0 {
		return
	}
	sessions := slices.DeleteFunc(n.cfg.Sessions(), func(s hub.SessionInfo) bool { return s.Session.Key().IsCheck() })
	for len(sessions) > 0 {
		batch := sessions[:min(len(sessions), updateBatch)]
		sessions = sessions[len(batch):]
		e := n.newEvent(TypeUpdate)
		for _, s := range batch {
			e.Sessions = append(e.Sessions, Running{
				Session: *sessionOf(s.Session), Stream: s.Session.Shown(), State: s.State.String(),
				Since: s.Since, Bytes: s.Bytes, Dropped: s.Dropped, Standby: s.Standby,
			})
		}
		for _, q := range to {
			q.add(&e)
		}
	}
}
