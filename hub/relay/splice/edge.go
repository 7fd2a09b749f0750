package splice

// edgeWindow is for how long the least late packet counts, in ms: twice that at the most.
const edgeWindow = 10_000

// edge is when packets come at the earliest: their arrival minus their timestamp, the least of the
// last seconds. By it the clock of a new connection is compared with the run's. The zero value has
// seen none.
type edge struct {
	cur, prev uint32
	since     uint32
	have      bool
}

// note takes what a packet's arrival is minus its timestamp, and its arrival; both in ms.
func (e *edge) note(v, came uint32) {
	off := diff(v, e.cur)
	switch {
	case !e.have || off > edgeWindow || off < -edgeWindow: // the first, or its clock has jumped
		*e = edge{cur: v, prev: v, since: came, have: true}
	case off < 0:
		e.cur = v
	}
	if came-e.since > edgeWindow {
		e.prev, e.cur, e.since = e.cur, v, came
	}
}

// value returns the least of the last seconds.
func (e *edge) value() uint32 {
	if diff(e.prev, e.cur) < 0 {
		return e.prev
	}
	return e.cur
}
