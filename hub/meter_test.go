package hub_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub"
)

// measured publishes for as long as publish says, and returns what has been measured by then.
func measured(t *testing.T, publish func(write func(words ...string))) (m hub.Measures, again func() hub.Measures) {
	h := newHub(t, hub.Config{})
	p, err := h.Publish(publisher(h, key), hub.PublishOptions{})
	require.NoError(t, err)
	t.Cleanup(p.Close)
	publish(func(words ...string) {
		for _, w := range words {
			require.NoError(t, p.Write(tag(w)))
		}
	})
	again = func() hub.Measures {
		all := h.Measure(nil)
		require.Len(t, all, 1)
		return all[0]
	}
	return again(), again
}

func TestMeasure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, again := measured(t, func(write func(...string)) {
			write("meta:av", "vc:s", "ac:s", "P:lost@0", "K:a@0", "A:b@0", "P:c@40", "A:d@50")
			time.Sleep(2 * time.Second)
			write("K:one@2000", "K:slice@2000", "A:e@1980", "early:x@2040", "A:f@2040")
			time.Sleep(3 * time.Second)
			write("P:g@5000")
			time.Sleep(time.Second)
		})
		assert.Equal(t, key, m.Key)
		assert.Equal(t, uint64(5), m.Counts.Pictures, "two slices are one picture; what comes before a key frame is none")
		assert.Equal(t, uint64(4), m.Counts.Sounds)
		assert.Equal(t, 5*time.Second, m.Counts.Video)
		assert.Equal(t, 40*time.Millisecond, m.KeyInterval)
		assert.Equal(t, uint64(1), m.KeyGap)
		assert.Equal(t, 2960*time.Millisecond, m.SinceKey)
		assert.Equal(t, uint64(1), m.AfterKey)
		assert.Equal(t, uint64(1), m.Counts.Early)
		assert.Equal(t, time.Second, m.Silence)
		assert.True(t, m.HasApart)
		assert.Equal(t, 2960*time.Millisecond, m.Gap)
		assert.Equal(t, 40*time.Millisecond, m.Apart)
		assert.Equal(t, 40*time.Millisecond, m.VideoUneven)
		assert.Equal(t, flv.CodecH264, m.VideoFormat.Codec)
		assert.Equal(t, flv.CodecAAC, m.AudioFormat.Codec)

		next := again()
		assert.Zero(t, next.VideoUneven, "it counts from look to look")
		assert.False(t, next.HasApart)
		assert.Zero(t, next.Gap)
		assert.Equal(t, m.Counts.Pictures, next.Counts.Pictures)
	})
}

// A frame that arrives late is as late as it is, at whatever time its stream began.
func TestMeasureUneven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Hour)
		m, _ := measured(t, func(write func(...string)) {
			write("vc:s", "ac:s", "K:a@7000", "A:a@7000")
			time.Sleep(1500 * time.Millisecond)
			write("P:b@7040", "P:c@8500", "A:b@8500")
		})
		assert.Equal(t, 1460*time.Millisecond, m.VideoUneven)
		assert.Zero(t, m.AudioUneven)
	})
}

// A publisher that comes back is measured from its beginning; one that is gone is not measured.
func TestMeasureFollowsSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		for range 2 {
			p, err := h.Publish(publisher(h, key), hub.PublishOptions{})
			require.NoError(t, err)
			assert.Equal(t, uint64(0), h.Measure(nil)[0].Counts.Pictures)
			for _, w := range []string{"vc:s", "K:a@0", "P:b@40"} {
				require.NoError(t, p.Write(tag(w)))
			}
			m := h.Measure(nil)
			require.Len(t, m, 1)
			assert.Equal(t, []uint64{1, 2}, []uint64{uint64(m[0].Counts.Pictures - m[0].AfterKey), m[0].Counts.Pictures})
			assert.Zero(t, m[0].KeyInterval)
			p.Close()
			assert.Empty(t, h.Measure(nil))
		}
	})
}
