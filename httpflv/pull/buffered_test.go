package pull

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub/relay"
)

// Buffered tells of what has come, in the clear and encrypted, and never of the end of a chunk alone.
func TestBuffered(t *testing.T) {
	for _, scheme := range schemes {
		t.Run(scheme, func(t *testing.T) {
			sent, goOn := make(chan bool), make(chan bool)
			answer := func(nc net.Conn, r *http.Request) {
				head, pack := said("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), chunk
				if strings.HasPrefix(scheme, "ws") {
					head, pack = upgraded(""), func(text string) string { return frame(0x82, text) }
				}
				head(nc, r)
				whole := file(tags(3))
				for _, part := range []string{pack(whole), pack(whole[13:]), pack(whole[13:13+29]) + pack(whole[13+29 : 13+57])[:9]} {
					if !receive(t, goOn) {
						return
					}
					io.WriteString(nc, part)
					select {
					case sent <- true:
					case <-t.Context().Done():
						return
					}
				}
				receive(t, goOn)
			}
			l, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			if isEncrypted(scheme) {
				l.Close()
				l = tlsListener(t)
			}
			server := serveOn(t, l, answer)
			s := open(t, opener(), relay.Opening{URL: at(t, server.URL, scheme, "/live/demo.flv")})
			assert.False(t, s.Buffered(), "nothing was sent")
			for i, n := range []int{9, 9} {
				goOn <- true
				<-sent
				waitBuffered(t, s)
				for k := range n {
					assert.True(t, s.Buffered() || k > 0 && isEncrypted(scheme), "%d tags were read of part %d", k, i)
					read(t, s, 1)
				}
				// What the system still has of the chunk's end is no tag.
				for range 20 {
					assert.False(t, s.Buffered(), "part %d was read", i)
					time.Sleep(time.Millisecond)
				}
			}
			goOn <- true
			<-sent
			read(t, s, 1)
			waitBuffered(t, s)
			close(goOn)
			assert.Error(t, readEnd(s))
			assert.False(t, s.Buffered())
		})
	}
}

// receive receives from a channel, or false when the test is over.
func receive(t *testing.T, c chan bool) bool {
	select {
	case v := <-c:
		return v
	case <-t.Context().Done():
		return false
	}
}

// waitBuffered waits until something has come. It asks in the test's goroutine, which reads.
func waitBuffered(t *testing.T, s *source) {
	t.Helper()
	for begin := time.Now(); !s.Buffered(); time.Sleep(time.Millisecond) {
		require.Less(t, time.Since(begin), 10*time.Second, "nothing has come")
	}
}

// What comes in one write is seen to the end, encrypted too: what TLS holds back counts.
func TestBufferedToTheEnd(t *testing.T) {
	for _, encrypted := range []bool{false, true} {
		scheme := map[bool]string{false: "http", true: "https"}[encrypted]
		n := newNode(t, encrypted, nil)
		p := n.publish("demo")
		want := tags(400) // more than a buffer of TLS's
		write(t, p, want)
		s := open(t, opener(), relay.Opening{URL: at(t, n.URL, scheme, "/live/demo.flv"), Path: []string{"me"}})
		got := read(t, s, 1)
		for len(got) < len(want) {
			if !s.Buffered() { // the server makes several writes of it
				waitBuffered(t, s)
			}
			got = append(got, read(t, s, 1)...)
		}
		assert.Equal(t, want, got)
		assert.False(t, s.Buffered())
		_, isTLS := s.conn.(*tls.Conn)
		assert.Equal(t, encrypted, isTLS)
		p.Close()
	}
}
