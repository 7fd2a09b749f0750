package pull

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http/httputil"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub/relay"
)

// replay is a connection on which a text comes, whatever is written to it.
type replay struct{ io.Reader }

func (replay) Write(p []byte) (int, error)      { return len(p), nil }
func (replay) Close() error                     { return nil }
func (replay) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (replay) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (replay) SetDeadline(time.Time) error      { return nil }
func (replay) SetReadDeadline(time.Time) error  { return nil }
func (replay) SetWriteDeadline(time.Time) error { return nil }

// Whatever a server answers comes to an end with a cause, the same however it comes.
func FuzzAnswer(f *testing.F) {
	whole := file(tags(1))
	for _, answer := range []string{
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(whole[:50]) + chunk(whole[50:]) + "0\r\n\r\n",
		"HTTP/1.1 200 OK\r\n\r\n" + whole,
		"HTTP/1.1 302 Found\r\nLocation: //h/b.flv\r\n\r\n",
		"HTTP/1.1 503 Unavailable\r\nSluice-Node: n\r\nContent-Length: 25\r\n\r\n{\"error\":\"shutting down\"}",
		"HTTP/1.1 101 Switching Protocols\r\n\r\n",
	} {
		f.Add([]byte(answer), false)
		f.Add([]byte(answer), true)
	}
	f.Fuzz(func(t *testing.T, answer []byte, socket bool) {
		scheme := map[bool]string{false: "http", true: "ws"}[socket]
		u, err := relay.ParseURL(relay.Pull, scheme+"://h/live/demo.flv?secret")
		require.NoError(t, err)
		pull := func(in func() io.Reader) (words string, n int, buffered bool) {
			o := &Opener{Dial: func(context.Context, string, string, bool) (net.Conn, error) { return replay{in()}, nil }}
			s, err := o.Open(t.Context(), relay.Opening{URL: u})
			if err == nil {
				for {
					tag, e := s.ReadTag()
					if e != nil {
						err = e
						break
					}
					n += len(tag.Data)
				}
				buffered = s.Buffered()
				s.Close()
			}
			if err != io.EOF {
				f := err.(*relay.Failure)
				words = f.Detail
				assert.NotContains(t, words, "secret")
			}
			return words, n, buffered
		}
		words, n, buffered := pull(func() io.Reader { return bytes.NewReader(answer) })
		assert.LessOrEqual(t, n, len(answer)*4, "all requests of a chain have the same answer")
		assert.False(t, buffered, "it is over")
		slowly, m, _ := pull(func() io.Reader { return iotest.OneByteReader(bytes.NewReader(answer)) })
		assert.Equal(t, words, slowly)
		assert.Equal(t, n, m)
	})
}

// What net/http reads of chunks is what is read here.
func FuzzChunks(f *testing.F) {
	f.Add([]byte(chunk("hello") + chunk(strings.Repeat("x", 5000)) + "0\r\n\r\n"))
	f.Add([]byte("5 ;a\nhello\n0\n\n"))
	f.Add([]byte("5\r\nhello6\r\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := io.ReadAll(&chunks{in: bufio.NewReader(bytes.NewReader(body))})
		assert.LessOrEqual(t, len(got), len(body))
		want, theirs := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(body)))
		switch {
		case theirs == nil:
			assert.NoError(t, err)
			assert.Equal(t, want, got)
		case err != nil: // how much comes before an error is the same
			assert.True(t, bytes.HasPrefix(got, want) || bytes.HasPrefix(want, got))
		}
	})
}
