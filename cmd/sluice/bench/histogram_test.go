package bench

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestHistogramIsEmptyAtFirst(t *testing.T) {
	var h histogram
	assert.Zero(t, h.percentile(50))
	assert.Zero(t, h.mean())
	h.merge(&histogram{})
	assert.Zero(t, h.count)
	assert.Zero(t, percentilesOf(&h))
}

func TestBucketsAreNarrowAndInOrder(t *testing.T) {
	for _, d := range []time.Duration{0, 1, 63, 64, 65, 127, 128, 1000, time.Microsecond, time.Millisecond, time.Second, time.Hour, 1 << 62} {
		end := bucketEnd(bucketOf(d))
		assert.GreaterOrEqual(t, end, d)
		assert.LessOrEqual(t, end-d, d/64, "%v", d)
		assert.Equal(t, bucketOf(d), bucketOf(end))
		assert.Equal(t, bucketOf(d)+1, bucketOf(end+1))
	}
	assert.Equal(t, 0, bucketOf(-time.Second))
}

// Percentiles by the nearest rank, compared with those of the sorted list.
func TestPercentiles(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{1, 2, 3, 10, 99, 100, 101, 5000} {
		var whole, left, right histogram
		var list []time.Duration
		for i := range n {
			d := time.Duration(random.ExpFloat64() * float64(time.Millisecond))
			list = append(list, d)
			whole.add(d)
			if i%3 == 0 {
				left.add(d)
			} else {
				right.add(d)
			}
		}
		left.merge(&right)
		assert.Equal(t, whole, left)
		slices.Sort(list)
		for _, p := range []float64{0, 1, 50, 95, 99, 99.9, 100} {
			rank := 1
			for float64(rank) < p/100*float64(n) {
				rank++
			}
			want := list[rank-1]
			assert.InDelta(t, float64(want), float64(whole.percentile(p)), float64(want)/64, "p%v of %d", p, n)
			assert.GreaterOrEqual(t, whole.percentile(p), want)
		}
		assert.Equal(t, list[n-1], whole.percentile(100))
		assert.Equal(t, list[n-1], whole.most)
		assert.Equal(t, list[0], whole.least)
	}
}
