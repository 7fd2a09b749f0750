package hub

import (
	"bytes"
	"math/bits"
	"sync"
	"unsafe"
)

// The bytes of a packet live in a slot of its own: memory of one of a row of sizes,
// which goes from a packet that was trimmed to the next one of about its size, in
// whatever stream. So a running stream makes no garbage, and nothing of it is
// kept in memory by its neighbours.
//
// Sizes are multiples of 16 bytes up to 256, and from there eight to an octave up
// to maxSlot, so that a slot is rarely more than a tenth larger than what is in
// it. A packet over maxSlot is the garbage collector's.
const (
	fineStep    = 16
	fineSlots   = 16
	octaveBits  = 3 // eight sizes to an octave
	octaves     = 12
	maxSlot     = fineStep * fineSlots << octaves // 1 MiB
	slotClasses = fineSlots + octaves<<octaveBits
)

// slots hold free slots by class, each as a pointer to its first byte: a slice
// would have to be put into memory of its own. What a pool has no use for, the
// garbage collector takes back.
var slots [slotClasses]sync.Pool

// slotFor returns the class and the size in bytes of the slot for n bytes, n from
// 1 to maxSlot.
func slotFor(n int) (class, size int) {
	if n <= fineStep*fineSlots {
		class = (n - 1) / fineStep
		return class, (class + 1) * fineStep
	}
	octave := bits.Len(uint(n-1)) - 1 // from 2^octave, not counted, to 2^(octave+1)
	step := octave - octaveBits
	part := (n - 1) >> step // 8 to 15
	class = fineSlots + (octave-8)<<octaveBits + part - 1<<octaveBits
	return class, (part + 1) << step
}

// slotSize returns how many bytes of memory hold a packet of n bytes.
func slotSize(n int) int {
	if n == 0 || n > maxSlot {
		return n
	}
	_, size := slotFor(n)
	return size
}

// keep copies data into a slot, of which it returns the first byte; nil for no data.
func keep(data []byte) (first *byte) {
	n := len(data)
	if n == 0 || n > maxSlot {
		return unsafe.SliceData(bytes.Clone(data))
	}
	class, size := slotFor(n)
	first, ok := slots[class].Get().(*byte)
	if !ok {
		first = unsafe.SliceData(make([]byte, size))
	}
	copy(kept(first, n), data)
	return first
}

// kept returns the n bytes that keep copied, not a copy of them.
func kept(first *byte, n int) []byte { return unsafe.Slice(first, n) }

// recycle gives the slot of n bytes back. Nobody may use its bytes any more.
func recycle(first *byte, n int) {
	if n == 0 || n > maxSlot {
		return
	}
	class, _ := slotFor(n)
	slots[class].Put(first)
}
