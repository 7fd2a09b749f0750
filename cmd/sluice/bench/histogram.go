package bench

import (
	"math/bits"
	"time"
)

// histogram counts durations in buckets that are at most 1/64 of their value
// wide, so that it takes any number of them in a few KB. The zero value is empty.
// It is for one goroutine at a time.
type histogram struct {
	buckets []uint32
	count   int64
	sum     time.Duration
	least   time.Duration
	most    time.Duration
}

// Buckets: one for each nanosecond below 2^subBits, then 2^subBits for each power
// of two.
const (
	subBits    = 6
	subBuckets = 1 << subBits
)

// bucketOf returns the bucket of a duration; negative ones are 0.
func bucketOf(d time.Duration) int {
	v := uint64(max(d, 0))
	if v < subBuckets {
		return int(v)
	}
	shift := bits.Len64(v) - subBits - 1
	return (shift+1)<<subBits + int(v>>shift)&(subBuckets-1)
}

// bucketEnd returns the longest duration in a bucket.
func bucketEnd(b int) time.Duration {
	if b < subBuckets {
		return time.Duration(b)
	}
	shift := b>>subBits - 1
	low := uint64(subBuckets|b&(subBuckets-1)) << shift
	return time.Duration(low + 1<<shift - 1)
}

// add counts d.
func (h *histogram) add(d time.Duration) {
	b := bucketOf(d)
	if b >= len(h.buckets) {
		h.buckets = append(h.buckets, make([]uint32, b+1-len(h.buckets))...)
	}
	h.buckets[b]++
	if h.count == 0 || d < h.least {
		h.least = d
	}
	h.most = max(h.most, d)
	h.count++
	h.sum += d
}

// merge adds what other has counted.
func (h *histogram) merge(other *histogram) {
	if other.count == 0 {
		return
	}
	if n := len(other.buckets) - len(h.buckets); n > 0 {
		h.buckets = append(h.buckets, make([]uint32, n)...)
	}
	for b, n := range other.buckets {
		h.buckets[b] += n
	}
	if h.count == 0 || other.least < h.least {
		h.least = other.least
	}
	h.most = max(h.most, other.most)
	h.count += other.count
	h.sum += other.sum
}

// percentile returns a duration that p percent of those counted do not exceed,
// at most 1/64 too long; 0 if nothing was counted. p is from 0 to 100.
func (h *histogram) percentile(p float64) time.Duration {
	if h.count == 0 {
		return 0
	}
	// The nearest rank: the smallest number of them that is p percent at least.
	rank := int64(p / 100 * float64(h.count))
	if float64(rank) < p/100*float64(h.count) || rank == 0 {
		rank++
	}
	seen := int64(0)
	for b, n := range h.buckets {
		if seen += int64(n); seen >= rank {
			return max(h.least, min(bucketEnd(b), h.most))
		}
	}
	return h.most
}

// mean returns the average, 0 if nothing was counted.
func (h *histogram) mean() time.Duration {
	if h.count == 0 {
		return 0
	}
	return h.sum / time.Duration(h.count)
}
