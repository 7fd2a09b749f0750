package event

import (
	"sync"

	"sluice/hub/relay"
)

// Relay is a stream that is pulled from another server, or pushed to one.
type Relay struct {
	ID    string `json:"id"`    // of the rule
	Kind  string `json:"kind"`  // "pull", "origin" or "push"
	State string `json:"state"` // "live", "backing off", "refused", "held", or "idle" when it is over
	URL   string `json:"url"`   // without user, query and the name at its end
}

// maxRelayed bounds the connections of which it is known what was told last. Beyond it some state may
// be told twice.
const maxRelayed = 10_000

// relayed knows what was told last of each connection of relays. The zero value is ready.
type relayed struct {
	mu   sync.Mutex
	last map[relayedOf]relay.State
}

type relayedOf struct{ rule, stream string }

// take reports whether a state is told: one that a try or a slow moment passes through is not, and
// what was told last is not told again, so that a connection that fails time after time is told once.
func (r *relayed) take(e relay.Event) bool {
	if e.State == relay.Connecting || e.State == relay.Slow {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	of := relayedOf{e.Rule, e.Key.String()}
	last, known := r.last[of] // Idle if there was none
	switch {
	case last == e.State:
		return false
	case e.State == relay.Idle:
		delete(r.last, of)
		return true
	case !known && len(r.last) >= maxRelayed || r.last == nil:
		r.last = make(map[relayedOf]relay.State)
	}
	r.last[of] = e.State
	return true
}

// Relayed is told of the states of relays (relay.Config.Told).
func (n *Notifier) Relayed(r relay.Event) {
	if !n.relayed.take(r) {
		return
	}
	e := n.newEvent(TypeRelay)
	e.Time = r.Since
	e.setKey(r.Key)
	e.Detail = clip(r.Detail, maxDetail)
	e.Relay = &Relay{ID: r.Rule, Kind: r.Kind.String(), State: r.State.String(), URL: r.URL.String()}
	n.emit(&e)
}
