package chunk

import (
	"math/bits"
	"sync"
)

// buffer is memory that Readers share: one that waits has given back what it does
// not need, for others that have something to read.
type buffer struct{ bytes []byte }

// Sizes of shared buffers are powers of two. Longer ones are made when they are
// needed and left to the garbage collector.
const (
	maxShared   = 512 << 10
	sharedSizes = 11 // minBuffer to maxShared
)

var shared [sharedSizes]sync.Pool

// borrow returns a buffer of at least size bytes, of less than twice as many if
// that is over minBuffer.
func borrow(size int) *buffer {
	if size > maxShared {
		return &buffer{make([]byte, size)}
	}
	i := bits.Len(uint((size - 1) / minBuffer))
	if b, ok := shared[i].Get().(*buffer); ok {
		return b
	}
	return &buffer{make([]byte, minBuffer<<i)}
}

// giveBack lets others use b, which may be nil.
func (b *buffer) giveBack() {
	if b == nil || len(b.bytes) > maxShared {
		return
	}
	shared[bits.Len(uint((len(b.bytes)-1)/minBuffer))].Put(b)
}
