package tlsconn

import (
	"bytes"
	"crypto/tls"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
)

// What trim knows of crypto/tls is true of the version that this is built with.
func TestTrim(t *testing.T) {
	c := new(tls.Conn)
	for _, offset := range buffers {
		assert.NotZero(t, offset)
		b := (*bytes.Buffer)(unsafe.Add(unsafe.Pointer(c), offset))
		b.WriteString("of the handshake")
		trim(c)
		assert.Equal(t, "of the handshake", b.String(), "what is in there stays")
		b.Next(b.Len())
		assert.NotZero(t, b.Cap())
		trim(c)
		assert.Zero(t, b.Cap())
	}
}
