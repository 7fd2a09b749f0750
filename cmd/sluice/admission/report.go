package admission

import (
	"sync"
	"time"
)

// verdict is what became of a connection.
type verdict uint8

const (
	admitted verdict = iota
	givenUp
	full          // turned away: there are enough in all
	fullOfAddress // turned away: there are enough from its address
)

// When the lines in the log are written.
const (
	// firstReport is how long after the first connection was given up or turned away
	// a line says how many have been by then.
	firstReport = time.Second
	// nextReport is the time from one line to the next.
	nextReport = 10 * time.Second
)

// report is what the log has been told, and when it is told more.
type report struct {
	timer  *time.Timer // nil while there is nothing to tell
	told   Figures
	closed bool
	work   sync.WaitGroup // waits for a timer's function
}

// countLocked counts a verdict that is worth a line in the log.
func (a *Control) countLocked(c *conn, why verdict) {
	c.tally.count(why)
	switch why {
	case givenUp:
		a.figures.GivenUp++
	case full:
		a.figures.TurnedFull++
	case fullOfAddress:
		a.figures.TurnedByAddress++
	}
	if a.report.timer == nil && !a.report.closed {
		a.reportInLocked(firstReport)
	}
}

func (a *Control) reportInLocked(after time.Duration) {
	a.report.work.Add(1)
	a.report.timer = time.AfterFunc(after, func() {
		defer a.report.work.Done()
		a.tell()
	})
}

// tell writes a line if there is something new, and then sets the timer for the next.
func (a *Control) tell() {
	a.mu.Lock()
	f, told := a.figuresLocked(), a.report.told
	news := f.GivenUp+f.TurnedFull+f.TurnedByAddress != told.GivenUp+told.TurnedFull+told.TurnedByAddress
	var from string
	var fromPending int
	if most := a.pending.most(); most != nil {
		from, fromPending = most.of.key.String(), most.n
	}
	a.report.told = f
	a.report.timer = nil
	if news && !a.report.closed {
		a.reportInLocked(nextReport)
	}
	a.mu.Unlock()
	if !news {
		return
	}
	a.cfg.Logger.Warn("connections given up or turned away",
		"given_up", f.GivenUp-told.GivenUp,
		"turned_away", f.TurnedFull-told.TurnedFull,
		"turned_away_by_address", f.TurnedByAddress-told.TurnedByAddress,
		"admitted", f.Admitted-told.Admitted,
		"open", f.Open, "pending", f.Pending, "asking", f.Asking, "idle", f.Idle,
		"max_connections", a.cfg.MaxConnections,
		"most_pending_from", from, "most_pending", fromPending)
}

// Close ends the reports in the log, with a last line if there is something new.
// Connections are left alone.
func (a *Control) Close() {
	a.mu.Lock()
	a.report.closed = true
	if a.report.timer != nil && a.report.timer.Stop() {
		a.report.work.Done()
	}
	a.mu.Unlock()
	a.report.work.Wait()
	a.tell()
}
