//go:build unix

package fanout

import (
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
)

// What there is one of for each viewer fits the allocator's class of 240 bytes.
func TestSizes(t *testing.T) {
	assert.LessOrEqual(t, unsafe.Sizeof(Outlet{}), uintptr(240))
}
