package relay

import (
	"maps"
	"sync"
	"time"
)

// moves are where servers have asked Sources to connect anew: the next opening of the same URL begins
// there.
type moves struct {
	mu sync.Mutex
	to map[string]move // by the configured URL
}

// move is where one leads.
type move struct {
	url   string
	until time.Time
}

// Bounds of moves.
const (
	maxMoves = 1000
	// moveHolds is for how long a move counts: a relay that goes on does so at once.
	moveHolds = time.Minute
)

// put notes that what is configured as one URL has moved to another.
func (m *moves) put(configured, to string, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.to) >= maxMoves {
		maps.DeleteFunc(m.to, func(_ string, to move) bool { return now.After(to.until) })
	}
	if m.to == nil {
		m.to = map[string]move{}
	}
	if len(m.to) < maxMoves {
		m.to[configured] = move{to, now.Add(moveHolds)}
	}
}

// take returns where a URL has moved to, "" for nowhere, and forgets it.
func (m *moves) take(configured string, now time.Time) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	to, ok := m.to[configured]
	delete(m.to, configured)
	if !ok || now.After(to.until) {
		return ""
	}
	return to.url
}
