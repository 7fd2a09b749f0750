package monitor

import (
	"math"
	"time"

	"sluice/hub"
)

// The figures of the server as a whole.
const (
	wholeStreams = iota
	wholeViewers
	wholeIn
	wholeOut
	wholeRefused
	wholeCPU
	wholeMemory
	wholeFigures
)

var wholeNames = [wholeFigures]string{"streams", "viewers", "bits_in", "bits_out", "refused", "cpu", "memory"}

// whole is what is kept of the server.
type whole struct {
	values [wholeFigures][]float64 // the oldest first
	at     time.Duration
	before sums
}

// sums are what the figures of one step are differences of.
type sums struct {
	in, out, refused float64
	cpu              time.Duration // negative if it cannot be told
}

// lookWhole looks at the server.
func (m *Monitor) lookWhole() {
	totals := m.cfg.Hub.Totals()
	cpu, memory := time.Duration(-1), int64(-1)
	if m.cfg.Usage != nil {
		cpu, memory = m.cfg.Usage()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Since(m.began)
	w := &m.whole
	sum := sums{cpu: cpu}
	var figures [wholeFigures]float64
	for i := range totals {
		t := &totals[i]
		bits := float64(t.Bytes) * 8
		if t.Role == hub.RolePublish {
			sum.in += bits
			figures[wholeStreams] += float64(t.Running())
		} else {
			sum.out += bits
			figures[wholeViewers] += float64(t.Running())
		}
		for _, n := range t.Refused {
			sum.refused += float64(n)
		}
	}
	figures[wholeMemory] = math.NaN()
	if memory >= 0 {
		figures[wholeMemory] = float64(memory)
	}
	passed, before := now-w.at, w.before
	w.before, w.at = sum, now
	if w.values[0] == nil {
		w.skip(wholePoints)
		return // there is nothing yet to compare with
	}
	if passed <= 0 {
		return
	}
	span := passed.Seconds()
	figures[wholeIn], figures[wholeOut] = (sum.in-before.in)/span, (sum.out-before.out)/span
	figures[wholeRefused], figures[wholeCPU] = sum.refused-before.refused, math.NaN()
	if sum.cpu >= 0 && before.cpu >= 0 {
		figures[wholeCPU] = (sum.cpu - before.cpu).Seconds() / span
	}
	w.skip(min(int((passed+wholeStep/2)/wholeStep)-1, wholePoints)) // looks that came too late to be
	w.add(figures)
}

// add adds a point of each figure, in place of the oldest.
func (w *whole) add(figures [wholeFigures]float64) {
	for i, v := range figures {
		if len(w.values[i]) >= wholePoints {
			copy(w.values[i], w.values[i][1:])
			w.values[i] = w.values[i][:wholePoints-1]
		}
		w.values[i] = append(w.values[i], v)
	}
}

// skip adds so many points without anything.
func (w *whole) skip(n int) {
	var nothing [wholeFigures]float64
	for i := range nothing {
		nothing[i] = math.NaN()
	}
	for range n {
		w.add(nothing)
	}
}

// Whole returns the series of the server: "streams" that are published, "viewers" that watch, "bits_in"
// and "bits_out" per second, "refused" sessions in each step, "cpu" in cores and "memory" in bytes.
func (m *Monitor) Whole() Series {
	m.mu.Lock()
	defer m.mu.Unlock()
	of := Series{Step: wholeStep, End: m.at(m.whole.at), Points: make(map[string][]float64, wholeFigures)}
	for i, name := range wholeNames {
		of.Points[name] = append([]float64{}, m.whole.values[i]...)
	}
	return of
}
