package hub_test

import (
	"bytes"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub"
)

// stillOf returns the still of the test's stream in words, its codec header first, or why there
// is none.
func stillOf(t *testing.T, h *hub.Hub) string {
	t.Helper()
	s, err := h.Still(key, hub.StillMark{})
	if err != nil {
		refusal, ok := errors.AsType[*hub.Refusal](err)
		require.True(t, ok)
		require.Equal(t, hub.ReasonNotFound, refusal.Reason)
		return refusal.Detail
	}
	if s.Config.Data == nil {
		return strings.TrimSpace("none " + words(s.Frames))
	}
	return words(append([]flv.Tag{s.Config}, s.Frames...))
}

// A still is the newest key frame that viewers would begin with, from the first to the last
// moment of its stream.
func TestStill(t *testing.T) {
	const nobody, none, dark = "nobody publishes live/demo now", "no key frame of live/demo has come yet", "live/demo has no picture"
	type step struct{ send, want string }
	for name, steps := range map[string][]step{
		"picture and sound": {
			{"meta:av vc:s ac:c A:1@0", none},
			{"K:1@0", "vc:s@0 K:1@0"},
			{"P:2@40 A:2@40 P:3@80", "vc:s@0 K:1@0"},
			{"K:4@120", "vc:s@0 K:4@0"},
			{"vc:t P:5@160", "vc:s@0 K:4@0"}, // the header of the next key frame
			{"K:6@200", "vc:t@0 K:6@0"},
			{"hc:h HK:7@240", "hc:h@0 HK:7@0"},
		},
		"slices in messages of their own": {
			{"vc:s K:a@0", "vc:s@0 K:a@0"},
			{"K:b@0", "vc:s@0 K:a@0 K:b@0"},
			{"ac:c A:1@0 K:c@0", "vc:s@0 K:a@0 K:b@0 K:c@0"},
			{"P:2@40 P:2@40", "vc:s@0 K:a@0 K:b@0 K:c@0"},
			{"K:d@80 K:e@80", "vc:s@0 K:d@0 K:e@0"},
			{"K:f@120", "vc:s@0 K:f@0"},
		},
		"no codec header":            {{"K:1@0 P:2@40", "none K:1@0"}},
		"no key frame":               {{"vc:s P:1@0 P:2@40", none}},
		"sound that is all there is": {{"ac:c A:1@0 A:2@1001 A:3@2001", dark}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHub(t, hub.Config{})
				assert.Equal(t, nobody, stillOf(t, h))
				assert.Empty(t, h.Streams(), "it makes no stream")
				p := publish(t, h, client{})
				p.live = true
				for _, s := range steps {
					p.send(s.send)
					assert.Equal(t, s.want, stillOf(t, h), s.send)
				}
				assert.Zero(t, info(t, h).Viewers)
				p.Close()
				time.Sleep(9 * time.Second)
				assert.Equal(t, nobody, stillOf(t, h))
			})
		})
	}
}

// Whoever waits for a stream makes it no published one, and while a publisher has its grace time
// there is what viewers were shown last.
func TestStillBetweenPublishers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		newSink(t, h, hub.WatchOptions{})
		assert.Equal(t, "nobody publishes live/demo now", stillOf(t, h))
		p := publish(t, h, client{})
		p.send("vc:s K:1@0")
		p.Close()
		assert.Equal(t, "vc:s@0 K:1@0", stillOf(t, h))
		p = publish(t, h, client{})
		assert.Equal(t, "no key frame of live/demo has come yet", stillOf(t, h))
		p.send("vc:t K:2@0")
		assert.Equal(t, "vc:t@0 K:2@0", stillOf(t, h))
	})
}

// What the caller has is not copied again; no two key frames have one mark, not even those of two
// streams of one name.
func TestStillMark(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{PublisherGrace: -1})
		marks := map[hub.StillMark]bool{{}: true}
		take := func() {
			t.Helper()
			s, err := h.Still(key, hub.StillMark{})
			require.NoError(t, err)
			require.NotEmpty(t, s.Frames)
			assert.False(t, marks[s.Mark])
			marks[s.Mark] = true
			again, err := h.Still(key, s.Mark)
			require.NoError(t, err)
			assert.Equal(t, hub.Still{Mark: s.Mark}, again)
		}
		for range 2 {
			p := publish(t, h, client{})
			p.send("vc:s K:1@0")
			take()
			p.send("K:2@0")
			take()
			p.send("P:3@40 K:4@80")
			take()
			p.Close()
			assert.Equal(t, "nobody publishes live/demo now", stillOf(t, h))
		}
	})
}

// A key frame that is too large costs nothing, and one that is large is copied whole.
func TestStillSize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{})
		p.send("vc:s")
		whole := tag("K:x")
		whole.Data = append(whole.Data, bytes.Repeat([]byte("y"), hub.MaxStill-len(whole.Data))...)
		require.NoError(t, p.Write(whole))
		s, err := h.Still(key, hub.StillMark{})
		require.NoError(t, err)
		require.Len(t, s.Frames, 1)
		assert.True(t, bytes.Equal(whole.Data, s.Frames[0].Data))

		whole.Data = append(whole.Data, 'y')
		whole.Timestamp = 40
		require.NoError(t, p.Write(whole))
		assert.Equal(t, "the key frames of live/demo are larger than 4194304 bytes", stillOf(t, h))
		p.send("K:z@80")
		assert.Equal(t, "vc:s@0 K:z@0", stillOf(t, h))
	})
}

// Stills are taken while key frames of every size come and go, and each is whole.
func TestStillsWhilePublishing(t *testing.T) {
	h := newHub(t, hub.Config{PublisherGrace: -1})
	over := make(chan struct{})
	var takers sync.WaitGroup
	for range 4 {
		takers.Go(func() {
			var have hub.StillMark
			for {
				select {
				case <-over:
					return
				default:
				}
				s, err := h.Still(key, have)
				if err != nil || len(s.Frames) == 0 {
					continue
				}
				have = s.Mark
				body := s.Frames[0].Data[5:]
				assert.Equal(t, bytes.Repeat(body[:1], len(body)), body)
			}
		})
	}
	for range 20 {
		p, err := h.Publish(publisher(h, key), hub.PublishOptions{})
		require.NoError(t, err)
		require.NoError(t, p.Write(tag("vc:s")))
		for i := range 20 {
			k := tag("K:")
			k.Timestamp = uint32(40 * i)
			k.Data = append(k.Data, bytes.Repeat([]byte{byte(i)}, 1+(i*7919)%60_000)...)
			require.NoError(t, p.Write(k))
		}
		p.Close()
	}
	close(over)
	takers.Wait()
}

// A session that asks for a still only asks, and nobody is told of it when it is refused: a list
// has one of each stream.
func TestStillSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []hub.Event
		h := newHub(t, hub.Config{Observe: func(e hub.Event) { told = append(told, e) }})
		s := h.NewSession(hub.RoleWatch, key, hub.Client{Still: true})
		assert.True(t, s.Client().Still)
		assert.True(t, s.Client().Inquiry)
		s.Refuse(&hub.Refusal{Reason: hub.ReasonDenied})
		synctest.Wait()
		assert.Empty(t, told)
	})
}
