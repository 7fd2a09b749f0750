package hub

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"time"
)

// SessionState is how far a session has come.
type SessionState uint8

// The states of sessions that Hub.Sessions lists.
const (
	SessionAsking  SessionState = iota // the policy is asked
	SessionWaiting                     // a viewer has no first frame yet
	SessionRunning                     // it publishes, watches or plays
	sessionStates                      // how many there are
)

// String returns the state in one word.
func (s SessionState) String() string {
	return [sessionStates]string{"asking", "waiting", "running"}[s]
}

// SessionInfo is what is known of a session at one moment.
type SessionInfo struct {
	Session *Session
	State   SessionState
	// Waits says what a session waits for that does not run: "permission", or Lack in words;
	// empty for nothing.
	Waits string
	// Since is when it began to run, to wait or to ask.
	Since   time.Time
	Bytes   uint64        // of tags taken from a publisher, or sent to a viewer in its protocol's form
	Dropped uint64        // packets that a viewer was not sent because it was too slow
	Lag     time.Duration // how far a running viewer is behind the newest packet, by arrival; estimated beyond what the log holds
	Paused  bool          // by the viewer itself
	Standby bool          // it publishes, and is not shown: another one is, or was until just now

	viewer *Viewer // for Examine; nil of others
}

// walk is a look at the viewers of all streams, one stream after the other. A viewer that waits
// moves when its stream ends, and may so be in neither stream when that is looked at: those that
// move meanwhile are kept, to be looked at last.
type walk struct {
	moved []*Viewer // guarded by Hub.mu
}

// walkLocked begins a walk over the streams that it returns, which endWalk ends.
func (h *Hub) walkLocked() (*walk, []*Stream) {
	w := new(walk)
	h.walks[w] = struct{}{}
	return w, slices.AppendSeq(slices.Collect(maps.Values(h.streams)), maps.Keys(h.draining))
}

// endWalk ends a walk, and returns the viewers that have moved meanwhile, who may have been seen.
func (h *Hub) endWalk(w *walk) []*Viewer {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.walks, w)
	return w.moved
}

// Sessions returns the sessions that there are, by id. The caller owns the list. No stream is
// locked for longer than sessionChunk of its viewers take.
func (h *Hub) Sessions() []SessionInfo {
	asking, began := h.asker.all(), h.at(0)
	h.mu.Lock()
	walk, streams := h.walkLocked()
	all := make([]SessionInfo, 0, len(asking)+h.viewers+len(streams)+sessionChunk)
	for s := range h.playing {
		all = append(all, SessionInfo{Session: s, State: SessionRunning, Since: began.Add(s.begun)})
	}
	h.mu.Unlock()
	for _, q := range asking {
		all = append(all, SessionInfo{Session: q.session, State: SessionAsking, Waits: "permission", Since: began.Add(q.since)})
	}
	for _, s := range streams {
		all = s.appendSessions(all, began)
	}
	for _, v := range h.endWalk(walk) {
		s := v.lock()
		all = s.appendViewerLocked(all, v, began)
		s.mu.Unlock()
	}
	return sortSessions(all)
}

// sortSessions returns sessions by id. One whose question was answered meanwhile, or that has
// moved or got another place in its stream, may be there several times: the one that has come
// furthest counts.
func sortSessions(all []SessionInfo) []SessionInfo {
	type place struct { // sorted in place of the sessions, which are large and far from their ids
		id uint64
		at int32
	}
	places := make([]place, len(all))
	for i := range all {
		places[i] = place{all[i].Session.id, int32(i)}
	}
	slices.SortFunc(places, func(a, b place) int {
		return cmp.Or(cmp.Compare(a.id, b.id), cmp.Compare(a.at, b.at))
	})
	sorted := make([]SessionInfo, 0, len(all))
	for _, p := range places {
		info := &all[p.at]
		if n := len(sorted); n == 0 || sorted[n-1].Session != info.Session {
			sorted = append(sorted, *info)
		} else if sorted[n-1].State < info.State {
			sorted[n-1] = *info
		}
	}
	return sorted
}

// at returns the time of a moment on the hub's clock, by the system's clock as it is set now: it
// may not have been when the hub began.
func (h *Hub) at(moment time.Duration) time.Time {
	now := time.Now()
	return now.Add(moment - now.Sub(h.began))
}

// sessionChunk is how many viewers of a stream are listed before others may lock it, so that
// its publisher and its other viewers wait for some ten microseconds at the most.
const sessionChunk = 256

// appendSessions appends the sessions of a stream; began is when the hub did (Hub.at). It goes from
// the last viewer to the first: of those who are there all the time none is left out, since one that
// leaves is replaced by the last, who was listed already and is then listed twice.
func (s *Stream) appendSessions(all []SessionInfo, began time.Time) []SessionInfo {
	for rest := math.MaxInt; rest > 0; {
		all, rest = s.appendChunk(all, rest, began)
	}
	return all
}

// appendChunk appends the next of them; so many of the first viewers are still to be listed, and
// all that there are where rest is math.MaxInt.
func (s *Stream) appendChunk(all []SessionInfo, rest int, began time.Time) ([]SessionInfo, int) {
	s.mu.Lock() // also against those who drive viewers
	defer s.mu.Unlock()
	if rest == math.MaxInt {
		for _, p := range s.publishersLocked() {
			all = append(all, SessionInfo{
				Session: p.session, State: SessionRunning, Since: began.Add(p.session.begun), Bytes: p.bytes, Standby: p.aside != nil,
			})
		}
	}
	rest = min(rest, len(s.viewers))
	next := max(0, rest-sessionChunk)
	for _, v := range s.viewers[next:rest] {
		all = s.appendViewerLocked(all, v, began)
	}
	return all, next
}

// appendViewerLocked appends the session of a viewer of the stream, unless it was closed.
func (s *Stream) appendViewerLocked(all []SessionInfo, v *Viewer, began time.Time) []SessionInfo {
	flags := v.flags.Load()
	if flags&flagClosed != 0 {
		return all
	}
	info := SessionInfo{
		Session: v.session, State: SessionRunning, Since: began.Add(v.session.begun),
		Bytes: v.bytes.Load(), Dropped: v.dropped.Load(), Paused: flags&flagPaused != 0, viewer: v,
	}
	switch {
	case v.started:
		info.Lag = s.lagLocked(v)
	default:
		info.State, info.Waits = SessionWaiting, s.lacksLocked(&v.cursor).String()
	}
	return append(all, info)
}

// lagLocked returns how far a viewer that has started is behind the newest packet. Where the log
// has its next packet no more, those that are gone count by the pace of those that are left.
func (s *Stream) lagLocked(v *Viewer) time.Duration {
	l := &s.log
	if v.next >= l.head || l.tail == l.head {
		return 0
	}
	newest := l.newest().arrived
	lag := newest - l.at(max(v.next, l.tail)).arrived
	if left := int64(l.head - 1 - l.tail); v.next < l.tail && left > 0 {
		lag += int64(l.tail-v.next) * (newest - l.at(l.tail).arrived) / left
	}
	return time.Duration(lag) * time.Millisecond
}

// Dismiss ends the sessions for which who returns true, because of why: those that run, wait or
// ask for permission. It returns how many there were. A viewer's last bytes follow, so that it
// may be listed for a moment more; a publisher's stream has its grace time. who is called
// without a lock, by the caller.
func (h *Hub) Dismiss(who func(*Session) bool, why *Refusal) int {
	n := 0
	all, twice := h.endings()
	chosen := make(map[*Session]bool) // of those that may be there twice
	for _, e := range all {
		ends, known := chosen[e.session]
		if !known {
			ends = who(e.session)
			if ends {
				n++
			}
			if twice[e.session] {
				chosen[e.session] = ends
			}
		}
		if ends {
			e.end(why)
		}
	}
	return n
}

// ending is how a session is ended.
type ending struct {
	session *Session
	end     func(*Refusal)
}

// endings returns how each session is ended, and which of them may be there twice.
func (h *Hub) endings() (all []ending, twice map[*Session]bool) {
	twice = make(map[*Session]bool)
	for _, q := range h.asker.all() {
		all = append(all, ending{q.session, func(why *Refusal) { h.dismissAsking(q, why) }})
		twice[q.session] = true
	}
	h.mu.Lock()
	walk, streams := h.walkLocked()
	for s, p := range h.playing {
		all = append(all, ending{s, p.dismiss})
	}
	h.mu.Unlock()
	appendViewer := func(v *Viewer) {
		if !v.mustEnd() {
			all = append(all, ending{v.session, v.Dismiss})
		}
	}
	for _, s := range streams {
		s.mu.RLock()
		for _, p := range s.publishersLocked() {
			all = append(all, ending{p.session, p.dismiss})
		}
		for _, v := range s.viewers {
			appendViewer(v)
		}
		s.mu.RUnlock()
	}
	for _, v := range h.endWalk(walk) {
		appendViewer(v)
		twice[v.session] = true
	}
	return all, twice
}

// dismissAsking ends a session that asked for permission when it was looked at. It may have been
// granted meanwhile: then it is on its way into its stream, where its recheck finds that it was
// dismissed, or is there already, past that.
func (h *Hub) dismissAsking(q *question, why *Refusal) {
	who := q.session
	who.dismissed.CompareAndSwap(nil, why)
	if h.asker.finish(q, Grant{}, why) {
		return
	}
	h.mu.Lock()
	p, plays := h.playing[who]
	s := h.streams[who.Key()]
	h.mu.Unlock()
	if plays {
		p.dismiss(why)
	}
	if s == nil {
		return
	}
	s.mu.RLock()
	publishers := s.publishersLocked()
	n := slices.IndexFunc(s.viewers, func(v *Viewer) bool { return v.session == who })
	var v *Viewer
	if n >= 0 {
		v = s.viewers[n]
	}
	s.mu.RUnlock()
	for _, p := range publishers {
		if p.session == who {
			p.dismiss(why)
		}
	}
	if v != nil {
		v.Dismiss(why)
	}
}
