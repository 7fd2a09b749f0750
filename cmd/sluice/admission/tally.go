package admission

// tally counts the connections of one listener, as Figures do those of all. It is guarded by
// Control.mu.
type tally struct {
	now  [closed + 1]int           // in each state
	been [fullOfAddress + 1]uint64 // of each verdict
}

// move counts a connection that was admitted, is in another state, or is closed.
func (t *tally) move(from, to state) {
	t.now[from]--
	t.now[to]++
}

// count counts a verdict.
func (t *tally) count(v verdict) { t.been[v]++ }

// figures returns the numbers.
func (t *tally) figures() Figures {
	return Figures{
		Open:    t.now[idle] + t.now[pending] + t.now[asking] + t.now[active],
		Pending: t.now[pending], Asking: t.now[asking], Idle: t.now[idle],
		Admitted: t.been[admitted], GivenUp: t.been[givenUp],
		TurnedFull: t.been[full], TurnedByAddress: t.been[fullOfAddress],
	}
}
