package event

import (
	"sync"

	"sluice/hub"
	"sluice/hub/archive"
	"sluice/hub/record"
)

// Recorded is told what happens to recordings (record.Config.Observe).
func (n *Notifier) Recorded(r record.Event) {
	typ := TypeRecordBegun
	switch r.Kind {
	case record.EventBegun:
	case record.EventFinished:
		typ = TypeRecordFinished
	default:
		return
	}
	n.recorded(n.recordEvent(typ, r.Recording))
}

func (n *Notifier) recordEvent(typ Type, r archive.Recording) *Event {
	e := n.newEvent(typ)
	e.setKey(r.Key)
	e.Recording = recordingOf(r, typ == TypeRecordFinished)
	return &e
}

// recorded tells of a recording, once that is written down.
func (n *Notifier) recorded(e *Event) {
	switch {
	case n.spool == nil:
		n.emit(e)
	case !n.spool.note(e):
		n.lost(1)
	}
}

// resume tells of recordings of which a process that died has not told.
func (n *Notifier) resume() {
	var begun []begun
	if n.spool != nil {
		var untold []*Event
		untold, begun = n.spool.resume()
		for _, e := range untold {
			n.emit(e)
		}
	}
	known := make(map[string]bool)
	finished := func(r archive.Recording) {
		e := n.recordEvent(TypeRecordFinished, r)
		e.Recording.Recovered = true
		if path := e.Recording.Path; !known[path] {
			known[path] = true
			n.recorded(e)
		}
	}
	for _, r := range n.cfg.Recovered {
		finished(r)
	}
	for _, b := range begun {
		if n.cfg.Find == nil {
			break
		}
		r, err := n.cfg.Find(hub.Key{App: b.App, Name: b.Name}, b.ID)
		switch {
		case err != nil:
			n.spool.forget(b)
		case r.State != archive.StateRecording:
			finished(r)
		}
	}
}

// awaited says by how many receivers finished recordings have still to be taken.
type awaited struct {
	receivers int
	told      func(id string) // nil where nobody asks

	mu   sync.Mutex
	left map[string]int // of those that some have taken, and not all
}

// settle notes that a receiver need not be told again.
func (a *awaited) settle(id string) {
	if a.told == nil {
		return
	}
	a.mu.Lock()
	left, known := a.left[id]
	if !known {
		left = a.receivers
	}
	left--
	switch {
	case left <= 0:
		delete(a.left, id)
	case a.left == nil || len(a.left) >= maxUntold: // those that are forgotten are told twice
		a.left = map[string]int{id: left}
	default:
		a.left[id] = left
	}
	a.mu.Unlock()
	if left <= 0 {
		a.told(id)
	}
}
