package relay

import (
	"slices"

	"sluice/hub"
)

// publishers are the sessions that publish a stream, by id; true for those that stand in for others (hub.Session.Yields):
// pulls, and copies of what another of several servers has.
type publishers map[uint64]bool

// isLiveLocked reports whether somebody publishes a stream who stands in for nobody.
func (r *Relay) isLiveLocked(key hub.Key) bool {
	for _, yields := range r.live[key] {
		if !yields {
			return true
		}
	}
	return false
}

// isLive reports whether somebody publishes a stream who stands in for nobody, here or elsewhere.
func (r *Relay) isLive(key hub.Key) bool {
	r.mu.Lock()
	live := r.isLiveLocked(key)
	r.mu.Unlock()
	return live || r.cfg.Elsewhere != nil && r.cfg.Elsewhere(key)
}

// noteLocked notes that a session publishes a stream.
func (r *Relay) noteLocked(key hub.Key, who *hub.Session) {
	if r.live[key] == nil {
		r.live[key] = make(publishers, 1)
	}
	r.live[key][who.ID()] = who.Yields()
}

// look finds out anew who publishes what and which streams viewers wait for, since events were lost
// (hub.EventLost). Those that are told afterwards may be older than what it sees, and change nothing
// twice.
func (r *Relay) look() {
	there := make(map[hub.Key][]*hub.Session)
	waits := make(map[hub.Key]*hub.Session)
	for _, s := range r.cfg.Hub.Sessions() {
		key := s.Session.Key()
		switch {
		case s.Session.Role() == hub.RolePublish && s.State == hub.SessionRunning:
			there[key] = append(there[key], s.Session)
		case s.Session.Role() == hub.RoleWatch && s.State == hub.SessionWaiting && waits[key] == nil:
			waits[key] = s.Session
		}
	}
	r.mu.Lock()
	for key, sessions := range r.live {
		for id := range sessions {
			if !slices.ContainsFunc(there[key], func(who *hub.Session) bool { return who.ID() == id }) {
				r.unpublishedLocked(key, id)
			}
		}
	}
	for key, sessions := range there {
		for _, who := range sessions {
			if _, known := r.live[key][who.ID()]; !known {
				r.publishedLocked(key, who)
			}
		}
	}
	r.mu.Unlock()
	for key, who := range waits {
		if len(there[key]) == 0 {
			r.want(key, who)
		}
	}
}
