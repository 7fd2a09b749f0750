package hub

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
)

// entry appends a packet of n bytes.
func (l *log) entry(at int64, key bool, n int) {
	l.append(packet{time: at, arrived: at, marks: startIf(key), kind: flv.TypeVideo}, noHeaders, make([]byte, n))
}

// noOne holds nothing.
func noOne(uint64) bool { return false }

const unbounded = 1 << 40

// What trimming leaves: by time, by bytes, and always the newest GOP unless the
// byte bound forbids.
func TestTrim(t *testing.T) {
	const (
		frame = maxSlot + 1 // no slot, whose size would depend on what other tests left
		size  = frame + entryCost
	)
	headers := int64(noHeaders.size())
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
				l.entry(at, false, frame)
				for _, k := range test.keys {
					if k == i {
						l.markKey(uint64(i))
					}
				}
			}
			l.trim(test.keep, headers+test.maxBytes, noOne, noOne)
			assert.Equal(t, test.tail, l.tail)
			assert.Equal(t, test.cut, l.gopCut)
			assert.Equal(t, len(test.keys) > 0 && test.cut == 0, l.hasGOP)
			assert.Equal(t, uint64(len(test.times)), l.head)
			assert.EqualValues(t, headers+size*int64(l.head-l.tail), l.memory())
		})
	}
}

// An empty log, and one that was trimmed again and again.
func TestTrimNothing(t *testing.T) {
	var l log
	l.trim(0, 0, noOne, noOne)
	assert.Zero(t, l.head)
	l.entry(0, true, 10)
	for range 3 {
		l.trim(0, 0, noOne, noOne)
		assert.Equal(t, uint64(1), l.head)
		assert.True(t, l.hasGOP)
	}
}

// A GOP that was cut counts once; the next one is a new matter.
func TestGOPCutCounts(t *testing.T) {
	var l log
	maxBytes := int64(noHeaders.size() + 10*(2048+entryCost))
	for gop := range uint64(3) {
		for i := range int64(50) {
			l.entry(int64(gop)*50+i, i == 0, 2000)
			l.trim(time.Hour, maxBytes, noOne, noOne)
			assert.LessOrEqual(t, l.memory(), maxBytes)
		}
		assert.Equal(t, gop+1, l.gopCut)
		assert.False(t, l.hasGOP)
	}
}

// Headers count with the first packet that has them.
func TestHeadersCost(t *testing.T) {
	var l log
	h := noHeaders.withConfigs(0, config{slot: slot{typ: flv.TypeVideo}, data: make([]byte, 1000)})
	other := h.withConfigs(0, config{slot: slot{typ: flv.TypeVideo}, data: make([]byte, 2000)})
	l.append(packet{}, h, nil)
	one := l.bytes
	assert.Greater(t, one, int64(1000))
	l.append(packet{arrived: 1}, h, nil)
	assert.Equal(t, one+entryCost, l.bytes)
	l.append(packet{arrived: 2}, other, nil)
	assert.EqualValues(t, h.size()+other.size()+3*entryCost, l.bytes)
	l.trim(0, unbounded, noOne, noOne)
	assert.EqualValues(t, other.size()+entryCost, l.bytes)
	l.append(packet{arrived: 1000}, noHeaders, nil)
	l.trim(0, unbounded, noOne, noOne)
	assert.EqualValues(t, noHeaders.size()+entryCost, l.bytes)
}

// A property of the log: whatever is appended and trimmed, the packets that are
// there are the newest ones, whole, in order and with their headers. Slots and
// blocks go from log to log.
func TestMemoryIsNeverMixedUp(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	logs := make([]log, 4)
	sent := make([][]sentPacket, len(logs))
	inForce := make([]*headers, len(logs))
	for i := range 8000 {
		n := rng.IntN(len(logs))
		l := &logs[n]
		if inForce[n] == nil || rng.IntN(10) == 0 {
			inForce[n] = noHeaders.withConfigs(0, config{data: binary.BigEndian.AppendUint32(nil, uint32(i))})
		}
		size := packetSize(rng)
		data := make([]byte, 0, size+8)
		for len(data) < size {
			data = binary.NativeEndian.AppendUint64(data, rng.Uint64())
		}
		p := sentPacket{data[:size:size], inForce[n]}
		sent[n] = append(sent[n], p)
		at := int64(i)
		l.append(packet{time: at, arrived: at, marks: startIf(rng.IntN(30) == 0)}, p.headers, p.data)
		switch rng.IntN(8) {
		case 0, 1, 2:
			floor := l.tail + rng.Uint64N(l.head-l.tail)
			read := max(floor/2, uint64(rng.IntN(2))*floor)
			l.trim(time.Duration(rng.IntN(500))*time.Millisecond, int64(rng.IntN(1<<20)),
				func(seq uint64) bool { return seq >= floor }, func(seq uint64) bool { return seq >= read })
		case 3:
			first := l.tail + rng.Uint64N(l.head-l.tail+1)
			audio := flv.Codec(rng.Uint32())
			change := func(h *headers) *headers { return h.withTrack(audioTrack, audio).withTrack(videoTrack, 0) }
			l.changeHeaders(first, change)
			for seq := first; seq < l.head; seq++ {
				sent[n][seq].headers = change(sent[n][seq].headers)
			}
			inForce[n] = l.runs[len(l.runs)-1].headers
		}
		if rng.IntN(500) == 0 {
			*l = log{} // a stream ends; its memory is the garbage collector's
			sent[n], inForce[n] = nil, nil
		}
		if i%50 == 0 {
			checkLog(t, l, sent[n])
		}
	}
	for n := range logs {
		checkLog(t, &logs[n], sent[n])
	}
}

// sentPacket is what a log is to hold of a packet.
type sentPacket struct {
	data    []byte
	headers *headers
}

func packetSize(rng *rand.Rand) int {
	switch rng.IntN(200) {
	case 0:
		return maxSlot - 1 + rng.IntN(3)
	case 1, 2, 3, 4, 5, 6, 7, 8, 9, 10:
		return 0
	case 11, 12, 13, 14, 15, 16, 17, 18, 19, 20:
		return rng.IntN(40 << 10)
	default:
		return rng.IntN(400)
	}
}

func checkLog(t *testing.T, l *log, sent []sentPacket) {
	t.Helper()
	require.Equal(t, uint64(len(sent)), l.head)
	require.NoError(t, l.check())
	for seq := l.tail; seq < l.head; seq++ {
		p := l.at(seq)
		require.True(t, bytes.Equal(sent[seq].data, p.data()), "packet %d", seq)
		require.Equal(t, len(p.data()), cap(p.data()), "an append would run into what is behind")
		h, _ := l.headersAt(seq)
		require.Equal(t, sent[seq].headers, h, "packet %d", seq)
	}
}

// A slot is large enough, and little of it is unused; no two sizes share a class.
func TestSlots(t *testing.T) {
	sizes := make([]int, slotClasses)
	for n := largePacket + 1; n <= maxSlot; n++ {
		class := slotClass(n)
		size := slotSize(class, n)
		sizes[class] = size
		if size < n || size-n >= n/perOctave {
			t.Fatalf("%d bytes: class %d of %d", n, class, size)
		}
	}
	assert.True(t, slices.IsSorted(sizes))
	assert.Len(t, slices.Compact(slices.Clone(sizes)), slotClasses)
	assert.Equal(t, largePacket+largePacket/perOctave, sizes[0])
	assert.Equal(t, maxSlot, sizes[slotClasses-1])
	assert.Equal(t, maxSlot+1, slotSize(0, maxSlot+1))
}

// A larger slot that lies about is used where there is none of the right size, and
// counts for what it is.
func TestLargerSlot(t *testing.T) {
	var l payload
	slots[slotClass(300<<10)].Put(unsafe.SliceData(make([]byte, slotSize(slotClass(300<<10), 0))))
	data := bytes.Repeat([]byte("x"), 260<<10)
	first, class := l.keep(0, data)
	assert.True(t, bytes.Equal(data, kept(first, len(data))))
	assert.GreaterOrEqual(t, slotSize(class, len(data)), len(data))
	assert.EqualValues(t, slotSize(class, len(data)), l.bytes)
	l.recycle(0, first, len(data), class)
	assert.Zero(t, l.bytes)
}

func TestSoundSince(t *testing.T) {
	var l log
	put := func(time int64, kind flv.Type, is marks) {
		l.append(packet{time: time, arrived: time, kind: kind, marks: is}, noHeaders, []byte{1})
	}
	for i := range int64(10) {
		put(i*10, flv.TypeAudio, markStart)
	}
	l.trim(40*time.Millisecond, 1, noOne, noOne) // leaves the newest
	assert.Equal(t, uint64(9), l.tail)
	for i := range int64(10) {
		put(100+i*10, flv.TypeAudio, 0)
	}
	for _, test := range []struct {
		time  int64
		floor uint64
		want  uint64
	}{
		{0, 0, 9}, {90, 0, 9}, {91, 0, 10}, {150, 0, 15}, {155, 0, 16}, {150, 17, 17}, {1000, 0, 20},
	} {
		assert.Equal(t, test.want, l.soundSince(test.time, test.floor), "%+v", test)
	}
	for i := range int64(10) { // with a picture that is seconds behind, and sound that is late
		put(200+i*10, flv.TypeAudio, 0)
		put(-2800+i*10, flv.TypeVideo, 0)
		put(-2800+i*10, flv.TypeAudio, markAside)
	}
	for i := range int64(9) {
		assert.Equal(t, uint64(21+3*i), l.soundSince(210+i*10, 0))
	}
}

func startIf(key bool) marks {
	if key {
		return markStart
	}
	return 0
}
