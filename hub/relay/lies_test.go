package relay

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/flv/amf"
	"sluice/hub"
)

// told is a Source that brings what a script says.
type told struct {
	next   func() (flv.Tag, error) // an error of errWait waits for Close
	closed chan struct{}
	once   sync.Once
}

func (s *told) ReadTag() (flv.Tag, error) {
	select {
	case <-s.closed:
		return flv.Tag{}, io.ErrClosedPipe
	default:
	}
	t, err := s.next()
	if err == errWait {
		<-s.closed
		err = io.ErrClosedPipe
	}
	return t, err
}

func (s *told) Buffered() bool { return false }
func (s *told) Node() string   { return "" }
func (s *told) Remote() string { return "127.0.0.1:1" }
func (s *told) Close() error   { s.once.Do(func() { close(s.closed) }); return nil }

// errWait ends a script that says nothing more.
var errWait = fmt.Errorf("wait")

// liar is a server with a script for each of its connections, the first of which is 1.
type liar struct {
	opens  atomic.Int32
	script func(n int, of Opening) func() (flv.Tag, error)
}

func (l *liar) open(_ context.Context, of Opening) (Source, error) {
	return &told{next: l.script(int(l.opens.Add(1)), of), closed: make(chan struct{})}, nil
}

// tags says some tags, and then an error.
func tags(all []flv.Tag, err error) func() (flv.Tag, error) {
	return func() (flv.Tag, error) {
		if len(all) == 0 {
			return flv.Tag{}, err
		}
		t := all[0]
		all = all[1:]
		return t, nil
	}
}

// endless says the same for ever, each millisecond.
func endless(tag func(n int) flv.Tag) func() (flv.Tag, error) {
	n := 0
	return func() (flv.Tag, error) {
		time.Sleep(time.Millisecond)
		n++
		return tag(n), nil
	}
}

// A server that breaks off behind each key frame, though each is a new one, is not hammered; the
// session and its viewers stay.
func TestBreaksBehindEachKeyFrame(t *testing.T) {
	t.Parallel()
	l := &liar{script: func(n int, _ Opening) func() (flv.Tag, error) {
		e := &encoder{mark: 'a', n: 25 * n}
		say := tags(append(e.headers(), e.next()...), nil)
		said := 0
		return func() (flv.Tag, error) { // for as long as it takes to see that the key frame is none that is known
			if tag, err := say(); err != nil || tag.Data != nil {
				return tag, err
			}
			if said++; said > 5 {
				return flv.Tag{}, io.ErrUnexpectedEOF
			}
			time.Sleep(10 * time.Millisecond)
			late := e.next()[0]
			late.Timestamp = uint32(25*n*40 + said)
			return late, nil
		}
	}}
	e := newEdge(t, Config{Open: l.open}, "pull: live/a rtmp://one/live/a")
	v := e.watch(t, hub.Client{})
	require.NoError(t, v.Wait(t.Context()))
	session := e.state().Session
	began := time.Now()
	until(t, "there were many breaks", func() bool { return l.opens.Load() > paceBurst })
	time.Sleep(time.Second)
	most := paceBurst + 2 + int32(time.Since(began)/paceEach)
	assert.LessOrEqual(t, l.opens.Load(), most)
	assert.False(t, v.Dismissed())
	assert.Equal(t, session, e.state().Session)
}

// One whose first frame is no stream that the hub takes is not hammered either.
func TestRefusedAgainAndAgain(t *testing.T) {
	t.Parallel()
	l := &liar{script: func(n int, _ Opening) func() (flv.Tag, error) {
		e := &encoder{mark: 'a'}
		path := amf.AppendAMF0(nil, "onMetaData", amf.ECMAArray{{Name: hub.PathProperty, Value: "edge"}})
		return tags(append(append(e.headers(), e.next()...), flv.Tag{Type: flv.TypeScript, Data: path}), errWait)
	}}
	e := newEdge(t, Config{Open: l.open}, "pull: live/a rtmp://one/live/a")
	until(t, "it is refused", func() bool { return e.state().State == Refused })
	assert.Contains(t, e.state().Detail, "has passed this server")
	time.Sleep(200 * time.Millisecond)
	assert.EqualValues(t, 1, l.opens.Load())
}

// A connection that brings nothing to go on with is as one that broke: the next server is tried, and
// after the hold the stream is over.
func TestNothingToGoOnWith(t *testing.T) {
	t.Parallel()
	inter := func(n int) flv.Tag {
		e := &encoder{mark: 'x', n: 25*n + 1}
		t := e.next()[0]
		t.Timestamp = uint32(n)
		return t
	}
	metadata := func(int) flv.Tag { return flv.Tag{Type: flv.TypeScript, Data: emptyMetadata()} }
	for name, then := range map[string]func() func() (flv.Tag, error){
		"pictures without key frames": func() func() (flv.Tag, error) { return endless(inter) },
		"metadata behind one frame": func() func() (flv.Tag, error) {
			next, first := endless(metadata), true
			return func() (flv.Tag, error) {
				if first {
					first = false
					return inter(1), nil
				}
				return next()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var second atomic.Int32
			l := &liar{script: func(n int, of Opening) func() (flv.Tag, error) {
				if of.URL.Secret() == "rtmp://two/live/a" {
					second.Add(1)
					return tags(nil, Failed(CauseNotFound, "no such stream"))
				}
				if n > 1 {
					return then()
				}
				e := &encoder{mark: 'a'}
				all := e.headers()
				for range 10 {
					all = append(all, e.next()...)
				}
				return tags(all, io.ErrUnexpectedEOF)
			}}
			e := newEdge(t, Config{Open: l.open, noMedia: 100 * time.Millisecond, PullHold: 2 * time.Second},
				"pull: live/a rtmp://one/live/a rtmp://two/live/a")
			until(t, "it is live", func() bool { return e.hub.Live(hub.Key{App: "live", Name: "a"}) })
			v := e.watch(t, hub.Client{})
			require.NoError(t, v.Wait(t.Context()))
			until(t, "it is over", func() bool { return !e.hub.Live(hub.Key{App: "live", Name: "a"}) })
			assert.NotZero(t, second.Load())
		})
	}
}

// Names that somebody makes up open no more connections than there may be, and who is one too many is
// told so at once.
func TestMaxOrigins(t *testing.T) {
	t.Parallel()
	l := &liar{script: func(int, Opening) func() (flv.Tag, error) { return tags(nil, errWait) }}
	e := newEdge(t, Config{Open: l.open, MaxOrigins: 20, StartTimeout: patience, Idle: -1}, "origin: ** rtmp://one/{app}/{name}")
	var viewers []*hub.Viewer
	for i := range 1000 {
		key := hub.Key{App: "live", Name: fmt.Sprint(i)}
		v, err := e.hub.Watch(e.hub.NewSession(hub.RoleWatch, key, hub.Client{Protocol: "http-flv"}), hub.WatchOptions{})
		if err == nil {
			viewers = append(viewers, v)
			defer v.Close()
			continue
		}
		var refusal *hub.Refusal
		require.ErrorAs(t, err, &refusal)
		require.Equal(t, hub.ReasonTooMany, refusal.Reason)
	}
	for _, v := range viewers[20:] {
		var refusal *hub.Refusal
		require.ErrorAs(t, v.Wait(t.Context()), &refusal)
		require.Equal(t, hub.ReasonTooMany, refusal.Reason)
	}
	until(t, "those that may be are there", func() bool { return l.opens.Load() == 20 })
	assert.Len(t, e.relay.Relays()[0].Connections, 20)
}

// Events that were lost are made up for.
func TestEventsAreLost(t *testing.T) {
	t.Parallel()
	lost := hub.Event{Kind: hub.EventLost, Lost: 1}
	o := newOrigin(t, "upstream")
	publish(t, o.hub, &encoder{mark: 'a'}, 5*time.Millisecond)

	t.Run("a publisher that left", func(t *testing.T) {
		e := newEdge(t, Config{Open: o.open}, "pull: live/a rtmp://origin/live/a")
		until(t, "it is live", func() bool { return e.state().State == Live })
		own := publish(t, e.hub, &encoder{mark: 'b'}, 5*time.Millisecond)
		until(t, "it is idle", func() bool { return e.state().State == Idle && e.relay.isLive(hub.Key{App: "live", Name: "a"}) })
		e.deaf.Store(true)
		own.leave()
		until(t, "it is gone", func() bool { return !e.hub.Live(hub.Key{App: "live", Name: "a"}) })
		e.relay.Observe(lost)
		e.deaf.Store(false)
		until(t, "it is live again", func() bool { return e.state().State == Live })
	})
	t.Run("a viewer that waits", func(t *testing.T) {
		e := newEdge(t, Config{Open: o.open, StartTimeout: patience}, "origin: ** rtmp://origin/{app}/{name}")
		e.deaf.Store(true)
		v := e.watch(t, hub.Client{})
		until(t, "it is said", func() bool { return len(e.events) > 0 })
		e.deaf.Store(false)
		e.relay.Observe(lost)
		require.NoError(t, v.Wait(t.Context()))
	})
	t.Run("a publisher that came", func(t *testing.T) {
		var sent atomic.Int32
		e := newEdge(t, Config{Open: o.open, Send: func(context.Context, Sending) (Sink, error) {
			sent.Add(1)
			return nil, errUnwanted
		}}, "push: ** rtmp://target/live/{name}")
		e.deaf.Store(true)
		publish(t, e.hub, &encoder{mark: 'b'}, 5*time.Millisecond)
		until(t, "it is said", func() bool { return len(e.events) > 0 })
		e.deaf.Store(false)
		e.relay.Observe(lost)
		until(t, "it is pushed", func() bool { return sent.Load() > 0 })
	})
}

// However many pulls there are, what they hold while they join what follows a break is bounded.
func TestWhatPullsHold(t *testing.T) {
	t.Parallel()
	for pulls, each := range map[int]int{0: 4 << 20, 1: 4 << 20, 32: 4 << 20, 64: 2 << 20, 512: 256 << 10, 10_000: 256 << 10} {
		r := &Relay{pulls: map[hub.Key]*pull{}}
		for i := range pulls {
			r.pulls[hub.Key{App: "live", Name: fmt.Sprint(i)}] = nil
		}
		assert.Equal(t, each, r.mayHold(), pulls)
	}
}
