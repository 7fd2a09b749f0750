package intake

import (
	"errors"
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What has no descriptor of its own is for the caller to read in a goroutine.
func TestConnectionsWithoutADescriptor(t *testing.T) {
	p := New(Config{})
	defer p.Close()
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	s, err := p.Add(near, func() {})
	assert.ErrorIs(t, err, errors.ErrUnsupported)
	assert.Nil(t, s)
}

func TestErrNothingIsATimeout(t *testing.T) {
	var ne net.Error
	require.ErrorAs(t, ErrNothing, &ne)
	assert.True(t, ne.Timeout())
	assert.NotEmpty(t, ne.Error())
}
