package hub_test

import (
	"bytes"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

// witness is an observer that checks what it is told: a beginning before its end, each
// once, and one publisher at a time for a stream that is shown, and at most one that stands by.
type witness struct {
	t *testing.T

	mu        sync.Mutex
	story     []string
	begun     map[uint64]hub.EventKind
	over      map[uint64]bool
	published map[hub.Key]uint64          // which is shown
	standby   map[hub.Key]map[uint64]bool // which are not
	wanted    map[hub.Key]bool
	begins    map[hub.EventKind]int
	last      hub.Event
}

func newWitness(t *testing.T) *witness {
	return &witness{
		t: t, begun: make(map[uint64]hub.EventKind), over: make(map[uint64]bool),
		standby:   make(map[hub.Key]map[uint64]bool),
		published: make(map[hub.Key]uint64), wanted: make(map[hub.Key]bool), begins: make(map[hub.EventKind]int),
	}
}

func (w *witness) observe(e hub.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last = e
	words := e.Kind.String()
	if e.Standby {
		words += " standby"
	}
	if e.Reason != hub.ReasonNone {
		words += " (" + e.Reason.String() + ")"
	}
	w.story = append(w.story, words)
	w.begins[e.Kind]++
	assert.False(w.t, e.Time.IsZero())
	switch e.Kind {
	case hub.EventWanted, hub.EventUnwanted:
		assert.NotEqual(w.t, e.Kind == hub.EventWanted, w.wanted[e.Key], "%s of %s twice", e.Kind, e.Key)
		w.wanted[e.Key] = e.Kind == hub.EventWanted
		return
	}
	id := e.Session.ID()
	assert.False(w.t, w.over[id], "%s of session %d after its end", e.Kind, id)
	switch e.Kind {
	case hub.EventPublished, hub.EventJoined:
		_, twice := w.begun[id]
		assert.False(w.t, twice, "session %d began twice", id)
		w.begun[id] = e.Kind
		switch {
		case e.Kind != hub.EventPublished:
		case e.Standby:
			w.stand(e.Key, id)
		default:
			if was := w.published[e.Key]; was != 0 && e.Session.Yields() { // a copy, for which that one stands by
				w.stand(e.Key, was)
				w.published[e.Key] = 0
			}
			assert.Zero(w.t, w.published[e.Key], "%s is published by two", e.Key)
			w.published[e.Key] = id
		}
	case hub.EventUnpublished, hub.EventLeft:
		assert.Equal(w.t, e.Kind-1, w.begun[id], "session %d ended as another than it began", id)
		delete(w.begun, id)
		w.over[id] = true
		switch {
		case e.Kind != hub.EventUnpublished:
		case e.Standby:
			assert.True(w.t, w.standby[e.Key][id], "%d stood by", id)
			delete(w.standby[e.Key], id)
		default:
			assert.Equal(w.t, id, w.published[e.Key])
			w.published[e.Key] = 0
		}
	case hub.EventRefused:
		_, begun := w.begun[id]
		assert.False(w.t, begun, "session %d was refused and had begun", id)
		w.over[id] = true
	case hub.EventSwitched:
		assert.True(w.t, w.standby[e.Key][id], "%d stood by", id)
		delete(w.standby[e.Key], id)
		if was := w.published[e.Key]; was != 0 {
			w.stand(e.Key, was)
		}
		w.published[e.Key] = id
	case hub.EventTracks:
		assert.Equal(w.t, id, w.published[e.Key])
		assert.NotEmpty(w.t, e.Tracks)
	}
}

// stand notes a publisher that is not shown: one, or two while none is.
func (w *witness) stand(key hub.Key, id uint64) {
	if w.standby[key] == nil {
		w.standby[key] = make(map[uint64]bool)
	}
	w.standby[key][id] = true
	assert.LessOrEqual(w.t, len(w.standby[key]), 2)
}

// tell returns what has happened since the last call.
func (w *witness) tell() string {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	story := strings.Join(w.story, ", ")
	w.story = nil
	return story
}

// check looks whether each beginning had its end, and the totals of the hub agree, when
// nobody is left.
func (w *witness) check(h *hub.Hub) {
	w.tell()
	assert.Empty(w.t, w.begun, "sessions without an end")
	for key, wanted := range w.wanted {
		assert.False(w.t, wanted, "%s is wanted for ever", key)
	}
	begun, ended, refused := 0, 0, 0
	for _, sum := range h.Totals() {
		begun += int(sum.Begun)
		for _, n := range sum.Ended {
			ended += int(n)
		}
		for _, n := range sum.Refused {
			refused += int(n)
		}
		assert.Zero(w.t, sum.Running())
	}
	assert.Equal(w.t, w.begins[hub.EventPublished]+w.begins[hub.EventJoined], begun)
	assert.Equal(w.t, w.begins[hub.EventUnpublished]+w.begins[hub.EventLeft], ended)
	assert.Equal(w.t, w.begins[hub.EventRefused], refused)
}

// What happens to a stream is told in its order, with its reasons.
func TestObserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWitness(t)
		h := newHub(t, hub.Config{Observe: w.observe})
		early := newSink(t, h, hub.WatchOptions{})
		other := newSink(t, h, hub.WatchOptions{})
		assert.Equal(t, "wanted", w.tell())
		p := publish(t, h, client{Identity: "x"})
		assert.Equal(t, "published", w.tell())
		p.send("vc:s ac:c K:1@0 A:1@0")
		require.NoError(t, early.Wait(t.Context()))
		assert.Equal(t, "tracks, joined", w.tell())
		other.Close()
		assert.Equal(t, "refused (client left)", w.tell())

		_, err := tryPublish(t, h, client{Identity: "y"})
		assert.Equal(t, hub.ReasonBusy, reasonOf(t, err))
		assert.Equal(t, "refused (busy)", w.tell())

		second := publish(t, h, client{Identity: "x"})
		assert.Equal(t, "unpublished (replaced), published", w.tell())
		p.Close()
		assert.Empty(t, w.tell(), "its end was told")
		second.send("vc:s ac:c K:2@0 A:2@0")
		assert.Equal(t, "tracks", w.tell())

		second.End(&hub.Refusal{Reason: hub.ReasonIdle, Detail: "for 30 s"})
		assert.Equal(t, "unpublished (idle)", w.tell())
		assert.Equal(t, "for 30 s", w.last.Detail)
		early.End(&hub.Refusal{Reason: hub.ReasonStalled})
		assert.Equal(t, "left (stalled), unwanted", w.tell())
		time.Sleep(time.Minute)
		assert.Empty(t, w.tell())

		late := newSink(t, h, hub.WatchOptions{})
		assert.Equal(t, hub.ReasonNotFound, reasonOf(t, late.Wait(t.Context())))
		late.Close()
		assert.Equal(t, "wanted, refused (not found), unwanted", w.tell())
		assert.Empty(t, w.begun)
	})
}

// Another codec, another picture size and a track that comes or goes are told.
func TestObserveTracks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWitness(t)
		h := newHub(t, hub.Config{Observe: w.observe})
		p := publish(t, h, client{})
		p.send("meta:av vc:s ac:\x11\x90 K:1@0 A:1@0 P:2@40")
		assert.Equal(t, "published, tracks", w.tell())
		require.Len(t, w.last.Tracks, 2)
		assert.NotNil(t, w.last.Tracks[0].Video)
		assert.Equal(t, 48000, w.last.Tracks[1].Audio.SampleRate)
		p.send("ac:\x12\x10 A:3@60 K:3@80") // 44.1 kHz
		assert.Equal(t, "tracks", w.tell())
		assert.Equal(t, 44100, w.last.Tracks[1].Audio.SampleRate)
		p.send("K:4@120 A:4@120")
		assert.Empty(t, w.tell())
	})
}

// Totals outlast streams and agree with what was told.
func TestTotals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{Protocol: "rtmp"})
		p.send("vc:s K:1@0")
		time.Sleep(2 * time.Second)
		v := newSinkOf(t, h, client{Protocol: "http-flv"}, hub.WatchOptions{})
		require.NoError(t, v.Wait(t.Context()))
		v.read()
		sent := v.Bytes()
		_, err := tryPublish(t, h, client{Protocol: "rtmp"})
		require.NoError(t, err, "the first one was silent")
		running := h.Totals()
		require.Len(t, running, 2)
		assert.Equal(t, hub.SessionTotals{
			Protocol: "http-flv", Role: hub.RoleWatch, Begun: 1, Bytes: sent,
			Ended: map[hub.Reason]uint64{}, Refused: map[hub.Reason]uint64{},
		}, running[0])
		assert.Equal(t, uint64(1), running[0].Running())
		v.End(&hub.Refusal{Reason: hub.ReasonStalled})
		require.NoError(t, h.Shutdown(t.Context()))
		_, err = tryPublish(t, h, client{Protocol: "rtmp"})
		require.Error(t, err)
		assert.Equal(t, []hub.SessionTotals{{
			Protocol: "http-flv", Role: hub.RoleWatch, Begun: 1, Bytes: sent,
			Ended: map[hub.Reason]uint64{hub.ReasonStalled: 1}, Refused: map[hub.Reason]uint64{},
		}, {
			Protocol: "rtmp", Role: hub.RolePublish, Begun: 2, Bytes: running[1].Bytes,
			Ended:   map[hub.Reason]uint64{hub.ReasonReplaced: 1, hub.ReasonShuttingDown: 1},
			Refused: map[hub.Reason]uint64{hub.ReasonShuttingDown: 1},
		}}, h.Totals())
	})
}

// No sum decreases when a stream has ended and its viewers have not.
func TestTotalsOfStreamThatDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{PublisherGrace: -1})
		var viewers []*sink
		for range 2 {
			p := publish(t, h, client{Protocol: "rtmp"})
			p.send("vc:s K:1@0")
			time.Sleep(2 * time.Second)
			v := newSinkOf(t, h, client{Protocol: "http-flv"}, hub.WatchOptions{})
			require.NoError(t, v.Wait(t.Context()))
			v.read()
			viewers = append(viewers, v)
			before := h.Totals()
			p.Close() // and the stream is forgotten
			assert.Empty(t, h.Streams())
			after := h.Totals()
			assert.NotZero(t, after[0].Bytes)
			assert.Equal(t, before[0], after[0])
		}
		last := h.Totals()[0]
		assert.Equal(t, viewers[0].Bytes()+viewers[1].Bytes(), last.Bytes)
		assert.Equal(t, 2, h.Draining())
		for _, v := range viewers {
			v.Close()
		}
		sum := h.Totals()[0]
		assert.Equal(t, last.Bytes, sum.Bytes)
		assert.Zero(t, sum.Running())
		assert.Zero(t, h.Draining())
	})
}

// An observer that blocks holds up nobody; what it was too late for is counted.
func TestObserverBlocks(t *testing.T) {
	release := make(chan struct{})
	var told, lost uint64
	h := hub.New(hub.Config{Observe: func(e hub.Event) {
		<-release
		if e.Kind == hub.EventLost {
			lost += e.Lost
		} else {
			told++
		}
	}})
	const sessions = 120_000
	for range sessions {
		publisher(h, key).Refuse(&hub.Refusal{Reason: hub.ReasonBusy})
	}
	close(release)
	require.NoError(t, h.Shutdown(t.Context()))
	assert.Equal(t, uint64(sessions), told+lost)
	assert.NotZero(t, lost)
	assert.GreaterOrEqual(t, told, uint64(100_000))
}

// An observer that panics is told what follows, and nobody else is hurt.
func TestObserverPanics(t *testing.T) {
	var out bytes.Buffer
	var told int
	h := hub.New(hub.Config{
		Logger: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelError})),
		Observe: func(hub.Event) {
			told++
			panic("no observer")
		},
	})
	for range 3 {
		publisher(h, key).Refuse(&hub.Refusal{Reason: hub.ReasonBusy})
	}
	require.NoError(t, h.Shutdown(t.Context()))
	assert.Equal(t, 3, told)
	assert.Equal(t, 3, strings.Count(out.String(), `level=ERROR msg="the observer panicked" panic="no observer" stack="goroutine`))
	assert.Contains(t, out.String(), "observe_test.go")
}

// An observer that ends its goroutine is told the next event all the same.
func TestObserverEndsItsGoroutine(t *testing.T) {
	told := 0
	h := hub.New(hub.Config{Observe: func(hub.Event) {
		if told++; told%3 == 1 {
			runtime.Goexit()
		}
	}})
	for range 100 {
		publisher(h, key).Refuse(&hub.Refusal{Reason: hub.ReasonBusy})
	}
	require.NoError(t, h.Shutdown(t.Context()))
	assert.Equal(t, 100, told)
}

// Sessions of every protocol have the same lines.
func TestSessionLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		h := newHub(t, hub.Config{Logger: slog.New(slog.NewTextHandler(&out, nil))})
		p := publish(t, h, client{Protocol: "rtmp", Remote: "10.0.0.1:5", Identity: "secret"})
		p.send("vc:s K:1@0")
		time.Sleep(2 * time.Second)
		p.Close()
		h.NewSession(hub.RoleWatch, hub.Key{}, hub.Client{Protocol: "http-flv", Name: "a\"b?token=secret"}).
			Refuse(&hub.Refusal{Reason: hub.ReasonBadRequest, Detail: "no"})
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		require.Len(t, lines, 3)
		const who = `session=\d+ role=publish protocol=rtmp remote=10.0.0.1:5 stream=live/demo agent=""`
		assert.Regexp(t, `level=INFO msg="session begins" `+who+`$`, lines[0])
		assert.Regexp(t, `level=INFO msg="session ends" `+who+` reason="client left" duration=2s bytes=\d+ dropped=0$`, lines[1])
		assert.Regexp(t, `level=INFO msg="session refused" session=\d+ role=watch protocol=http-flv remote="" name="a\\"b" agent="" reason="bad request" detail=no$`, lines[2])
		assert.NotContains(t, out.String(), "secret")
		out.Reset()
		h.NewSession(hub.RoleWatch, hub.Key{}, hub.Client{Name: strings.Repeat("x", 5000), Agent: strings.Repeat("y", 5000)}).
			Refuse(&hub.Refusal{Reason: hub.ReasonBadRequest})
		assert.Regexp(t, ` name=x{256} agent=y{128} `, out.String())
	})
}
