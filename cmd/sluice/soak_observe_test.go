//go:build unix

package main

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"sync"
	"time"

	"github.com/stretchr/testify/assert"

	"sluice/hub"
)

// soakObserver judges what the hub tells, event by event, and counts it for itself.
type soakObserver struct {
	w *soak

	mu      sync.Mutex
	events  int
	streams map[hub.Key]*observedStream
	stages  map[uint64]hub.EventKind // of sessions, by id: the last that was told
	sums    map[string]*hub.SessionTotals
	// Of the streams that the soak's publishers publish, since names of others are anybody's.
	published, busy uint64
}

// observedStream is what of a stream has begun and not ended.
type observedStream struct {
	publisher *hub.Session
	viewers   map[*hub.Session]bool
	wanted    bool
}

func newSoakObserver(w *soak) *soakObserver {
	return &soakObserver{
		w: w, streams: map[hub.Key]*observedStream{}, stages: map[uint64]hub.EventKind{},
		sums: map[string]*hub.SessionTotals{},
	}
}

// soakPolicy grants everything, after a moment, to who has the token; but every other one may
// not go back into recordings.
func soakPolicy(ctx context.Context, s *hub.Session) (hub.Grant, error) {
	select {
	case <-time.After(time.Duration(rand.IntN(20)) * time.Millisecond):
	case <-ctx.Done():
	}
	return hub.Grant{Identity: s.Client().Query.Get("token"), Rewind: s.ID()%2 == 0}, nil
}

// observe is for hub.Config.Observe.
func (o *soakObserver) observe(e hub.Event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.events++
	if err := o.judge(&e); err != nil {
		o.w.fail("event %v of %v: %v (%+v)", e.Kind, e.Key, err, e)
	}
}

// judge says what is wrong with an event.
func (o *soakObserver) judge(e *hub.Event) error {
	s := o.streams[e.Key]
	if s == nil {
		s = &observedStream{viewers: map[*hub.Session]bool{}}
		o.streams[e.Key] = s
	}
	if err := o.count(e); err != nil {
		return err
	}
	switch e.Kind {
	case hub.EventPublished:
		if e.Standby {
			break // nobody sees it yet
		}
		if s.publisher != nil {
			return fmt.Errorf("before session %d ended", s.publisher.ID())
		}
		s.publisher = e.Session
	case hub.EventSwitched:
		s.publisher = e.Session
	case hub.EventUnpublished:
		if e.Standby {
			break
		}
		if s.publisher != e.Session {
			return fmt.Errorf("it does not publish, but %v", s.publisher)
		}
		s.publisher = nil
	case hub.EventJoined:
		s.viewers[e.Session] = true
	case hub.EventLeft:
		if !s.viewers[e.Session] {
			return fmt.Errorf("it is not there")
		}
		delete(s.viewers, e.Session)
	case hub.EventWanted, hub.EventUnwanted:
		if wanted := e.Kind == hub.EventWanted; s.wanted == wanted {
			return fmt.Errorf("twice")
		}
		s.wanted = !s.wanted
		if s.wanted && (s.publisher != nil || e.Session == nil) {
			return fmt.Errorf("published by %v", s.publisher)
		}
	case hub.EventTracks:
		if e.Session == nil || e.Session != s.publisher {
			return fmt.Errorf("it does not publish, but %v", s.publisher)
		}
	case hub.EventLost:
		return fmt.Errorf("the observer is slow")
	}
	return nil
}

// count counts what begins, ends or is refused: each session once.
func (o *soakObserver) count(e *hub.Event) error {
	before := map[hub.EventKind]hub.EventKind{hub.EventUnpublished: hub.EventPublished, hub.EventLeft: hub.EventJoined}
	switch e.Kind {
	case hub.EventPublished, hub.EventJoined, hub.EventRefused:
	case hub.EventUnpublished, hub.EventLeft:
	default:
		return nil
	}
	id, role := e.Session.ID(), e.Session.Role()
	last, known := o.stages[id]
	if want, ends := before[e.Kind]; ends != known || ends && last != want {
		return fmt.Errorf("after %v (%v)", last, known)
	}
	o.stages[id] = e.Kind
	if e.Session.Key() != e.Key {
		return fmt.Errorf("of a session of %v", e.Session.Key())
	}
	if published := e.Kind == hub.EventPublished || e.Kind == hub.EventUnpublished; e.Kind != hub.EventRefused && published != (role == hub.RolePublish) {
		return fmt.Errorf("of a session to %v", role)
	}
	name := e.Session.Protocol() + " " + role.String()
	sum := o.sums[name]
	if sum == nil {
		sum = &hub.SessionTotals{Protocol: e.Session.Protocol(), Role: role, Ended: map[hub.Reason]uint64{}, Refused: map[hub.Reason]uint64{}}
		o.sums[name] = sum
	}
	ours := o.w.stream(e.Key) != nil && role == hub.RolePublish
	switch e.Kind {
	case hub.EventPublished, hub.EventJoined:
		sum.Begun++
		if ours {
			o.published++
		}
	case hub.EventRefused:
		sum.Refused[e.Reason]++
		if ours && e.Reason == hub.ReasonBusy {
			o.busy++
		}
	default:
		sum.Ended[e.Reason]++
		sum.Bytes += e.Bytes
		sum.Dropped += e.Dropped
	}
	return nil
}

// stream returns the soak's stream of a key, nil for any other.
func (w *soak) stream(key hub.Key) *soakStream {
	for _, s := range w.streams {
		if s.key == key.String() {
			return s
		}
	}
	return nil
}

// check compares, when all is over, what was told with the hub's sums, and with what the
// clients have counted themselves.
func (o *soakObserver) check(h *hub.Hub) {
	t := o.w.t
	agree := func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		sums := map[string]*hub.SessionTotals{}
		for _, sum := range h.Totals() {
			sums[sum.Protocol+" "+sum.Role.String()] = &sum
		}
		return reflect.DeepEqual(sums, o.sums)
	}
	if !assert.Eventually(t, agree, 10*time.Second, 10*time.Millisecond, "sums") {
		t.Logf("hub %+v", h.Totals())
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for key, s := range o.streams {
		assert.Nil(t, s.publisher, "%v: published", key)
		assert.Empty(t, s.viewers, "%v: joined", key)
		assert.False(t, s.wanted, "%v: wanted", key)
	}
	w := o.w
	w.mu.Lock()
	counts := maps.Clone(w.counts)
	w.mu.Unlock()
	for name, sum := range o.sums {
		assert.Zero(t, sum.Running(), name)
		t.Logf("%s: begun %d, ended %v, refused %v, bytes %d, dropped %d", name, sum.Begun, sum.Ended, sum.Refused, sum.Bytes, sum.Dropped)
	}
	// A client that breaks off while it opens a stream does not know what came of it.
	in, unknown := uint64(counts[countedIn]), uint64(counts[countedUnknown])
	t.Logf("publishers that began: %d told, %d counted by themselves, %d that do not know; %d events", o.published, in, unknown, o.events)
	assert.GreaterOrEqual(t, o.published, in, "publishers")
	assert.LessOrEqual(t, o.published, in+unknown, "publishers")
	busy := uint64(counts[countedBusy])
	assert.GreaterOrEqual(t, o.busy, busy, countedBusy)
	assert.LessOrEqual(t, o.busy, busy+unknown, countedBusy)
	for name, protocol := range soakProtocols {
		got := uint64(counts[countedMedia+name])
		sum := o.sums[protocol+" watch"]
		if assert.NotNil(t, sum, name) {
			t.Logf("viewers over %s that got media: %d counted by themselves, of %d that joined", name, got, sum.Begun)
			assert.Positive(t, got, name)
			assert.GreaterOrEqual(t, sum.Begun, got, name)
		}
	}
}

// What the clients of the soak count, for the observer.
const (
	countedIn      = "publisher is let in"
	countedBusy    = "publisher refused: busy"
	countedUnknown = "publisher does not know what came of it"
	countedMedia   = "viewer got media over "
)

// soakProtocols are those over which viewers count what they got, and what the hub calls them.
var soakProtocols = map[string]string{"HTTP-FLV": "http-flv", "WebSocket-FLV": "ws-flv", "RTMP": "rtmp"}
