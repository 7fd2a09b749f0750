package pull

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub/relay"
)

// piped returns an opener whose connections are answered by a function, within a bubble of synctest.
func piped(t *testing.T, answer func(nc net.Conn)) *Opener {
	var all sync.WaitGroup
	t.Cleanup(all.Wait)
	return &Opener{Dial: func(context.Context, string, string, bool) (net.Conn, error) {
		near, far := net.Pipe()
		all.Go(func() {
			defer far.Close()
			if _, err := http.ReadRequest(bufio.NewReader(far)); err == nil {
				answer(far)
			}
		})
		return near, nil
	}}
}

// trickle writes a text, a byte each time.
func trickle(nc net.Conn, text string, each time.Duration) {
	for i := range text {
		if _, err := io.WriteString(nc, text[i:i+1]); err != nil {
			return
		}
		time.Sleep(each)
	}
}

// Whatever a server is slow with, or silent, comes to an end.
func TestSlow(t *testing.T) {
	head := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	whole := file(tags(3))
	silent := func(nc net.Conn) { io.Copy(io.Discard, nc) }
	for _, c := range []struct {
		name   string
		answer func(nc net.Conn)
		tags   int
		after  time.Duration
		fails  bool // to open
	}{
		{"no answer", silent, 0, 60 * time.Second, true},
		{"head trickles", func(nc net.Conn) { trickle(nc, "HTTP/1.1 200 OK\r\n"+fmt.Sprintf("%01000d", 0), time.Second) }, 0, 10 * time.Second, true},
		{"no body", func(nc net.Conn) { io.WriteString(nc, head); silent(nc) }, 0, 60 * time.Second, false},
		{"no tag", func(nc net.Conn) { io.WriteString(nc, head+chunk(whole[:13])); silent(nc) }, 0, 60 * time.Second, false},
		{"first tag trickles", func(nc net.Conn) { io.WriteString(nc, head); trickle(nc, chunk(file(tags(0)[2:])), time.Second) }, 0, 60 * time.Second, false},
		{"head after a while", func(nc net.Conn) {
			time.Sleep(59 * time.Second)
			io.WriteString(nc, head+chunk(whole))
			silent(nc)
		}, 9, 64 * time.Second, false},
		{"silent", func(nc net.Conn) { io.WriteString(nc, head+chunk(whole)); silent(nc) }, 9, 5 * time.Second, false},
		{"tag trickles", func(nc net.Conn) { io.WriteString(nc, head+chunk(whole)); trickle(nc, chunk(whole[13:]), time.Second) }, 9, 20 * time.Second, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				s, err := piped(t, c.answer).Open(t.Context(), relay.Opening{URL: at(t, "http://h", "http", "/live/demo.flv")})
				if c.fails {
					failsWith(t, err, relay.CauseConnection, "nothing came in time")
				} else {
					require.NoError(t, err)
					read(t, s, c.tags)
					failsWith(t, readEnd(s), relay.CauseConnection, "nothing came in time")
					s.Close()
				}
				// A deadline may be early by a sixteenth.
				assert.InDelta(t, c.after.Seconds(), time.Since(begin).Seconds(), c.after.Seconds()/16)
			})
		})
	}
}

// A stream that is not silent for long goes on, and what is slow may be configured.
func TestPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := piped(t, func(nc net.Conn) {
			io.WriteString(nc, "HTTP/1.1 200 OK\r\n\r\n")
			time.Sleep(28 * time.Second)
			io.WriteString(nc, file(nil))
			for _, tag := range tags(10) {
				io.WriteString(nc, file(append(tags(0)[:0:0], tag))[13:])
				time.Sleep(1800 * time.Millisecond)
			}
		})
		o.FirstTimeout, o.SilenceTimeout = 30*time.Second, 2*time.Second
		s, err := o.Open(t.Context(), relay.Opening{URL: at(t, "http://h", "http", "/live/demo.flv")})
		require.NoError(t, err)
		defer s.Close()
		assert.Equal(t, tags(10), read(t, s, 23))
	})
}

// A context ends an opening wherever it is, and means nothing afterwards. Close ends a read.
func TestContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			synctest.Wait()
			cancel()
		}()
		_, err := piped(t, func(nc net.Conn) { io.Copy(io.Discard, nc) }).Open(ctx, relay.Opening{URL: at(t, "http://h", "http", "/live/demo.flv")})
		failsWith(t, err, relay.CauseConnection, "given up")
		assert.ErrorIs(t, err, context.Canceled)

		ctx, cancel = context.WithCancel(t.Context())
		s, err := piped(t, func(nc net.Conn) {
			io.WriteString(nc, "HTTP/1.1 200 OK\r\n\r\n"+file(tags(1)))
			io.Copy(io.Discard, nc)
		}).Open(ctx, relay.Opening{URL: at(t, "http://h", "http", "/live/demo.flv")})
		require.NoError(t, err)
		cancel()
		read(t, s, 5)
		go func() {
			synctest.Wait()
			s.Close()
		}()
		begin := time.Now()
		failsWith(t, readEnd(s), relay.CauseConnection, "")
		assert.Zero(t, time.Since(begin))
	})
}
