package door

import (
	"sync"
	"time"
)

// verdict is what became of a connection.
type verdict uint8

const (
	admitted verdict = iota
	givenUp
	full         // turned away, there are enough in all
	tooManyAlike // turned away, there are enough from its address
)

// Times of the lines in the log.
const (
	// firstReport is how long after the first connection that was given up or
	// turned away a line says how many these are by now.
	firstReport = time.Second
	// nextReport is the time between two lines.
	nextReport = 10 * time.Second
)

// report is what the log has been told, and when it will be told more.
type report struct {
	timer  *time.Timer // nil while there is nothing to tell
	told   Figures
	closed bool
	work   sync.WaitGroup // a timer that has not fired
}

// countLocked notes a verdict that is worth a line.
func (d *Door) countLocked(why verdict) {
	switch why {
	case givenUp:
		d.figures.GivenUp++
	case full:
		d.figures.TurnedFull++
	case tooManyAlike:
		d.figures.TurnedAlike++
	}
	if d.report.timer == nil && !d.report.closed {
		d.reportInLocked(firstReport)
	}
}

func (d *Door) reportInLocked(after time.Duration) {
	d.report.work.Add(1)
	d.report.timer = time.AfterFunc(after, func() {
		defer d.report.work.Done()
		d.tell()
	})
}

// tell writes a line if there is something new to tell, and sees to the next one.
func (d *Door) tell() {
	d.mu.Lock()
	f, told := d.figuresLocked(), d.report.told
	news := f.GivenUp+f.TurnedFull+f.TurnedAlike != told.GivenUp+told.TurnedFull+told.TurnedAlike
	var most *address
	var from string
	var fromPending int
	if most = d.crowd.most(); most != nil {
		from, fromPending = most.key.String(), most.pending.n
	}
	d.report.told = f
	d.report.timer = nil
	if news && !d.report.closed {
		d.reportInLocked(nextReport)
	}
	d.mu.Unlock()
	if !news {
		return
	}
	d.cfg.Logger.Warn("connections given up or turned away",
		"given_up", f.GivenUp-told.GivenUp,
		"turned_away", f.TurnedFull-told.TurnedFull,
		"turned_away_by_address", f.TurnedAlike-told.TurnedAlike,
		"admitted", f.Admitted-told.Admitted,
		"open", f.Open, "pending", f.Pending, "max_connections", d.cfg.MaxConnections,
		"most_pending_from", from, "most_pending", fromPending)
}

// Close ends the door's lines in the log, with a last one if there is something to
// tell. Connections are left alone.
func (d *Door) Close() {
	d.mu.Lock()
	d.report.closed = true
	if d.report.timer != nil && d.report.timer.Stop() {
		d.report.work.Done()
	}
	d.mu.Unlock()
	d.report.work.Wait()
	d.tell()
}
