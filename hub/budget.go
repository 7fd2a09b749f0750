package hub

import "sync/atomic"

// Budget bounds the memory that logs take for readers that are slow, of all readers
// together that share it. Its methods may be called from any goroutine.
type Budget struct {
	most    int64
	bytes   atomic.Int64
	readers atomic.Int64
}

// NewBudget makes a budget of so many bytes.
func NewBudget(bytes int64) *Budget { return &Budget{most: bytes} }

// Used returns how many bytes are taken. For a moment, that may be a little more than there
// are.
func (b *Budget) Used() int64 {
	if b == nil {
		return 0
	}
	return b.bytes.Load()
}

// used notes that a reader takes more or less, and perhaps begins to take or ends.
func (b *Budget) used(more int64, turns bool) {
	if b == nil {
		return
	}
	b.bytes.Add(more)
	switch {
	case turns && more > 0:
		b.readers.Add(1)
	case turns:
		b.readers.Add(-1)
	}
}

// allows reports whether a reader may take so much: all that there is, or an equal share
// where more is taken than there is.
func (b *Budget) allows(bytes int64) bool {
	switch {
	case bytes == 0:
		return true
	case b == nil:
		return false
	}
	return b.bytes.Load() <= b.most || bytes <= b.most/max(1, b.readers.Load())
}
