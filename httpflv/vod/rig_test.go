package vod

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/flv/amf"
	"sluice/httpflv"
	"sluice/httpflv/answer"
	"sluice/hub"
	"sluice/hub/archive"
	"sluice/hub/archive/flvfile"
	"sluice/hub/fanout"
	"sluice/hub/intake"
	"sluice/hub/tlsconn"
	"sluice/hub/tlsconn/tlstest"
)

// begin is when recordings of tests begin.
var begin = time.Date(2026, 11, 28, 17, 5, 0, 123e6, time.UTC)

// demo is the stream of most tests, and firstID its recording.
var demo = hub.Key{App: "live", Name: "demo"}

const firstID = "20261128T170500.123Z"

// shelf is an archive in a folder that does nothing by itself.
type shelf struct {
	t   testing.TB
	fs  flvfile.FS
	dir string

	mu    sync.Mutex
	items []*item // the newest last
}

type item struct {
	archive.Recording
	name   string          // of the file, without its ending
	writer *flvfile.Writer // nil when it is finished
	broken error           // what Open returns
}

func newShelf(t testing.TB) *shelf {
	t.Helper()
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	require.NoError(t, err)
	t.Cleanup(func() { root.Close() })
	return &shelf{t: t, fs: flvfile.Root(root), dir: dir}
}

// record begins a recording.
func (s *shelf) record(key hub.Key, id string, metadata ...amf.Property) *item {
	s.t.Helper()
	i := &item{name: fmt.Sprintf("file%d", len(s.items))}
	i.Key, i.ID, i.State = key, id, archive.StateRecording
	var err error
	i.writer, err = flvfile.Create(s.fs, i.name, flvfile.Properties{App: key.App, Name: key.Name, Begin: begin, Metadata: metadata})
	require.NoError(s.t, err)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.items = append(s.items, i)
	return i
}

func (s *shelf) write(i *item, packets ...flvfile.Packet) {
	s.t.Helper()
	_, n, err := i.writer.Write(nil, packets)
	require.NoError(s.t, err)
	require.Equal(s.t, len(packets), n)
}

func (s *shelf) finish(i *item) {
	s.t.Helper()
	_, err := i.writer.Finish()
	require.NoError(s.t, err)
	s.mu.Lock()
	defer s.mu.Unlock()
	i.writer, i.State = nil, archive.StateFinished
}

// put lays a file into the folder by hand.
func (s *shelf) put(key hub.Key, id string, b []byte) *item {
	s.t.Helper()
	i := &item{name: fmt.Sprintf("file%d", len(s.items))}
	i.Key, i.ID, i.State, i.Foreign = key, id, archive.StateFinished, true
	require.NoError(s.t, os.WriteFile(s.path(i), b, 0o644))
	s.items = append(s.items, i)
	return i
}

// path returns the path of a finished recording.
func (s *shelf) path(i *item) string { return filepath.Join(s.dir, i.name+flvfile.Suffix) }

// written begins a recording that has a second.
func (s *shelf) written(key hub.Key, id string) *item {
	s.t.Helper()
	i := s.record(key, id)
	s.write(i, headers()...)
	s.write(i, media(0, 1)...)
	return i
}

// finished makes a recording of demo with some seconds.
func (s *shelf) finished(seconds int) *item {
	s.t.Helper()
	i := s.record(demo, firstID)
	s.write(i, headers()...)
	s.write(i, media(0, seconds)...)
	s.finish(i)
	return i
}

func (s *shelf) find(key hub.Key, id string) (*item, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range slices.Backward(s.items) {
		if i.Key == key && (i.ID == id || id == archive.Latest) {
			return i, nil
		}
	}
	return nil, fmt.Errorf("shelf: %w", archive.ErrNotFound)
}

func (s *shelf) Recording(key hub.Key, id string) (archive.Recording, error) {
	i, err := s.find(key, id)
	if err != nil {
		return archive.Recording{}, err
	}
	return i.Recording, nil
}

func (s *shelf) Open(key hub.Key, id string) (File, archive.Recording, error) {
	i, err := s.find(key, id)
	if err != nil {
		return nil, archive.Recording{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var f *flvfile.File
	switch {
	case i.broken != nil:
		err = i.broken
	case i.writer != nil:
		f, err = i.writer.Open()
	default:
		f, err = flvfile.Open(s.fs, i.name)
	}
	if err != nil {
		return nil, i.Recording, err
	}
	return f, i.Recording, nil
}

func (s *shelf) Recordings(key hub.Key, after string, limit int) (page []archive.Recording, next string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range slices.Backward(s.items) {
		if key != (hub.Key{}) && key != i.Key || after != "" && i.ID >= after {
			continue
		}
		if len(page) == limit {
			return page, page[limit-1].ID, nil
		}
		page = append(page, i.Recording)
	}
	return page, "", nil
}

// headers are codec headers of H.264 and AAC.
func headers() []flvfile.Packet {
	return []flvfile.Packet{
		{Tag: flv.Tag{Type: flv.TypeVideo, Data: []byte("\x17\x00\x00\x00\x00h264")}, Header: true},
		{Tag: flv.Tag{Type: flv.TypeAudio, Data: []byte("\xaf\x00\x12\x10")}, Header: true},
	}
}

// media are packets of some seconds: a key frame each second, nine more pictures, and ten
// pieces of sound. Each body says its time.
func media(from, seconds int) (packets []flvfile.Packet) {
	for ms := from * 1000; ms < (from+seconds)*1000; ms += 100 {
		head, key := "\x27\x01\x00\x00\x00", ms%1000 == 0
		if key {
			head = "\x17\x01\x00\x00\x00"
		}
		picture := append([]byte(fmt.Sprintf("%sP%07d", head, ms)), bytes.Repeat([]byte{byte(ms)}, 500)...)
		sound := fmt.Appendf(nil, "\xaf\x01A%07d", ms+5)
		packets = append(packets,
			flvfile.Packet{Tag: flv.Tag{Type: flv.TypeVideo, Timestamp: uint32(ms), Data: picture}, Time: int64(ms), Key: key},
			flvfile.Packet{Tag: flv.Tag{Type: flv.TypeAudio, Timestamp: uint32(ms + 5), Data: sound}, Time: int64(ms + 5)})
	}
	return packets
}

// rig is a server of the recordings of a shelf.
type rig struct {
	t testing.TB
	*shelf
	hub     *hub.Hub
	streams *httpflv.Handler
	vod     *Handler
	server  *httptest.Server
	log     *lines
	events  *events
}

// setup is what a test may change before its rig serves.
type setup struct {
	hub     hub.Config
	pool    fanout.Config
	vod     Config
	origins answer.Origins
	start   func(*httptest.Server)
	wrap    func(http.Handler) http.Handler
	active  func(context.Context)
}

func newRig(t testing.TB, change ...func(*setup)) *rig {
	t.Helper()
	h := &rig{t: t, shelf: newShelf(t), log: new(lines), events: new(events)}
	s := setup{start: (*httptest.Server).Start, wrap: func(h http.Handler) http.Handler { return h }}
	s.hub.Observe = h.events.note
	if os.Getenv("SLUICE_TEST_TLS") != "" { // all over again, with what it changes
		s.start = pumpedTLS
	}
	for _, c := range change {
		c(&s)
	}
	log := slog.New(slog.NewTextHandler(h.log, nil))
	s.hub.Logger, s.vod.Logger = log, log
	h.hub = hub.New(s.hub)
	heard := intake.New(intake.Config{})
	h.streams = &httpflv.Handler{Hub: h.hub, Pool: fanout.New(s.pool), Intake: heard, AllowOrigins: s.origins, Active: s.active}
	s.vod.Streams = h.streams
	if s.vod.Archive == nil {
		s.vod.Archive = h.shelf
	}
	h.vod = New(s.vod)
	h.server = httptest.NewUnstartedServer(s.wrap(h.vod))
	h.server.Config.WriteTimeout = 30 * time.Second
	h.server.Config.ErrorLog = slog.NewLogLogger(log.Handler(), slog.LevelError)
	s.start(h.server)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		assert.NoError(t, h.hub.Shutdown(ctx), "players were left")
		h.server.CloseClientConnections()
		h.server.Close()
		h.streams.Pool.Close()
		h.streams.Wait()
		h.vod.Close()
		heard.Close()
		for _, i := range h.items {
			if i.writer != nil {
				i.writer.Close()
			}
		}
		assert.NotContains(t, h.log.String(), "panic")
	})
	return h
}

// pumpedTLS starts a server whose connections are encrypted by the pumps.
func pumpedTLS(s *httptest.Server) {
	s.Listener = tlsconn.Listen(s.Listener, tlsconn.Config{TLS: tlstest.Server()})
	s.Start()
	s.URL = "https" + strings.TrimPrefix(s.URL, "http")
	s.Client().Transport = &http.Transport{TLSClientConfig: tlstest.Client()}
}

// do sends a request; headers are pairs.
func (h *rig) do(method, path string, header ...string) *http.Response {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), method, h.server.URL+path, nil)
	require.NoError(h.t, err)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := h.server.Client().Transport.RoundTrip(req) // which follows nothing
	require.NoError(h.t, err)
	h.t.Cleanup(func() { res.Body.Close() })
	return res
}

func (h *rig) get(path string, header ...string) *http.Response {
	h.t.Helper()
	return h.do(http.MethodGet, path, header...)
}

// all reads a body to its end.
func all(t testing.TB, res *http.Response) []byte {
	t.Helper()
	b, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return b
}

// refused reads the JSON of a refused request.
func refused(t testing.TB, res *http.Response) (what, reason string) {
	t.Helper()
	require.Equal(t, "application/json", res.Header.Get("Content-Type"))
	var said struct{ Error, Reason string }
	require.NoError(t, json.NewDecoder(res.Body).Decode(&said))
	require.NotEmpty(t, said.Error)
	require.NotEmpty(t, said.Reason)
	return said.Error, said.Reason
}

// dial opens a connection and writes to it.
func (h *rig) dial(text string) net.Conn {
	h.t.Helper()
	c, err := net.Dial("tcp", h.server.Listener.Addr().String())
	require.NoError(h.t, err)
	if _, encrypted := h.server.Listener.(*tlsconn.Listener); encrypted {
		c = tls.Client(c, tlstest.Client())
	}
	h.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	_, err = io.WriteString(c, text)
	require.NoError(h.t, err)
	return c
}

// tags reads an FLV file.
func tags(t testing.TB, b []byte) (tags []flv.Tag) {
	t.Helper()
	for r := flv.NewReader(bytes.NewReader(b)); ; {
		tag, err := r.Next()
		if errors.Is(err, io.EOF) {
			return tags
		}
		require.NoError(t, err)
		tags = append(tags, tag)
	}
}

// lines are what was logged.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// events are what a hub's observer is told.
type events struct {
	mu  sync.Mutex
	all []hub.Event
}

func (e *events) note(event hub.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, event)
}

// wait waits for the n-th event of a kind.
func (e *events) wait(t testing.TB, kind hub.EventKind, n int) (event hub.Event) {
	t.Helper()
	require.Eventually(t, func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		left := n
		for _, event = range e.all {
			if event.Kind == kind {
				if left--; left == 0 {
					return true
				}
			}
		}
		return false
	}, 10*time.Second, time.Millisecond, "there was no event %v", kind)
	return event
}

// unmarshal reads a value from JSON.
func unmarshal(r io.Reader, v any) error { return json.NewDecoder(r).Decode(v) }
