package event

import (
	"sluice/hub/monitor"
)

// Health is something that is wrong with what a publisher sends.
type Health struct {
	Word     string `json:"word"`     // of a fixed set
	Sentence string `json:"sentence"` // with what was measured
	Hint     string `json:"hint"`     // what to change in the encoder
	Begins   bool   `json:"begins"`   // or ends
}

// Watched is told what is wrong with publishers, and no longer is (monitor.Config.Observe).
func (n *Notifier) Watched(w monitor.Event) {
	if w.Session.Key().IsCheck() {
		return
	}
	e := n.newEvent(TypeHealth)
	e.Time = w.Time
	e.Session, e.Stream = sessionOf(w.Session), w.Session.Shown()
	if key := w.Session.Key(); key.String() == e.Stream {
		e.App, e.Name = key.App, key.Name
	}
	e.Health = &Health{w.Word, w.Sentence, w.Hint, w.Begins}
	n.emit(&e)
}
