package cluster_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"sluice/hub"
)

const (
	// settledWithin is how long after everything is well again it may take until each name has one owner, whom everybody
	// watches.
	settledWithin = 8 * time.Second
	// freeWithin is how long after its last publisher has gone a name may be taken.
	freeWithin = grace + 6*time.Second
	// emptyWithin is how long there may be records that are nobody's.
	emptyWithin = 110 * time.Second
)

// acceptedLocked judges that an encoder was let in.
func (w *world) acceptedLocked(s *show) {
	if w.calmForLocked() < settledWithin {
		return
	}
	for _, other := range w.shows {
		if other.stream != s.stream || other.over || len(other.told) > 0 || time.Since(other.wrote) > time.Second {
			continue
		}
		if !isSame(other.query, s.query) {
			w.failLocked("%s: show %d was let in at %s, though show %d goes on at %s",
				s.stream, s.number, s.node.name, other.number, other.node.name)
		}
	}
}

// refused judges that an encoder was not let in.
func (e *encoder) refused(n *node, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	why := refusalOf(err)
	e.logLocked("encoder %d of %s is not let in at %s: %v", e.id, e.stream, n.name, err)
	if n.isDead() || e.calmForLocked() < settledWithin || why != nil && why.Reason == hub.ReasonShuttingDown {
		return
	}
	if why == nil || why.Reason != hub.ReasonBusy {
		e.failLocked("%s: encoder %d was refused with %v", e.stream, e.id, err)
	}
}

// ended judges that the hub has ended an encoder.
func (s *show) ended(why *hub.Refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.logLocked("show %d of %s at %s is told: %v", s.number, s.stream, s.node.name, why)
	switch why.Reason {
	case hub.ReasonShuttingDown:
	case hub.ReasonBusy: // it stood by, and a stranger was let in before it could follow
		for _, other := range s.shows {
			if other.stream == s.stream && !isSame(other.query, s.query) && (!other.over || time.Since(other.wrote) < time.Minute) {
				return
			}
		}
		s.failLocked("%s: show %d, which stood by, was refused: %v", s.stream, s.number, why)
	case hub.ReasonReplaced:
		for _, other := range s.shows {
			if other != s && other.stream == s.stream && (!other.over || time.Since(other.wrote) < time.Minute) {
				return
			}
		}
		for _, e := range s.encoders {
			if e.asking && e.stream == s.stream {
				return // it is about to be let in
			}
		}
		if !s.rival && s.calmForLocked() >= settledWithin {
			s.failLocked("%s: show %d was replaced by nobody", s.stream, s.number)
		}
	default:
		s.failLocked("%s: show %d was ended: %v", s.stream, s.number, why)
	}
}

// judge looks at what has to be so at any time.
func (w *world) judge() {
	records := w.engine.Records()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, entry := range records {
		var o told
		if json.Unmarshal(entry.Value, &o) == nil {
			w.confirmedLocked(&o)
		}
	}
	for _, v := range w.viewers {
		if why := v.ended(); why != hub.ReasonNone && !v.judged {
			v.judged = true
			w.judgeViewerLocked(v)
			if v.node.isDead() {
				continue
			}
			w.logLocked("viewer of %s at %s ended: %v", v.stream, v.node.name, why)
			if w.calmForLocked() < settledWithin+grace {
				continue
			}
			for _, s := range w.shows {
				if s.stream == v.stream && !s.over && time.Since(s.began) > settledWithin+grace {
					w.failLocked("%s: a viewer at %s was ended, with %v, though show %d goes on at %s",
						v.stream, v.node.name, why, s.number, s.node.name)
				}
			}
		}
	}
}

// judgeViewerLocked looks at what a viewer was given.
func (w *world) judgeViewerLocked(v *watching) {
	seen := make(map[string]bool)
	for _, text := range v.pictures() {
		if seen[text] {
			w.logLocked("in order: %v", firsts(v.pictures()))
			w.failLocked("%s: a viewer at %s was given picture %q twice", v.stream, v.node.name, text)
			return
		}
		seen[text] = true
		var number, picture int
		_, _ = fmt.Sscanf(text, "%d %d", &number, &picture)
		if s := w.shows[number]; s.banned && picture >= s.first && (picture < s.last || s.last == 0) {
			w.failLocked("%s: a viewer at %s was given picture %q, which came too late", v.stream, v.node.name, text)
			return
		}
	}
}

// firsts returns of each run of pictures in a row the first and the last.
func firsts(pictures []string) (out []string) {
	for i, text := range pictures {
		var a, b, c, d int
		_, _ = fmt.Sscanf(text, "%d %d", &a, &b)
		if i > 0 {
			_, _ = fmt.Sscanf(pictures[i-1], "%d %d", &c, &d)
		}
		if i == 0 || a != c || b != d+1 {
			if i > 0 {
				out = append(out, "-"+pictures[i-1]+";")
			}
			out = append(out, text)
		}
	}
	return out
}

// recordOf returns the record of a stream, nil without.
func (w *world) recordOf(stream string) *told {
	for _, entry := range w.engine.Records() {
		var o told
		if json.Unmarshal(entry.Value, &o) == nil && o.Stream == key(stream).String() {
			return &o
		}
	}
	return nil
}

// judgeSettled looks at what has to be so when everything has been well for a while.
func (w *world) judgeSettled() {
	w.logf("settled?")
	for _, stream := range modelNames {
		w.judgeName(stream)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, v := range w.viewers {
		if !v.judged {
			w.judgeViewerLocked(v)
		}
	}
}

func (w *world) judgeName(stream string) {
	record := w.recordOf(stream)
	w.mu.Lock()
	defer w.mu.Unlock()
	var owners []*node
	for _, n := range w.alive {
		if n.hub.PublisherOf(key(stream)) != nil {
			owners = append(owners, n)
		}
	}
	var names []string
	for _, n := range owners {
		names = append(names, n.name)
	}
	wanted := false
	for _, e := range w.encoders {
		wanted = wanted || e.wants && e.stream == stream && !e.isStopped()
	}
	switch {
	case len(owners) > 1:
		w.failLocked("%s: it is published at %s", stream, strings.Join(names, " and "))
		return
	case len(owners) == 0 && wanted:
		w.failLocked("%s: nobody publishes it, though somebody wants to", stream)
		return
	case len(owners) == 0:
		return
	case record == nil:
		w.failLocked("%s: %s has it, and there is no record", stream, names[0])
		return
	case record.Boot != owners[0].boot:
		w.failLocked("%s: %s has it, and the record is that of %s", stream, names[0], record.Node)
		return
	}
	for at, boot := range w.had {
		var epoch uint64
		incarnation, text, _ := strings.Cut(at, "/")
		_, _ = fmt.Sscan(text, &epoch)
		if incarnation == record.Incarnation && epoch > record.Epoch {
			w.failLocked("%s: %s had epoch %d, and %s owns it in epoch %d", stream, boot, epoch, record.Node, record.Epoch)
		}
	}
	var now *show
	for _, s := range w.shows {
		if s.stream == stream && s.node == owners[0] && !s.over && s.isShown() {
			now = s
		}
	}
	if now == nil || time.Since(now.began) < settledWithin {
		return // between two
	}
	watched := 0
	for _, v := range w.viewers {
		if v.stream != stream || v.ended() != hub.ReasonNone || v.node.isDead() || time.Since(v.began) < settledWithin-time.Second {
			continue
		}
		watched++
		pictures := v.pictures()
		last := "nothing"
		if len(pictures) > 0 {
			last = pictures[len(pictures)-1]
		}
		var number, picture int
		_, _ = fmt.Sscanf(last, "%d %d", &number, &picture)
		if number != now.number || int64(picture)+50 < now.frames.Load() || len(pictures) == 0 {
			w.failLocked("%s: a viewer at %s has come to %s, and show %d at %s to %d", stream, v.node.name, last, now.number, now.node.name, now.frames.Load())
		}
	}
	if watched < len(w.alive) {
		w.failLocked("%s: %d of %d viewers are left, though show %d goes on", stream, watched, len(w.alive), now.number)
	}
}

// rivals has others want each name that is published: strangers are refused, and the same one is let in anywhere.
func (w *world) rivals() {
	for i, stream := range modelNames {
		w.mu.Lock()
		var now *show
		for _, s := range w.shows {
			if s.stream == stream && !s.over && time.Since(s.began) > settledWithin && s.isShown() {
				now = s
			}
		}
		w.mu.Unlock()
		if now == nil {
			continue
		}
		n := w.pick(w.random)
		query := fmt.Sprintf("token=9%d", i)
		same := w.random.IntN(2) == 0 && now.query != ""
		if same {
			query = now.query
			w.mu.Lock()
			now.rival = true
			w.mu.Unlock()
		}
		p, err := n.publish(stream, query)
		if now.isFinished() {
			if err == nil {
				p.pub.Close()
			}
			continue
		}
		switch {
		case err == nil && !same:
			w.failf("%s: a stranger was let in at %s, while show %d goes on at %s", stream, n.name, now.number, now.node.name)
		case err != nil && same:
			w.failf("%s: the same one was refused at %s, while show %d goes on at %s: %v", stream, n.name, now.number, now.node.name, err)
		}
		if err == nil {
			w.pause(time.Second)
			if !now.isFinished() {
				w.failf("%s: show %d goes on at %s, though it was replaced at %s", stream, now.number, now.node.name, n.name)
			}
			p.pub.Close()
			w.pause(100 * time.Millisecond)
		}
	}
}

func (s *show) isFinished() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.over || len(s.told) > 0 || s.encoder.isStopped()
}

// finish has all encoders leave for good: the names are free soon, viewers are told, and no record is left.
func (w *world) finish() {
	w.logf("all leave")
	w.mu.Lock()
	encoders := append([]*encoder(nil), w.encoders...)
	w.mu.Unlock()
	for _, e := range encoders {
		e.leave()
	}
	for _, e := range encoders {
		<-e.done
	}
	if n := w.pick(w.random); w.random.IntN(2) == 0 { // whoever dies meanwhile
		w.restart(n, false, func() {})
	}
	w.pause(freeWithin)
	for _, stream := range modelNames {
		n := w.pick(w.random)
		p, err := n.publish(stream, "")
		if err != nil {
			w.failf("%s: it is not free at %s: %v", stream, n.name, err)
			continue
		}
		p.pub.Close()
	}
	w.settled(&w.pending)
	w.pause(emptyWithin)
	if records := w.engine.Records(); len(records) > 0 {
		for _, entry := range records {
			w.logf("left: %s", entry.Value)
		}
		w.failf("%d records are left", len(records))
	}
	w.mu.Lock()
	for _, v := range w.viewers {
		if v.ended() == hub.ReasonNone && !v.node.isDead() {
			w.failLocked("%s: a viewer at %s is left, since %v", v.stream, v.node.name, time.Since(v.began))
		}
	}
	w.mu.Unlock()
	w.requireSound()
}
