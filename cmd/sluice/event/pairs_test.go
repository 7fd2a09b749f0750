package event

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub"
	"sluice/hub/archive"
	"sluice/hub/archive/flvfile"
	"sluice/hub/record"
)

// A picture, which is a key frame, and sound.
var (
	videoHeader = flv.Tag{Type: flv.TypeVideo, Data: []byte{0x17, 0, 0, 0, 0, 1, 0x64, 0, 0x1f, 0xff, 0xe1, 0, 0, 1, 0, 0}}
	keyFrame    = flv.Tag{Type: flv.TypeVideo, Data: []byte{0x17, 1, 0, 0, 0, 1}}
	audioHeader = flv.Tag{Type: flv.TypeAudio, Data: []byte{0xaf, 0, 0x12, 0x10}}
	sound       = flv.Tag{Type: flv.TypeAudio, Data: []byte{0xaf, 1, 2, 3}}
)

// publish publishes a stream for a while.
func publish(h *hub.Hub, key hub.Key, length time.Duration) (began bool) {
	ended := make(chan struct{})
	p, err := h.Publish(h.NewSession(hub.RolePublish, key, client("rtmp")), hub.PublishOptions{
		End: func(*hub.Refusal) { close(ended) },
	})
	if err != nil {
		return false
	}
	defer p.Close()
	p.Write(videoHeader)
	p.Write(audioHeader)
	for at := time.Duration(0); at < length; at += 100 * time.Millisecond {
		for _, t := range []flv.Tag{keyFrame, sound} {
			t.Timestamp = uint32(at.Milliseconds())
			if p.Write(t) != nil {
				return true
			}
		}
		select {
		case <-ended:
			return true
		case <-time.After(100 * time.Millisecond):
		}
	}
	return true
}

// packets are a second of sound.
func packets() (all []flvfile.Packet) {
	all = append(all, flvfile.Packet{Tag: audioHeader, Header: true})
	for ms := int64(0); ms < 1000; ms += 100 {
		t := sound
		t.Timestamp = uint32(ms)
		all = append(all, flvfile.Packet{Tag: t, Time: ms, Key: true})
	}
	return all
}

// Of real sessions, with an endpoint that fails at times: each publish has its unpublish, and
// each play its stop, exactly one and after it; as many as there were sessions.
func TestPairs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := new(endpoint)
		p.set(func(*http.Request, Event) (*http.Response, error) {
			time.Sleep(rand.N(20 * time.Millisecond))
			if rand.IntN(5) == 0 {
				return nil, errDown
			}
			return respond(200), nil
		})
		n, _ := begin(t, p, nil)
		h := hub.New(hub.Config{Observe: n.Observe, PublisherGrace: time.Second, ViewerWait: 3 * time.Second})
		var published, played, kicked atomic.Uint64
		var all sync.WaitGroup
		for i := range 40 {
			key := hub.Key{App: "live", Name: fmt.Sprint(i % 10)}
			all.Go(func() {
				for range 5 {
					time.Sleep(rand.N(5 * time.Second))
					if publish(h, key, rand.N(5*time.Second)) {
						published.Add(1)
					}
				}
			})
			all.Go(func() {
				for range 10 {
					time.Sleep(rand.N(2 * time.Second))
					v, err := h.Watch(h.NewSession(hub.RoleWatch, key, client("http-flv")), hub.WatchOptions{})
					if err != nil {
						continue
					}
					ctx, cancel := context.WithTimeout(t.Context(), rand.N(10*time.Second))
					err = v.Wait(ctx)
					cancel()
					if err == nil {
						played.Add(1)
						time.Sleep(rand.N(3 * time.Second))
					}
					if err == nil && rand.IntN(3) == 0 {
						kicked.Add(1)
						v.End(&hub.Refusal{Reason: hub.ReasonKicked, Detail: "by hand"})
					}
					v.Close()
				}
			})
		}
		all.Wait()
		require.NoError(t, h.Shutdown(t.Context()))
		synctest.Wait()
		end(n, time.Hour)
		taken := p.took()
		assert.Zero(t, checkComplete(t, taken, n.hooks.seq))
		count := make(map[Type]uint64)
		running := make(map[uint64]Type)
		over := map[Type]Type{TypeUnpublish: TypePublish, TypeStop: TypePlay}
		wanted := make(map[string]bool)
		for _, e := range taken {
			count[e.Type]++
			switch e.Type {
			case TypePublish, TypePlay:
				assert.Empty(t, running[e.Session.ID])
				running[e.Session.ID] = e.Type
			case TypeUnpublish, TypeStop:
				assert.Equal(t, over[e.Type], running[e.Session.ID])
				delete(running, e.Session.ID)
			case TypeKicked:
				assert.Equal(t, TypePlay, running[e.Session.ID], "before its end")
			case TypeWanted, TypeUnwanted:
				assert.NotEqual(t, e.Type == TypeWanted, wanted[e.Stream])
				wanted[e.Stream] = e.Type == TypeWanted
			}
		}
		assert.Empty(t, running)
		assert.NotZero(t, played.Load())
		assert.Equal(t, published.Load(), count[TypePublish])
		assert.Equal(t, published.Load(), count[TypeUnpublish])
		assert.Equal(t, played.Load(), count[TypePlay])
		assert.Equal(t, played.Load(), count[TypeStop])
		// A viewer whose stream has ended by then is not kicked any more.
		assert.LessOrEqual(t, count[TypeKicked], kicked.Load())
		assert.NotZero(t, count[TypeKicked])
		t.Logf("%v", count)
	})
}

// A stream that is really recorded: its file is where the event says, and has what it says. One
// that was being written when the process died is told by the next one.
func TestRealRecordings(t *testing.T) {
	recordings, state := t.TempDir(), t.TempDir()
	log, _ := logger()
	p := new(endpoint)
	key := hub.Key{App: "live", Name: "a:b"}
	start := func() (*Notifier, *archive.Archive) {
		a, err := archive.Open(archive.Config{Dir: recordings, Logger: log})
		require.NoError(t, err)
		n, _ := begin(t, p, func(c *Config) { c.StateDir, c.Recovered, c.Find = state, a.Recovered(), a.Recording })
		n.Started()
		return n, a
	}
	n, a := start()
	var r *record.Recorder
	h := hub.New(hub.Config{Observe: func(e hub.Event) {
		n.Observe(e)
		r.Observe(e)
	}, PublisherGrace: -1})
	r = record.New(record.Config{Hub: h, Archive: a, Observe: n.Recorded, Logger: log})
	require.True(t, publish(h, key, 300*time.Millisecond))
	require.NoError(t, h.Shutdown(t.Context()))
	require.NoError(t, r.Close(t.Context()))
	dead, err := a.Create(key, time.Now().Add(time.Hour), nil) // and what a process that died leaves
	require.NoError(t, err)
	_, _, err = dead.Write(nil, packets())
	require.NoError(t, err)
	n.Recorded(record.Event{Kind: record.EventBegun, Recording: dead.Recording()})
	end(n, time.Minute)
	require.NoError(t, dead.Close())
	require.NoError(t, a.Close())

	n, a = start()
	end(n, time.Minute)
	require.NoError(t, a.Close())
	var finished []Event
	for _, e := range p.took() {
		if e.Type == TypeRecordFinished {
			finished = append(finished, e)
			info, err := os.Stat(filepath.Join(recordings, filepath.FromSlash(e.Recording.Path)))
			require.NoError(t, err)
			assert.Equal(t, info.Size(), e.Recording.Bytes)
			assert.Equal(t, "live/a:b", e.Stream)
			assert.Equal(t, "AAC", e.Recording.Audio)
			assert.Equal(t, "finished", e.Recording.State)
		}
	}
	require.Len(t, finished, 2, "%v", types(p.took()))
	assert.Equal(t, "H.264", finished[0].Recording.Video)
	assert.False(t, finished[0].Recording.Recovered)
	assert.Equal(t, dead.Recording().ID, finished[1].Recording.ID)
	assert.True(t, finished[1].Recording.Recovered)
}
