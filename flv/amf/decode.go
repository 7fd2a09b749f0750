package amf

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
)

// Defaults of Limits.
const (
	defaultDepth    = 16
	defaultElements = 4096
	defaultBytes    = 1 << 20
)

// budget is what may still be decoded in a call.
type budget struct {
	maxDepth int
	elements int
	bytes    int
	deepest  int // the deepest nesting seen since it was last set
}

func newBudget(l Limits) *budget {
	b := &budget{maxDepth: l.Depth, elements: l.Elements, bytes: l.Bytes}
	if b.maxDepth == 0 {
		b.maxDepth = defaultDepth
	}
	if b.elements == 0 {
		b.elements = defaultElements
	}
	if b.bytes == 0 {
		b.bytes = defaultBytes
	}
	return b
}

func (b *budget) takeElements(n int) error {
	if n > b.elements {
		return fmt.Errorf("%w: too many values", ErrLimit)
	}
	b.elements -= n
	return nil
}

func (b *budget) takeBytes(n int) error {
	if n > b.bytes {
		return fmt.Errorf("%w: too many bytes of strings", ErrLimit)
	}
	b.bytes -= n
	return nil
}

func (b *budget) enter(depth int) error {
	if depth > b.maxDepth {
		return fmt.Errorf("%w: nested deeper than %d", ErrLimit, b.maxDepth)
	}
	b.deepest = max(b.deepest, depth)
	return nil
}

// references is a table of the complex values of a message, in the order in
// which they begin. Later values refer to them by index.
type references struct {
	*budget
	table []reference
}

// reference is a value with what it takes from a budget, all that it refers to
// included.
type reference struct {
	done            bool
	value           any
	elements, bytes int
	height          int // levels of nesting below and including the value's own
}

// define decodes a complex value that stands at depth and enters it into the
// table. Its place is taken before its parts are decoded. What decode spends
// is what a reference to the value will cost.
func (r *references) define(depth int, decode func() (any, []byte, error)) (any, []byte, error) {
	if err := r.enter(depth); err != nil {
		return nil, nil, err
	}
	i := len(r.table)
	r.table = append(r.table, reference{})
	elements, bytes, deepest := r.elements, r.bytes, r.deepest
	r.deepest = depth
	if err := r.takeElements(1); err != nil {
		return nil, nil, err
	}
	v, rest, err := decode()
	if err != nil {
		return nil, nil, err
	}
	r.table[i] = reference{
		done:     true,
		value:    v,
		elements: elements - r.elements,
		bytes:    bytes - r.bytes,
		height:   r.deepest - depth + 1,
	}
	r.deepest = max(r.deepest, deepest)
	return v, rest, nil
}

// resolve returns the value at index i, for use at depth.
func (r *references) resolve(i, depth int) (any, error) {
	if i >= len(r.table) {
		return nil, fmt.Errorf("%w: reference to value %d of %d", ErrFormat, i, len(r.table))
	}
	ref := r.table[i]
	if !ref.done {
		return nil, fmt.Errorf("%w: it contains itself", ErrUnsupported)
	}
	if err := r.takeElements(ref.elements); err != nil {
		return nil, err
	}
	if err := r.takeBytes(ref.bytes); err != nil {
		return nil, err
	}
	return ref.value, r.enter(depth + ref.height - 1)
}

// takeString splits a string of n bytes off b.
func (b *budget) takeString(data []byte, n int) (string, []byte, error) {
	if n > len(data) {
		return "", nil, errEnd("string")
	}
	if err := b.takeBytes(n); err != nil {
		return "", nil, err
	}
	return string(data[:n]), data[n:], nil
}

func takeFloat(b []byte) (float64, []byte, error) {
	if len(b) < 8 {
		return 0, nil, errEnd("number")
	}
	return math.Float64frombits(binary.BigEndian.Uint64(b)), b[8:], nil
}

func errEnd(what string) error {
	return fmt.Errorf("amf: %s cut short: %w", what, io.ErrUnexpectedEOF)
}
