package vod

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub"
	"sluice/hub/archive/flvfile"
)

// spy is an http.ResponseWriter that notes from what net/http copies.
type spy struct {
	http.ResponseWriter
	mu    sync.Mutex
	files int64 // bytes that came from a file by itself
	other int64
}

func (s *spy) Unwrap() http.ResponseWriter { return s.ResponseWriter }

func (s *spy) ReadFrom(r io.Reader) (int64, error) {
	n, err := s.ResponseWriter.(io.ReaderFrom).ReadFrom(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	limited, ok := r.(*io.LimitedReader)
	if ok {
		_, ok = limited.R.(*os.File)
	}
	if ok {
		s.files += n
	} else {
		s.other += n
	}
	return n, err
}

func (s *spy) Write(p []byte) (int, error) {
	n, err := s.ResponseWriter.Write(p)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.other += int64(n)
	return n, err
}

// What stands in a file goes from there by sendfile, whichever part of it is asked for; what
// is made up does not.
func TestSendsFiles(t *testing.T) {
	if os.Getenv("SLUICE_TEST_TLS") != "" {
		t.Skip("what is encrypted is not sent by the kernel")
	}
	var last *spy
	h := newRig(t, func(s *setup) {
		s.wrap = func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				last = &spy{ResponseWriter: w}
				h.ServeHTTP(last, r)
			})
		}
	})
	i := h.finished(20)
	h.written(demo, "growing")
	stat, err := os.Stat(h.path(i))
	require.NoError(t, err)
	for n, tt := range []struct {
		path, asked  string
		files, other func(n int64) bool
	}{
		{firstPath, "", func(n int64) bool { return n == stat.Size() }, func(n int64) bool { return n == 0 }},
		{firstPath, "bytes=100-70099", func(n int64) bool { return n == 70000 }, func(n int64) bool { return n == 0 }},
		{"/rec/live/demo/growing.flv", "bytes=66000-", func(n int64) bool { return n > 5000 }, func(n int64) bool { return n == 0 }},
		{"/rec/live/demo/growing.flv", "", func(n int64) bool { return n > 5000 }, func(n int64) bool { return n > 65536 && n < 66000 }},
	} {
		res := h.get(tt.path, "Range", tt.asked)
		all(t, res)
		h.events.wait(t, hub.EventLeft, n+1) // by then it was noted
		last.mu.Lock()
		assert.True(t, tt.files(last.files), "%s %s: %d bytes from the file", tt.path, tt.asked, last.files)
		assert.True(t, tt.other(last.other), "%s %s: %d bytes otherwise", tt.path, tt.asked, last.other)
		last.mu.Unlock()
	}
}

// slowConn is what a slow or a stalled client looks like to net/http: a write takes its time,
// or fails at the deadline. Time is that of synctest.
type slowWriter struct {
	header  http.Header
	rate    int // bytes a second; 0 for a client that takes nothing
	written int
	took    time.Duration

	mu       sync.Mutex
	deadline time.Time
	changed  chan struct{}
}

func (s *slowWriter) Header() http.Header { return s.header }
func (s *slowWriter) WriteHeader(int)     {}

func (s *slowWriter) SetWriteDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deadline = t
	close(s.changed)
	s.changed = make(chan struct{})
	return nil
}

// wait waits for some time or the deadline, whichever comes first.
func (s *slowWriter) wait(d time.Duration) error {
	for end := time.Now().Add(d); ; {
		s.mu.Lock()
		deadline, changed := s.deadline, s.changed
		s.mu.Unlock()
		late := !deadline.IsZero() && deadline.Before(end)
		until := end
		if late {
			until = deadline
		}
		select {
		case <-time.After(time.Until(until)):
			if late {
				return os.ErrDeadlineExceeded
			}
			return nil
		case <-changed:
		}
	}
}

func (s *slowWriter) Write(p []byte) (int, error) {
	if s.rate == 0 {
		return 0, s.wait(24 * time.Hour)
	}
	if err := s.wait(time.Duration(len(p)) * time.Second / time.Duration(s.rate)); err != nil {
		return 0, err
	}
	s.written += len(p)
	return len(p), nil
}

// ReadFrom takes what it can until the deadline, as sendfile does.
func (s *slowWriter) ReadFrom(r io.Reader) (n int64, err error) {
	buf := make([]byte, 1000)
	for {
		m, err := r.Read(buf)
		if m > 0 {
			if _, err := s.Write(buf[:m]); err != nil {
				return n, err
			}
			n += int64(m)
		}
		if err == io.EOF {
			return n, nil
		}
	}
}

// serveSlowly serves a file of some bytes to a client, and returns why that ended.
func serveSlowly(t *testing.T, w *slowWriter, size int64, direct bool, closing context.Context) *hub.Refusal {
	path := filepath.Join(t.TempDir(), "x")
	require.NoError(t, os.WriteFile(path, make([]byte, size), 0o600))
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	w.header, w.changed = http.Header{}, make(chan struct{})
	began := time.Now()
	tr := &transfer{
		ResponseWriter: w, r: httptest.NewRequest(http.MethodGet, "/", nil), control: http.NewResponseController(w),
		stall: 30 * time.Second, direct: direct,
	}
	stop := context.AfterFunc(closing, func() { tr.end(0) })
	defer stop()
	c := &content{size: size, rest: f, file: f}
	http.ServeContent(tr, tr.r, "", time.Time{}, c)
	w.took = time.Since(began)
	return tr.reason(closing)
}

// Whoever is slow is not cut off, however long it takes; whoever takes nothing is.
func TestSlowClients(t *testing.T) {
	for _, direct := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			slow := &slowWriter{rate: 10 << 10}
			why := serveSlowly(t, slow, 10<<20, direct, t.Context())
			assert.Equal(t, hub.ReasonComplete, why.Reason)
			assert.Equal(t, 10<<20, slow.written)
			assert.InDelta(t, 1024, slow.took.Seconds(), 300)

			stalled := &slowWriter{}
			why = serveSlowly(t, stalled, 10<<20, direct, t.Context())
			assert.Equal(t, hub.ReasonStalled, why.Reason)
			assert.Equal(t, 30*time.Second, stalled.took)

			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(10*time.Second, cancel)
			why = serveSlowly(t, &slowWriter{}, 10<<20, direct, ctx)
			assert.Equal(t, hub.ReasonShuttingDown, why.Reason)
			synctest.Wait()
		})
	}
}

// A client that stops reading is cut off over a real connection too, and the session says why.
func TestStalledClient(t *testing.T) {
	h := newRig(t, func(s *setup) { s.vod.StallTimeout = 300 * time.Millisecond })
	h.large(demo, firstID)
	for n, line := range []string{"", "Range: bytes=100-\r\n", "Range: bytes=0-20000000,20000001-30000000\r\n"} {
		c := h.dial("GET " + firstPath + " HTTP/1.1\r\nHost: x\r\n" + line + "\r\n")
		left := h.events.wait(t, hub.EventLeft, n+1)
		assert.Equal(t, hub.ReasonStalled, left.Reason, line)
		_, err := io.Copy(io.Discard, c)
		if err != nil {
			assert.True(t, errors.Is(err, io.ErrUnexpectedEOF) || isReset(err), "%v", err)
		}
		c.Close()
	}
}

// large makes a recording that no connection takes at once.
func (s *shelf) large(key hub.Key, id string) {
	s.t.Helper()
	i := s.record(key, id)
	s.write(i, headers()...)
	picture := flvfile.Packet{Tag: flv.Tag{Type: flv.TypeVideo, Data: append([]byte("\x17\x01\x00\x00\x00"), make([]byte, 8<<20)...)}, Key: true}
	for range 4 {
		s.write(i, picture)
		picture.Time += 1000
	}
	s.finish(i)
}

func isReset(err error) bool {
	_, ok := errors.AsType[*net.OpError](err)
	return ok
}

// A client that breaks off has left.
func TestClientLeaves(t *testing.T) {
	h := newRig(t)
	i := h.written(demo, firstID)
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.server.URL+firstPath+"?follow=1", nil)
	require.NoError(t, err)
	res, err := h.server.Client().Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	cancel()
	assert.Equal(t, hub.ReasonClientLeft, h.events.wait(t, hub.EventLeft, 1).Reason)
	h.finish(i)
}

// follow=1 goes on to the end of the stream, byte for byte as it is written.
func TestFollow(t *testing.T) {
	h := newRig(t)
	i := h.record(demo, firstID)
	res := h.get(firstPath+"?follow=1", "Range", "bytes=5-")
	assert.Equal(t, http.StatusOK, res.StatusCode)
	assert.Equal(t, []string{"chunked"}, res.TransferEncoding)
	assert.Empty(t, res.Header.Get("Accept-Ranges"))
	assert.Empty(t, res.Header.Get("ETag"))
	assert.Equal(t, "no", res.Header.Get("X-Accel-Buffering"))
	r := flv.NewReader(bufio.NewReaderSize(res.Body, 16))
	metadata, err := r.Next()
	require.NoError(t, err)
	assert.Equal(t, flv.TypeScript, metadata.Type)
	expect := func(packets []flvfile.Packet) {
		for _, want := range packets {
			got, err := r.Next()
			require.NoError(t, err)
			want.Timestamp = uint32(want.Time)
			require.Equal(t, want.Tag, got)
		}
	}
	h.write(i, headers()...)
	expect(headers())
	for second := range 5 {
		h.write(i, media(second, 1)...)
		expect(media(second, 1))
	}
	// Who comes later gets the same.
	late := h.get(firstPath + "?follow=1")
	h.write(i, media(5, 1)...)
	expect(media(5, 1))
	h.finish(i)
	_, err = r.Next()
	assert.ErrorIs(t, err, io.EOF)
	got := tags(t, all(t, late))
	require.Len(t, got, 1+2+120)
	assert.Equal(t, hub.ReasonComplete, h.events.wait(t, hub.EventLeft, 2).Reason)
	assert.Len(t, tags(t, all(t, h.get(firstPath+"?follow=1"))), 1+2+120, "of a finished file, all of it")
	assert.Equal(t, http.StatusOK, h.do(http.MethodHead, firstPath+"?follow=1").StatusCode)
}

// At a shutdown a download is broken off, and the body of a recording that is followed
// comes to its end.
func TestShutdown(t *testing.T) {
	h := newRig(t)
	i := h.written(demo, "growing")
	follow := h.get("/rec/live/demo/growing.flv?follow=1")
	r := flv.NewReader(follow.Body)
	for range 1 + 2 + 20 {
		_, err := r.Next()
		require.NoError(t, err)
	}
	h.write(i, media(1, 1)...)
	for range 20 {
		_, err := r.Next()
		require.NoError(t, err)
	}
	h.large(demo, "big")
	download := h.dial("GET /rec/live/demo/big.flv HTTP/1.1\r\nHost: x\r\n\r\n")
	res, err := http.ReadResponse(bufio.NewReader(download), nil) // it has begun
	require.NoError(t, err)

	began := time.Now()
	require.NoError(t, h.hub.Shutdown(t.Context()))
	assert.Less(t, time.Since(began), 5*time.Second)
	_, err = r.Next()
	assert.ErrorIs(t, err, io.EOF, "it is whole")
	for n := range 2 {
		assert.Equal(t, hub.ReasonShuttingDown, h.events.wait(t, hub.EventLeft, n+1).Reason)
	}
	_, err = io.Copy(io.Discard, res.Body)
	assert.Error(t, err, "it is not whole")
	late := h.get("/rec/live/demo/big.flv")
	assert.Equal(t, http.StatusServiceUnavailable, late.StatusCode)
	h.finish(i)
}
