package event

import (
	"errors"
	"math/rand/v2"
	"time"
)

// startLocked has workers do what is ready.
func (q *queue) startLocked() {
	for n := len(q.ready); n > 0 && q.busy < q.workers && !q.stopped; n-- {
		q.busy++
		q.running.Go(q.work)
	}
}

// work delivers until nothing is ready.
func (q *queue) work() {
	q.mu.Lock()
	defer q.mu.Unlock()
	defer func() { q.busy-- }()
	for !q.stopped {
		en := q.nextLocked()
		if en == nil {
			return
		}
		e := en.told
		q.mu.Unlock()
		err := q.deliver(q.ctx, e)
		q.mu.Lock()
		after := q.deliveredLocked(en, err)
		q.mu.Unlock()
		for _, f := range after {
			f()
		}
		q.mu.Lock()
	}
}

// nextLocked returns what is to be delivered now, nil for nothing.
func (q *queue) nextLocked() *entry {
	for len(q.ready) > 0 {
		l := q.ready[0]
		q.ready[0] = nil
		q.ready = q.ready[1:]
		front := l.entries.Front()
		if front == nil { // all of it was dropped
			delete(q.lanes, l.key)
			continue
		}
		l.state = laneDelivering
		en := front.Value.(*entry)
		q.prepareLocked(en)
		return en
	}
	return nil
}

// prepareLocked makes what the receiver is told, once for all attempts.
func (q *queue) prepareLocked(en *entry) {
	en.flying = true
	if en.told != nil {
		q.totals.Retried++
		return
	}
	en.first = time.Now()
	var e Event
	if en.isGap {
		e = q.newEvent(TypeGap)
		e.Lost, e.LostFrom, e.LostTo = q.gap.lost, q.gap.from, q.gap.to
		q.gap = gap{}
	} else {
		e = *en.event
	}
	e.Seq = en.seq
	en.told = &e
}

// deliveredLocked notes how an attempt went. What it returns is to be called without the lock.
func (q *queue) deliveredLocked(en *entry, err error) (after []func()) {
	l := en.lane
	en.flying = false
	defer q.reviewEmptyLocked()
	if err == nil {
		return q.takenLocked(en)
	}
	if q.stopped { // which may be why
		l.state = laneIdle
		return nil
	}
	q.totals.Failed++
	var why failure
	if f, ok := errors.AsType[*failure](err); ok {
		why = *f
	}
	if why.told {
		return append(q.takenLocked(en), func() {
			q.log.Warn("event failed", "event", en.told.ID, "type", en.told.Type, "error", err)
		})
	}
	l.fails++
	if why.refused {
		en.refusals++
	} else {
		after = append(after, q.failingLocked(err))
	}
	switch {
	case en.refusals >= maxRefusals:
		l.fails = 0
		after = append(after, q.giveUpLocked(en, err, false))
		q.moveOnLocked(l, 0)
	case time.Since(en.first) >= patience:
		after = append(after, q.giveUpLocked(en, err, true))
		q.moveOnLocked(l, pauseAfter(l.fails))
	default:
		q.moveOnLocked(l, max(pauseAfter(l.fails), min(why.after, maxPause)))
	}
	return after
}

// takenLocked notes that the receiver has taken an event.
func (q *queue) takenLocked(en *entry) (after []func()) {
	q.totals.Sent++
	q.removeLocked(en)
	if q.failing {
		q.failing = false
		after = append(after, func() { q.log.Info("events are taken again") })
	}
	if id := en.told.ID; en.told.Type == TypeRecordFinished && q.settled != nil {
		after = append(after, func() { q.settled(id) })
	}
	en.lane.fails = 0
	q.moveOnLocked(en.lane, 0)
	kept := q.kept
	q.kept = nil
	for _, e := range kept {
		q.addLocked(e)
	}
	q.tellGapLocked()
	q.startLocked()
	return after
}

// reviewEmptyLocked tells who waits for it that nothing is left.
func (q *queue) reviewEmptyLocked() {
	if q.empty != nil && q.order.Len() == 0 {
		close(q.empty)
		q.empty = nil
	}
}

// giveUpLocked drops an event that has been tried.
func (q *queue) giveUpLocked(en *entry, err error, again bool) (after func()) {
	q.removeLocked(en)
	q.dropLocked(en, again)
	id, typ := en.told.ID, en.told.Type
	settled := q.settled
	return func() {
		q.log.Warn("event dropped, it was not taken", "event", id, "type", typ, "error", err)
		if typ == TypeRecordFinished && !again && settled != nil {
			settled(id)
		}
	}
}

// failingLocked notes that the receiver takes nothing; one line until it does again.
func (q *queue) failingLocked(err error) (after func()) {
	told := q.failing
	q.failing = true
	return func() {
		if !told {
			q.log.Warn("events are not taken, and tried again", "error", err)
		}
	}
}

// moveOnLocked has a lane deliver its next event after a pause.
func (q *queue) moveOnLocked(l *lane, pause time.Duration) {
	switch {
	case l.entries.Len() == 0 && pause == 0:
		delete(q.lanes, l.key)
	case pause == 0:
		q.readyLocked(l)
	default:
		l.state = lanePausing
		l.pause = time.AfterFunc(pause, func() {
			q.mu.Lock()
			defer q.mu.Unlock()
			if l.state == lanePausing {
				q.readyLocked(l)
				q.startLocked()
			}
		})
	}
}

// pauseAfter returns for how long to wait after so many attempts that failed: half of it is
// left to chance, so that not all come back at once.
func pauseAfter(fails int) time.Duration {
	d := maxPause
	if n := fails - 1; n < 5 {
		d = min(maxPause, firstPause<<max(n, 0))
	}
	return d/2 + rand.N(d/2)
}
