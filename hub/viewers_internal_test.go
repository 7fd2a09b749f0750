package hub

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Viewers come and go in any order: each is counted once, none is left, and
// neither is the memory of many.
func TestViewersComeAndGo(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	h := New(Config{})
	k := Key{"live", "demo"}
	p, err := h.Publish(h.NewSession(RolePublish, k, Client{}), PublishOptions{})
	require.NoError(t, err)
	defer p.Close()
	protocols := []string{"rtmp", "http-flv", "ws-flv"}
	var viewers []*Viewer
	change := func(come int) {
		for range 2000 {
			if len(viewers) == 0 || rng.IntN(100) < come {
				v, err := h.Watch(h.NewSession(RoleWatch, k, Client{Protocol: protocols[rng.IntN(3)]}), WatchOptions{})
				require.NoError(t, err)
				viewers = append(viewers, v)
				continue
			}
			i := rng.IntN(len(viewers))
			viewers[i].Close()
			viewers[i].Close() // again, in vain
			viewers[i] = viewers[len(viewers)-1]
			viewers = viewers[:len(viewers)-1]
		}
		require.NoError(t, h.Check())
		want := map[string]int{}
		for _, v := range viewers {
			want[v.session.Protocol()]++
		}
		info := h.Streams()[0]
		assert.Equal(t, want, info.ViewersByProtocol)
		assert.Equal(t, len(viewers), info.Viewers)
	}
	for _, come := range []int{90, 50, 10, 60} {
		change(come)
	}
	for _, v := range viewers {
		v.Close()
	}
	assert.Empty(t, p.stream.viewers)
	assert.Less(t, cap(p.stream.viewers), 64)
	assert.Zero(t, h.viewers)
}

// What there is one of for each viewer, and a hundred of for each stream.
func TestSizes(t *testing.T) {
	assert.LessOrEqual(t, unsafe.Sizeof(Viewer{}), uintptr(112))
	assert.LessOrEqual(t, unsafe.Sizeof(Session{}), uintptr(160))
	assert.LessOrEqual(t, unsafe.Sizeof(packet{}), uintptr(32))
}

// Of viewers who come and go while a stream with many is listed, none who is there all the time
// is left out, and none is listed twice.
func TestSessionsOfManyWhileSomeLeave(t *testing.T) {
	for seed := range uint64(15) {
		rnd := rand.New(rand.NewPCG(seed, 12))
		h := New(Config{})
		key := Key{App: "live", Name: "many"}
		var viewers []*Viewer
		come := func() {
			v, err := h.Watch(h.NewSession(RoleWatch, key, Client{}), WatchOptions{})
			require.NoError(t, err)
			viewers = append(viewers, v)
		}
		for range 1000 + rnd.IntN(1000) {
			come()
		}
		there := len(viewers) // from the beginning
		var all []SessionInfo
		for rest := math.MaxInt; rest > 0; {
			all, rest = viewers[0].Stream().appendChunk(all, rest, time.Time{})
			for range rnd.IntN(300) {
				viewers[rnd.IntN(len(viewers))].Close()
			}
			for range rnd.IntN(100) {
				come()
			}
		}
		listed := map[*Session]bool{}
		for _, info := range sortSessions(all) {
			assert.False(t, listed[info.Session], "twice")
			listed[info.Session] = true
		}
		for i, v := range viewers {
			if i < there && !v.mustEnd() {
				assert.True(t, listed[v.session], "seed %d: %d of %d", seed, i, there)
			}
			v.Close()
		}
	}
}
