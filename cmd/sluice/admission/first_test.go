package admission

import (
	"errors"
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What a connection sends first is shown once, and ends the reading where it is not wanted.
func TestFirstBytes(t *testing.T) {
	unwanted := errors.New("unwanted")
	var shown []string
	r := newRig(t, Config{}, false)
	r.l.First = func(_ net.Conn, b []byte) error {
		shown = append(shown, string(b))
		if b[0] == 'x' {
			return unwanted
		}
		return nil
	}
	for _, c := range []struct {
		tcp  bool
		sent string
		want error // of the first read
	}{{false, "hello", nil}, {false, "x1", unwanted}, {true, "hello", nil}, {true, "x1", unwanted}} {
		shown = nil
		near, far := net.Pipe()
		if c.tcp {
			near, far = tcpPair(t)
		}
		r.backlog.waiting = append(r.backlog.waiting, near)
		in, err := r.l.Accept()
		require.NoError(t, err)
		sent := make(chan error, 1)
		go func() {
			_, err := io.WriteString(far, c.sent)
			far.Close()
			sent <- err
		}()
		n, err := in.Read(make([]byte, 2))
		assert.Equal(t, []string{c.sent[:2]}, shown)
		assert.ErrorIs(t, err, c.want)
		if c.want != nil {
			assert.Zero(t, n)
		} else {
			rest, err := io.ReadAll(in)
			require.NoError(t, err)
			assert.Equal(t, c.sent[2:], string(rest))
			assert.Len(t, shown, 1)
		}
		in.Close()
		<-sent
	}
	assert.Equal(t, Figures{Admitted: 4}, r.Figures())
}

// tcpPair returns both ends of a connection.
func tcpPair(t *testing.T) (near, far net.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	far, err = net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	near, err = l.Accept()
	require.NoError(t, err)
	return near, far
}
