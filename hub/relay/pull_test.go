package relay

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub"
)

// cutKind divides "pull: list".
func cutKind(text string) (Kind, string, bool) {
	word, list, _ := strings.Cut(text, ": ")
	kind, ok := ParseKind(word)
	return kind, list, ok
}

// The first viewer of an origin has the stream pulled, all others wait with it, and the last one ends
// it, without a grace time.
func TestOrigin(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, "upstream")
	publish(t, o.hub, &encoder{mark: 'a'}, 5*time.Millisecond)
	e := newEdge(t, Config{Open: o.open, Idle: 50 * time.Millisecond}, "origin: live/* rtmp://origin/{app}/{name}")
	assert.Zero(t, o.opens.Load())
	var viewers []*hub.Viewer
	for range 20 {
		viewers = append(viewers, e.watch(t, hub.Client{}))
	}
	for _, v := range viewers {
		require.NoError(t, v.Wait(t.Context()))
	}
	assert.EqualValues(t, 1, o.opens.Load())
	until(t, "it is live", func() bool { return e.state().State == Live })
	assert.Equal(t, []string{"upstream"}, e.hub.Path(hub.Key{App: "live", Name: "a"}))
	for _, v := range viewers[1:] {
		v.Close()
	}
	time.Sleep(200 * time.Millisecond)
	assert.True(t, e.hub.Live(hub.Key{App: "live", Name: "a"}), "one watches")
	viewers[0].Close()
	until(t, "it has ended", func() bool { return e.relay.Relays()[0].Connections == nil })
	assert.False(t, e.hub.Live(hub.Key{App: "live", Name: "a"}))
	assert.EqualValues(t, 1, o.opens.Load())

	// The next viewer begins anew.
	require.NoError(t, e.watch(t, hub.Client{}).Wait(t.Context()))
	assert.EqualValues(t, 2, o.opens.Load())
}

// A viewer is told what the server says, at once, and the server is not asked for each viewer.
func TestOriginFails(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		said error
		want hub.Reason
	}{
		{Failed(CauseNotFound, "no such stream"), hub.ReasonNotFound},
		{Failed(CauseDenied, "no"), hub.ReasonDenied},
		{Failed(CauseLoop, "a loop"), hub.ReasonLoop},
		{io.ErrUnexpectedEOF, hub.ReasonNotFound},
	} {
		t.Run(c.said.Error(), func(t *testing.T) {
			t.Parallel()
			o := newOrigin(t, "upstream")
			o.says(c.said)
			e := newEdge(t, Config{Open: o.open, StartTimeout: patience}, "origin: ** rtmp://origin/{app}/{name}")
			begun := time.Now()
			for range 10 {
				err := e.try(t)
				var refusal *hub.Refusal
				require.ErrorAs(t, err, &refusal)
				assert.Equal(t, c.want, refusal.Reason)
			}
			assert.LessOrEqual(t, int(o.opens.Load()), 1+int(time.Since(begun)/failureMemory))
			publish(t, o.hub, &encoder{mark: 'a'}, 5*time.Millisecond)
			o.says(nil)
			until(t, "it is pulled", func() bool { return e.try(t) == nil })
		})
	}
}

// What the first viewer shows goes along, and no viewer of the same stream as pulled comes back.
func TestOriginPath(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, "upstream")
	publish(t, o.hub, &encoder{mark: 'a'}, 5*time.Millisecond)
	var opened atomic.Pointer[Opening]
	e := newEdge(t, Config{Open: func(ctx context.Context, op Opening) (Source, error) {
		opened.Store(&op)
		return o.open(ctx, op)
	}}, "origin: ** http://origin/{app}/{name}.flv?{query}")
	v := e.watch(t, hub.Client{Path: []string{"further"}, Query: map[string][]string{"token": {"secret"}, "back": {"5"}}})
	require.NoError(t, v.Wait(t.Context()))
	assert.Equal(t, []string{"further", "edge"}, opened.Load().Path)
	assert.Equal(t, "http://origin/live/a.flv?token=secret", opened.Load().URL.Secret())
	assert.EqualValues(t, 2, o.opens.Load(), "it is asked to begin further back once it is known to be a Sluice")
	assert.Equal(t, 5*time.Second+moreBack, opened.Load().Back)
	_, err := e.hub.Watch(e.hub.NewSession(hub.RoleWatch, hub.Key{App: "live", Name: "a"}, hub.Client{Path: []string{"edge", "x"}}), hub.WatchOptions{})
	var refusal *hub.Refusal
	require.ErrorAs(t, err, &refusal)
	assert.Equal(t, hub.ReasonLoop, refusal.Reason)
}

// A stream that has passed this server already is none to pull.
func TestPullLoop(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, "edge")
	publish(t, o.hub, &encoder{mark: 'a'}, 5*time.Millisecond)
	e := newEdge(t, Config{Open: o.open}, "pull: live/a rtmp://origin/live/a")
	until(t, "it is refused", func() bool { return e.state().State == Refused })
	assert.Contains(t, e.state().Detail, "has passed this server")
	assert.EqualValues(t, 1, o.opens.Load())
}

// An own publisher beats a pull, which comes back when it has left.
func TestOwnPublisher(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, "upstream")
	publish(t, o.hub, &encoder{mark: 'a'}, 5*time.Millisecond)
	e := newEdge(t, Config{Open: o.open}, "pull: live/a rtmp://origin/live/a")
	v := e.watch(t, hub.Client{})
	require.NoError(t, v.Wait(t.Context()))
	for range 3 {
		until(t, "it is live", func() bool { return e.state().State == Live })
		own := publish(t, e.hub, &encoder{mark: 'b'}, 5*time.Millisecond)
		until(t, "it is idle", func() bool { return e.state().State == Idle })
		idle := e.state()
		assert.Empty(t, idle.Remote+idle.Node, "there is no connection")
		assert.Zero(t, idle.Session)
		own.leave()
	}
	until(t, "it is live again", func() bool { return e.state().State == Live })
	assert.False(t, v.Dismissed())
	assert.Equal(t, hub.ReasonNone, fillAll(v))
}

// fillAll takes what there is for a viewer, and returns why it ended, if it did.
func fillAll(v *hub.Viewer) hub.Reason {
	var b hub.Batch
	for {
		b.Bytes = b.Bytes[:0]
		more, end := v.Fill(&b, flvFramer{}, 64<<10)
		if end != hub.ReasonNone || !more {
			return end
		}
	}
}

// flvFramer writes tags as a file has them.
type flvFramer struct{}

func (flvFramer) AppendTags(dst []byte, tags []flv.Tag) []byte {
	for _, t := range tags {
		dst = flv.AppendTag(dst, t)
	}
	return dst
}

// A break is no event: the session stays, no frame is lost and none comes twice, and their times are
// those of the encoder.
func TestBreak(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, "upstream")
	source := publish(t, o.hub, &encoder{mark: 'a'}, 40*time.Millisecond) // at its pace: the clock counts
	e := newEdge(t, Config{Open: o.open}, "pull: live/a rtmp://origin/live/a")
	until(t, "it is live", func() bool { return e.state().State == Live })
	session := e.state().Session
	got, err := e.hub.Read(hub.Key{App: "live", Name: "a"}, hub.ReadOptions{FromSession: true})
	require.NoError(t, err)
	defer got.Close()
	var frames []hub.Packet
	take := func() {
		var b hub.ReadBatch
		for got.Read(&b, 1<<20); len(b.Packets) > 0; got.Read(&b, 1<<20) {
			for _, p := range b.Packets {
				assert.False(t, p.Reset)
				if isFrame(p.Tag) {
					p.Data = slices.Clone(p.Data)
					frames = append(frames, p)
				}
			}
		}
	}
	for n := range uint64(20) {
		o.breakAll(io.ErrUnexpectedEOF)
		until(t, "it is live again", func() bool { s := e.state(); return s.State == Live && s.Breaks == n+1 && s.Joined == n+1 })
		assert.Equal(t, "the connection broke off", e.state().Error)
		take()
	}
	source.leave()
	until(t, "all has come", func() bool { take(); return int64(len(frames)) >= source.sent.Load() })
	for i, p := range frames {
		first, beside := frames[0], "frame"
		if p.Type == flv.TypeAudio {
			beside = "sound"
		}
		assert.Contains(t, string(p.Data), fmt.Sprintf("a %s %d", beside, i/2+1))
		assert.EqualValues(t, i/2*40+i%2*5, p.Time-first.Time)
	}
	assert.Equal(t, session, e.state().Session)
	assert.Zero(t, e.state().Cuts)
}

// A stream that is over upstream is over here, at once; a Pull comes back with it.
func TestUpstreamEnds(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, "upstream")
	p := publish(t, o.hub, &encoder{mark: 'a'}, 5*time.Millisecond)
	e := newEdge(t, Config{Open: o.open}, "pull: live/a rtmp://origin/live/a")
	until(t, "it is live", func() bool { return e.state().State == Live })
	p.leave()
	o.breakAll(io.EOF)
	o.says(Failed(CauseNotFound, "no such stream"))
	until(t, "it is over", func() bool { return !e.hub.Live(hub.Key{App: "live", Name: "a"}) })
	o.says(nil)
	publish(t, o.hub, &encoder{mark: 'a'}, 5*time.Millisecond)
	until(t, "it is live", func() bool { return e.state().State == Live })
}

// The next server is asked where one fails, or says nothing.
func TestSeveralUpstreams(t *testing.T) {
	t.Parallel()
	dead, quiet, good := newOrigin(t, ""), newOrigin(t, "quiet"), newOrigin(t, "good")
	dead.says(io.ErrUnexpectedEOF)
	_, err := quiet.hub.Publish(quiet.hub.NewSession(hub.RolePublish, hub.Key{App: "live", Name: "a"}, hub.Client{}), hub.PublishOptions{})
	require.NoError(t, err)
	publish(t, good.hub, &encoder{mark: 'a'}, 5*time.Millisecond)
	e := newEdge(t, Config{Open: func(ctx context.Context, op Opening) (Source, error) {
		switch {
		case strings.Contains(op.URL.Secret(), "dead"):
			return dead.open(ctx, op)
		case strings.Contains(op.URL.Secret(), "quiet"):
			return quiet.open(ctx, op)
		}
		return good.open(ctx, op)
	}}, "origin: ** rtmp://dead/{app}/{name} rtmp://quiet/{app}/{name} rtmp://good/{app}/{name}")
	require.NoError(t, e.watch(t, hub.Client{}).Wait(t.Context()))
	assert.EqualValues(t, 1, dead.opens.Load())
	assert.EqualValues(t, 1, quiet.opens.Load())
	assert.Equal(t, "good", e.state().Node)
}

// Who waits for a stream that is always pulled is not why it is: its path does not go along, or a server
// on it would refuse the pull.
func TestPullPath(t *testing.T) {
	t.Parallel()
	paths := make(chan []string, 100)
	e := newEdge(t, Config{Open: func(_ context.Context, op Opening) (Source, error) {
		select {
		case paths <- op.Path:
		default:
		}
		return nil, Failed(CauseNotFound, "no such stream")
	}}, "pull: live/a rtmp://origin/live/a")
	<-paths
	v := e.watch(t, hub.Client{Path: []string{"further"}})
	assert.Error(t, v.Wait(t.Context()))
	for len(paths) > 0 {
		<-paths
	}
	for range 2 { // the first of these may have been opened before
		assert.Equal(t, []string{"edge"}, <-paths)
	}
}

// What another of several servers has is not pulled here, until it has it no more.
func TestPullElsewhere(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, "upstream")
	publish(t, o.hub, &encoder{mark: 'a'}, 5*time.Millisecond)
	var opens atomic.Int64
	var elsewhere atomic.Bool
	elsewhere.Store(true)
	e := newEdge(t, Config{
		Elsewhere: func(hub.Key) bool { return elsewhere.Load() },
		Open: func(ctx context.Context, of Opening) (Source, error) {
			opens.Add(1)
			return o.open(ctx, of)
		},
	}, "pull: live/a rtmp://origin/live/a")
	until(t, "it waits", func() bool { return e.state().Detail == "somebody else publishes it" })
	// As a copy of what that one has, of which the pull takes the place.
	who := e.hub.NewSession(hub.RolePublish, hub.Key{App: "live", Name: "a"}, hub.Client{Protocol: "cluster"})
	ended := make(chan *hub.Refusal, 1)
	copied, err := e.hub.Publish(who, hub.PublishOptions{Yields: true, Copies: true, End: func(why *hub.Refusal) { ended <- why }})
	require.NoError(t, err)
	defer copied.Close()
	assert.Zero(t, opens.Load())
	elsewhere.Store(false)
	until(t, "it is pulled", func() bool { return e.state().State == Live })
	assert.Equal(t, hub.ReasonReplaced, (<-ended).Reason)
}
