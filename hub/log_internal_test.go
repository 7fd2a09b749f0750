package hub

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
)

// entry appends a packet of n bytes.
func (l *log) entry(at int64, key bool, n int) {
	l.append(packet{time: at, arrived: at, key: key, kind: flv.TypeVideo}, make([]byte, n))
}

const unbounded = 1 << 40

// What trimming leaves: by time, by bytes, and always the newest GOP unless the
// byte bound forbids.
func TestTrim(t *testing.T) {
	const size = 1000 + entryCost
	for _, test := range []struct {
		name     string
		times    []int64
		keys     []int // indexes
		keep     time.Duration
		maxBytes int64
		tail     uint64
		cut      uint64
	}{
		{"all young", []int64{0, 100, 200}, []int{0}, time.Second, unbounded, 0, 0},
		{"as old as may be", []int64{0, 500, 1000}, []int{2}, time.Second, unbounded, 0, 0},
		{"older than keep", []int64{0, 500, 1001}, []int{2}, time.Second, unbounded, 1, 0},
		{"older, but in the newest GOP", []int64{0, 500, 5000}, []int{0}, time.Second, unbounded, 0, 0},
		{"older, up to the newest GOP", []int64{0, 1, 2, 5000}, []int{0, 2}, time.Second, unbounded, 2, 0},
		{"no start point", []int64{0, 500, 5000}, nil, time.Second, unbounded, 2, 0},
		{"too many bytes", []int64{0, 1, 2, 3}, []int{2}, time.Second, 3 * size, 1, 0},
		{"too many bytes for the GOP", []int64{0, 1, 2, 3}, []int{0}, time.Second, 3 * size, 1, 1},
		{"what is left of a cut GOP ages", []int64{0, 1, 2, 3, 5000}, []int{0}, time.Second, 4 * size, 4, 1},
		{"never the newest packet", []int64{0, 1, 2}, []int{2}, time.Second, 1, 2, 0},
		{"keep nothing", []int64{0, 1, 2}, []int{1}, 0, unbounded, 1, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			var l log
			for i, at := range test.times {
				l.entry(at, false, 1000)
				for _, k := range test.keys {
					if k == i {
						l.markKey(uint64(i))
					}
				}
			}
			l.trim(test.keep, test.maxBytes)
			assert.Equal(t, test.tail, l.tail)
			assert.Equal(t, test.cut, l.gopCut)
			assert.Equal(t, len(test.keys) > 0 && test.cut == 0, l.hasGOP)
			assert.Equal(t, uint64(len(test.times)), l.head())
			assert.EqualValues(t, size*len(l.packets), l.bytes)
		})
	}
}

// An empty log, and one that was trimmed again and again.
func TestTrimNothing(t *testing.T) {
	var l log
	l.trim(0, 0)
	assert.Zero(t, l.head())
	l.entry(0, true, 10)
	for range 3 {
		l.trim(0, 0)
		assert.Equal(t, uint64(1), l.head())
		assert.True(t, l.hasGOP)
	}
}

// A GOP that was cut counts once; the next one is a new matter.
func TestGOPCutCounts(t *testing.T) {
	var l log
	const maxBytes = 10 * (100 + entryCost)
	for gop := range uint64(3) {
		for i := range int64(50) {
			l.entry(int64(gop)*50+i, i == 0, 100)
			l.trim(time.Hour, maxBytes)
			assert.LessOrEqual(t, l.bytes, int64(maxBytes))
		}
		assert.Equal(t, gop+1, l.gopCut)
		assert.False(t, l.hasGOP)
	}
}

// Headers count with the first packet that has them.
func TestHeadersCost(t *testing.T) {
	var l log
	h := noHeaders.withConfig(config{slot: slot{typ: flv.TypeVideo}, data: make([]byte, 1000)})
	l.append(packet{headers: h}, nil)
	one := l.bytes
	assert.Greater(t, one, int64(1000))
	l.append(packet{headers: h, arrived: 1}, nil)
	assert.Equal(t, one+entryCost, l.bytes)
	l.append(packet{headers: h.withConfig(config{slot: slot{typ: flv.TypeVideo}, data: make([]byte, 2000)}), arrived: 2}, nil)
	assert.Greater(t, l.bytes, one+entryCost+2000)
	l.trim(0, unbounded)
	assert.Greater(t, l.bytes, int64(2000))
	l.entry(1000, false, 0)
	l.trim(0, unbounded)
	assert.EqualValues(t, entryCost, l.bytes)
}

// A property of the log: whatever is appended and trimmed, the packets that are
// there are the newest ones, whole and in order. Pages go from log to log.
func TestPagesAreNeverMixedUp(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	logs := make([]log, 4)
	sent := make([][][]byte, len(logs))
	for i := range 8000 {
		n := rng.IntN(len(logs))
		l := &logs[n]
		data := make([]byte, packetSize(rng))
		for j := range data {
			data[j] = byte(rng.Uint32())
		}
		sent[n] = append(sent[n], data)
		l.append(packet{time: int64(i), key: rng.IntN(30) == 0}, data)
		if rng.IntN(3) == 0 {
			l.trim(time.Duration(rng.IntN(500))*time.Millisecond, int64(rng.IntN(1<<20)))
		}
		if rng.IntN(500) == 0 {
			*l = log{} // a stream ends; its pages are the garbage collector's
			sent[n] = nil
		}
		if i%50 == 0 {
			checkLog(t, l, sent[n])
		}
	}
	for n := range logs {
		checkLog(t, &logs[n], sent[n])
	}
}

func packetSize(rng *rand.Rand) int {
	switch rng.IntN(10) {
	case 0:
		return 0
	case 1:
		return largePacket - 1 + rng.IntN(3)
	case 2:
		return rng.IntN(5 * pageSize)
	default:
		return rng.IntN(400)
	}
}

func checkLog(t *testing.T, l *log, sent [][]byte) {
	t.Helper()
	require.Equal(t, uint64(len(sent)), l.head())
	bytesHeld := int64(0)
	for seq := l.tail; seq < l.head(); seq++ {
		p := l.at(seq)
		require.True(t, bytes.Equal(sent[seq], p.data), "packet %d", seq)
		if p.page != nil {
			require.Equal(t, len(p.data), cap(p.data), "an append would run into the next packet")
		}
		bytesHeld += int64(p.cost)
	}
	require.Equal(t, bytesHeld, l.bytes)
	if l.hasGOP {
		require.True(t, l.gop >= l.tail && l.gop < l.head() && l.at(l.gop).key)
	}
}

func TestSince(t *testing.T) {
	var l log
	for i := range int64(10) {
		l.entry(i*10, true, 1)
	}
	l.trim(40*time.Millisecond, 1) // leaves the newest
	assert.Equal(t, uint64(9), l.tail)
	for i := range int64(10) {
		l.entry(100+i*10, false, 1)
	}
	for _, test := range []struct {
		time  int64
		floor uint64
		want  uint64
	}{
		{0, 0, 9}, {90, 0, 9}, {91, 0, 10}, {150, 0, 15}, {155, 0, 16}, {150, 17, 17}, {1000, 0, 20},
	} {
		assert.Equal(t, test.want, l.since(test.time, test.floor), "%+v", test)
	}
}
