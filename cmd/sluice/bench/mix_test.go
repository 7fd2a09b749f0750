package bench

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Viewers of a mix alternate: every stretch of them has about the shares asked for,
// and the viewers of each URL go round the streams.
func TestMix(t *testing.T) {
	for percents, want := range map[string]string{
		"0":        "0",
		"0 0":      "0 1",
		"0 0 0":    "0 1 2",
		"50 50":    "0 1",
		"25 75":    "1 0 1 1",
		"20 30 50": "2 1 0 2 1 2 2 0 1 2",
	} {
		var shares []int
		for _, f := range strings.Fields(percents) {
			var n int
			fmt.Sscan(f, &n)
			shares = append(shares, n)
		}
		m, err := newMix(shares)
		require.NoError(t, err)
		assert.Equal(t, want, strings.Trim(fmt.Sprint(m.order), "[]"), percents)
	}
	m, err := newMix([]int{1, 33, 66})
	require.NoError(t, err)
	o := options{watch: make([]watched, 3), mix: m, streams: 4}
	seen := make([]map[int]int, 3)
	for i := range 400 {
		watch, stream := o.place(i)
		if seen[watch] == nil {
			seen[watch] = map[int]int{}
		}
		seen[watch][stream]++
		if i%100 < 10 {
			continue
		}
		for url, share := range []float64{0.01, 0.33, 0.66} {
			n := 0
			for _, k := range seen[url] {
				n += k
			}
			require.InDelta(t, share*float64(i+1), n, 1.01, "URL %d after %d viewers", url, i+1)
		}
	}
	for url, each := range []int{1, 33, 66} {
		for stream := range 4 {
			assert.Equal(t, each, seen[url][stream], "URL %d, stream %d", url, stream)
		}
	}
}

func TestShares(t *testing.T) {
	o, err := parseFlags(strings.Fields("-watch 20%:rtmp://h/live/s%d -watch 80%:http://h/live/s%d.flv"))
	require.NoError(t, err)
	assert.Equal(t, 20, o.watch[0].percent)
	assert.Equal(t, "rtmp://h/live/s3", o.watch[0].at(3))
	assert.Equal(t, 80, o.watch[1].percent)
	assert.Equal(t, []int{1, 4}, o.mix.count)
}
