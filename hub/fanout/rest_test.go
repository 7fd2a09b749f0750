//go:build unix

package fanout

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/flv/amf"
	"sluice/hub"
)

// Outlets that wait for the same bytes share one copy; the rest with the highest cost
// for each holder goes first.
func TestSharedRests(t *testing.T) {
	h := hub.New(hub.Config{})
	keyOf := func(name string) hub.FrameKey { return frameKey(t, h, name) }
	frame := func(n int) []byte { return bytes.Repeat([]byte{'x'}, n) }
	ts := sharedRests{most: 1000}
	o := make([]*Outlet, 10)
	for i := range o {
		o[i] = new(Outlet)
	}
	crowd, victims := ts.hold(o[0], keyOf("crowd"), frame(600))
	assert.Empty(t, victims)
	for i := 1; i < 5; i++ {
		same, victims := ts.hold(o[i], crowd.key, frame(600))
		assert.Empty(t, victims)
		assert.Same(t, crowd, same)
	}
	assert.EqualValues(t, 600, ts.held)
	single, victims := ts.hold(o[5], hub.FrameKey{}, frame(300))
	assert.Empty(t, victims)
	_, victims = ts.hold(o[6], hub.FrameKey{}, frame(350))
	assert.Equal(t, []*Outlet{o[6]}, victims, "costlier than any other")
	_, victims = ts.hold(o[7], hub.FrameKey{}, frame(250))
	assert.Equal(t, []*Outlet{o[5]}, victims, "and not the crowd, whose frame is larger")
	ts.release(o[5], single) // it was gone already
	assert.EqualValues(t, 850, ts.held)
	for i := range 5 {
		assert.EqualValues(t, 850, ts.held)
		ts.release(o[i], crowd)
	}
	assert.EqualValues(t, 250, ts.held)
	assert.Empty(t, ts.shared)
	assert.Len(t, ts.all, 1)
}

// frameKey returns the key of a large frame that was published.
func frameKey(t *testing.T, h *hub.Hub, name string) hub.FrameKey {
	t.Helper()
	stream := hub.Key{App: "live", Name: name}
	p, err := h.Publish(h.NewSession(hub.RolePublish, stream, hub.Client{Protocol: "test"}), hub.PublishOptions{})
	require.NoError(t, err)
	t.Cleanup(p.Close)
	require.NoError(t, p.Write(flv.Tag{Type: flv.TypeScript, Data: metadata}))
	require.NoError(t, p.Write(flv.Tag{Type: flv.TypeVideo, Data: append([]byte{0x17, 1, 0, 0, 0}, make([]byte, 64<<10)...)}))
	v, err := h.Watch(h.NewSession(hub.RoleWatch, stream, hub.Client{Protocol: "test"}), hub.WatchOptions{})
	require.NoError(t, err)
	t.Cleanup(v.Close)
	require.NoError(t, v.Wait(t.Context()))
	var b hub.Batch
	v.Fill(&b, stamper{}, 1<<20)
	key, _, ok := b.LargeFrame()
	require.True(t, ok)
	return key
}

var metadata = amf.AppendAMF0(nil, "onMetaData", amf.ECMAArray{{Name: "videocodecid", Value: 7.0}})

// stamper is a framer whose bytes are good for others.
type stamper struct{ framer }

func (stamper) Form() uint64 { return 1 }

func (stamper) Stamp(framed []byte, timestamps []uint32) bool {
	for _, ts := range timestamps {
		framed = flv.StampTag(framed, ts)
	}
	return true
}

func stamped(f *Feed) { f.Framer = stamper{} }

// A crowd that does not take a large frame at once holds it once, loses nothing, and
// holds nothing when it has taken it.
func TestLargeFrameOfACrowd(t *testing.T) {
	onFakeClock(t, func(t *testing.T, wrap func(*pairConn) Conn) {
		const crowd, frame, most = 30, 1 << 20, 2 << 20
		w := newWorld(t, Config{Workers: 1, MaxUnwritten: most}, hub.Config{})
		s := w.publish("a")
		s.send("K", 20)
		var peers []*peer
		var outlets []*Outlet
		for range crowd {
			c, p := newPair(t)
			outlets = append(outlets, w.pool.NewOutlet(wrap(c)))
			w.attach(outlets[len(outlets)-1], s.key, stamped)
			peers = append(peers, p)
			s.send("P", 20) // each has a time of its own
			synctest.Wait()
		}
		s.send("K", frame)
		synctest.Wait()
		assert.LessOrEqual(t, w.pool.rests.held, int64(frame+1000))
		assert.Len(t, w.pool.rests.all, 1)
		outlets[crowd-1].Write(message("in between")) // behind what waits
		s.send("P", 20)
		for range 100 {
			for _, p := range peers {
				p.read(64 << 10)
			}
			time.Sleep(10 * time.Millisecond)
		}
		for i, p := range peers {
			got := words(p.got)
			assert.Equal(t, "head a", got[0])
			assert.NotContains(t, got, "cut", i)
			want := frames("K"+strings.Repeat("P", crowd)+"KP", 0)
			have := got[1:]
			if i == crowd-1 {
				assert.Equal(t, "in between", have[len(have)-2])
				have = slices.Delete(have, len(have)-2, len(have)-1)
			}
			assert.Equal(t, want, have, i)
		}
		assert.Zero(t, w.pool.rests.held)
		assert.Empty(t, w.pool.rests.all)
	})
}

// Where each holds a copy of its own they are bounded together.
func TestLargeFramesHaveABound(t *testing.T) {
	onFakeClock(t, func(t *testing.T, wrap func(*pairConn) Conn) {
		const frame, most = 1 << 20, 5 << 20
		w := newWorld(t, Config{Workers: 1, MaxUnwritten: most}, hub.Config{})
		s := w.publish("a")
		s.send("K", 20)
		var stalled []*viewer
		for range 20 {
			c, _ := newPair(t)
			stalled = append(stalled, w.attach(w.pool.NewOutlet(wrap(c)), s.key))
		}
		s.send("K", frame)
		synctest.Wait()
		assert.LessOrEqual(t, w.pool.rests.held, int64(most))
		ended := 0
		for _, v := range stalled {
			if why, over := v.ended(); over {
				assert.Equal(t, hub.ReasonStalled, why)
				ended++
			}
		}
		assert.GreaterOrEqual(t, ended, 10)
		assert.Less(t, ended, 20)
	})
}
