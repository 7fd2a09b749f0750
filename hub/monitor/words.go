package monitor

import (
	"math"
	"slices"
	"time"
)

// Health is something that is wrong with a stream.
type Health struct {
	Word     string // one of Words
	Sentence string // with the figure that was measured
	Hint     string // what to change in the encoder
	Since    time.Time
	// Value was measured last, Limit is what is still good; NaN where there is no such figure.
	Value, Limit float64
	Unit         string // of both; "" for a plain number
}

// verdict is what a rule says of a stream.
type verdict uint8

const (
	unknown verdict = iota // nothing can be said: a word that is on stays so
	good
	bad
)

// finding is a verdict, and the figures that a sentence is made of.
type finding struct {
	verdict verdict
	value   float64
	limit   float64
	other   float64 // a second figure
	what    string  // or the name of something
}

// word is a rule that was broken: for long enough, then it is on, or about to be.
//
//	          bad                  bad for rule.begins
//	(none) ─────────▶ about to be ─────────────────────▶ on ──┐
//	   ▲                   │                              ▲   │ good
//	   │  good, or unknown │                          bad │   ▼
//	   ├───────────────────┘                              on, and good
//	   └────────────────────────────────────────────────────┘ for rule.ends
type word struct {
	rule  uint8
	on    bool
	well  bool
	since time.Duration // bad since
	from  time.Duration // good since, if well
	found finding       // the last bad one
}

// turn is what became of a word.
type turn uint8

const (
	stays turn = iota
	begins
	ends
)

// judge takes what a rule has found.
func (s *stream) judge(rule int, f finding, now time.Duration) turn {
	i := slices.IndexFunc(s.words, func(w word) bool { return int(w.rule) == rule })
	if i < 0 {
		if f.verdict != bad {
			return stays
		}
		i = len(s.words)
		s.words = append(s.words, word{rule: uint8(rule), since: now})
	}
	w, r := &s.words[i], &rules[rule]
	switch f.verdict {
	case unknown:
		if !w.on {
			s.drop(rule)
		}
	case bad:
		w.found, w.well = f, false
		if !w.on && now-w.since >= r.begins {
			w.on = true
			return begins
		}
	case good:
		if !w.on {
			s.drop(rule)
			return stays
		}
		if !w.well {
			w.well, w.from = true, now
		}
		if now-w.from >= r.ends {
			return ends
		}
	}
	return stays
}

// word returns the word of a rule, which there must be.
func (s *stream) word(rule int) *word {
	return &s.words[slices.IndexFunc(s.words, func(w word) bool { return int(w.rule) == rule })]
}

// drop removes the word of a rule.
func (s *stream) drop(rule int) {
	s.words = slices.DeleteFunc(s.words, func(w word) bool { return int(w.rule) == rule })
	if len(s.words) == 0 {
		s.words = nil
	}
}

// health returns a word as it is told.
func (m *Monitor) health(w *word) Health {
	r, f := &rules[w.rule], w.found
	of := Health{
		Word: r.word, Sentence: r.sentence(f), Hint: r.hint, Since: m.at(w.since), Value: f.value, Limit: f.limit, Unit: r.unit,
	}
	if r.unit == noFigure {
		of.Value, of.Limit, of.Unit = math.NaN(), math.NaN(), ""
	}
	return of
}

// Words returns all words that there are.
func Words() (all []string) {
	for i := range rules {
		all = append(all, rules[i].word)
	}
	return all
}
