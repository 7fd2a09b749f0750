package admin

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub"
	"sluice/hub/archive"
	"sluice/hub/monitor"
	"sluice/web"
)

const token = "0123456789abcdef-secret"

// rig is the API of a hub, with everything around it that there can be.
type rig struct {
	t       testing.TB
	hub     *hub.Hub
	bans    *banList
	disk    disk
	relays  *relays
	nodes   *nodes // nil where it is alone
	library *library
	ready   error
	token   string
	events  []json.RawMessage
	monitor watched
	logged  bytes.Buffer
	logging sync.Mutex
	api     *api
	handler http.Handler
}

// newRig makes a rig whose hub has the given configuration.
func newRig(t testing.TB, cfg hub.Config) *rig {
	r := &rig{t: t, token: token, bans: &banList{}, relays: &relays{}, disk: disk{recorded: map[string]string{}, pinned: map[string]bool{}}}
	for n := range 3 {
		r.events = append(r.events, json.RawMessage(`{"seq":`+strconv.Itoa(n+1)+`}`))
	}
	r.hub = hub.New(cfg)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		assert.NoError(t, r.hub.Shutdown(ctx))
	})
	r.serve(Config{
		Hub: r.hub, Bans: r.bans, Relays: r.relays, Recorder: &r.disk, Archive: &r.disk, Events: r.since, WaitEvents: r.wait, Monitor: &r.monitor,
		Ready: func() error { return r.ready },
		Info: func() Info {
			return Info{
				Version: "1.2.3", Started: time.Unix(1_800_000_000, 0), Addresses: map[string]string{"rtmp": ":1935"},
				Public: web.Public{HTTP: "https://live.example.com", RTMP: []string{"rtmps://live.example.com"}},
				Limits: map[string]int64{"viewers": 5}, Parts: map[string]any{"events": struct{ Waiting int }{3}},
			}
		},
	})
	return r
}

// serve serves the API of a configuration.
func (r *rig) serve(c Config) {
	c.Token = func() string { return r.token }
	c.Logger = slog.New(slog.NewTextHandler(lockedWriter{&r.logging, &r.logged}, nil))
	r.api, r.handler = newAPI(c), Handler(c)
}

type lockedWriter struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

func (r *rig) log() string {
	r.logging.Lock()
	defer r.logging.Unlock()
	return r.logged.String()
}

func (r *rig) since(after uint64, most int) (events []json.RawMessage, next, missed uint64) {
	first := min(after, uint64(len(r.events)))
	events = r.events[first:min(int(first)+most, len(r.events))]
	return events, first + uint64(len(events)), 0
}

func (r *rig) wait(ctx context.Context, after uint64) error {
	<-ctx.Done()
	return ctx.Err()
}

// request makes a request as an operator would; body "" is none.
func request(method, target, body string, header ...string) *http.Request {
	var content io.Reader
	if body != "" {
		content = strings.NewReader(body)
	}
	q := httptest.NewRequest(method, target, content)
	q.RemoteAddr = "192.0.2.99:40000"
	q.Header.Set("Authorization", "Bearer "+token)
	if body != "" {
		q.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		q.Header.Del(header[i])
		if header[i+1] != "" {
			q.Header.Set(header[i], header[i+1])
		}
	}
	return q
}

// do makes a request and returns the answer.
func (r *rig) do(q *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r.handler.ServeHTTP(w, q)
	return w
}

// get asks for a list, or whatever is there.
func get[T any](r *rig, target string) (said T) {
	r.t.Helper()
	w := r.do(request("GET", target, ""))
	require.Equal(r.t, 200, w.Code, "%s: %s", target, w.Body)
	require.NoError(r.t, json.Unmarshal(w.Body.Bytes(), &said))
	return said
}

// act makes a request with a body and wants a status.
func act[T any](r *rig, method, target, body string, status int) (said T) {
	r.t.Helper()
	w := r.do(request(method, target, body))
	require.Equal(r.t, status, w.Code, "%s %s %s: %s", method, target, body, w.Body)
	if w.Body.Len() > 0 {
		require.NoError(r.t, json.Unmarshal(w.Body.Bytes(), &said))
	}
	return said
}

func key(stream string) hub.Key {
	app, name := cutLast(stream)
	return hub.Key{App: app, Name: name}
}

func from(address string) hub.Client {
	return hub.Client{Protocol: "rtmp", Address: netip.MustParseAddrPort(address), Agent: "FMLE/3.0"}
}

// publish publishes a stream with sound and a key frame.
func (r *rig) publish(stream string, c hub.Client) *hub.Publisher {
	r.t.Helper()
	s := r.hub.NewSession(hub.RolePublish, key(stream), c)
	require.NoError(r.t, s.AskAndWait(r.t.Context()))
	p, err := r.hub.Publish(s, hub.PublishOptions{})
	require.NoError(r.t, err)
	r.t.Cleanup(p.Close)
	require.NoError(r.t, p.Write(flv.Tag{Type: flv.TypeAudio, Data: []byte{0x2f, 1, 2, 3}})) // MP3 needs no header
	return p
}

// published is how many bytes that is, as a tag.
const published = 4 + 15

// watch watches, or waits for, a stream.
func (r *rig) watch(stream string, c hub.Client) *hub.Viewer {
	r.t.Helper()
	s := r.hub.NewSession(hub.RoleWatch, key(stream), c)
	require.NoError(r.t, s.AskAndWait(r.t.Context()))
	v, err := r.hub.Watch(s, hub.WatchOptions{})
	require.NoError(r.t, err)
	r.t.Cleanup(v.Close)
	return v
}

// banList is a list of bans in memory.
type banList struct {
	mu   sync.Mutex
	bans []Ban
	last int
	adds int   // calls of Add
	err  error // of those calls that change it
	room int   // for how many more there is with ErrFull
}

func (l *banList) Add(bans ...Ban) (added []Ban, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.adds++
	for _, b := range bans {
		switch {
		case l.err == ErrFull && l.room > 0:
			l.room--
		case l.err != nil && !errors.Is(l.err, ErrUnsaved):
			return added, l.err
		}
		l.last++
		b.ID, b.Since = strconv.Itoa(l.last), time.Now()
		l.bans = append(l.bans, b)
		added = append(added, b)
	}
	if l.err == ErrFull {
		return added, nil
	}
	return added, l.err // ErrUnsaved
}

func (l *banList) Remove(id string) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.bans)
	l.bans = slices.DeleteFunc(l.bans, func(b Ban) bool { return b.ID == id })
	return len(l.bans) < n, l.err
}

func (l *banList) All() []Ban {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.bans)
}

// check is a policy that knows the bans and nothing else.
func (l *banList) check(s *hub.Session) error {
	for _, b := range l.All() {
		if b.matches(s) {
			return &hub.Refusal{Reason: hub.ReasonDenied, Detail: "banned"}
		}
	}
	return nil
}

// watched is a monitor: of what it is told that there is, it knows one stream as it is told.
type watched struct {
	health []monitor.Health
	ago    time.Duration // of key frames
}

func (m *watched) Status(k hub.Key) (monitor.Status, bool) {
	return monitor.Status{Health: m.health, FrameRate: 24.98765, KeyInterval: m.ago}, k == key("live/demo")
}

func (m *watched) Stream(k hub.Key) (monitor.Series, bool) {
	if k != key("live/demo") {
		return monitor.Series{}, false
	}
	return monitor.Series{Step: 2 * time.Second, End: time.Unix(1_800_000_000, 0), Points: map[string][]float64{"bitrate": {math.NaN(), 2e6}}}, true
}

func (m *watched) Whole() monitor.Series {
	return monitor.Series{Step: 5 * time.Second, End: time.Unix(1_800_000_000, 0), Points: map[string][]float64{"cpu": {math.Inf(1), 1.23456}, "memory": {}}}
}

// disk is a recorder and an archive.
type disk struct {
	mu       sync.Mutex
	recorded map[string]string // by stream: start or stop
	pinned   map[string]bool   // by stream/id; those that are not there do not exist
	err      error
}

func (d *disk) Start(k hub.Key) { d.note(k, "start") }
func (d *disk) Stop(k hub.Key)  { d.note(k, "stop") }

func (d *disk) Records(k hub.Key) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.recorded[k.String()] == "start"
}

func (d *disk) note(k hub.Key, what string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.recorded[k.String()] = what
}

var errDisk = errors.New("input/output error on /secret/path")

func (d *disk) Delete(k hub.Key, id string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, found := d.pinned[k.String()+"/"+id]
	if !found {
		return cmp.Or(d.err, archive.ErrNotFound)
	}
	delete(d.pinned, k.String()+"/"+id)
	return d.err
}

func (d *disk) Pin(k hub.Key, id string, on bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, found := d.pinned[k.String()+"/"+id]; !found {
		return archive.ErrNotFound
	}
	d.pinned[k.String()+"/"+id] = on
	return d.err
}

// Recordings lists those that are pinned or not, by their names; the place in the list is a number.
func (d *disk) Recordings(k hub.Key, after string, limit int) (page []archive.Recording, next string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil {
		return nil, "", d.err
	}
	from := 0
	if after != "" {
		if from, err = strconv.Atoi(after); err != nil {
			return nil, "", archive.ErrPlace
		}
	}
	var all []archive.Recording
	for _, path := range slices.Sorted(maps.Keys(d.pinned)) {
		stream, id := cutLast(path)
		r := archive.Recording{Key: key(stream), ID: id, State: archive.StateFinished, Pinned: d.pinned[path], Changed: time.Unix(1_800_000_000, 0)}
		if id == "now" {
			r.State = archive.StateRecording
		}
		if k == (hub.Key{}) || r.Key == k {
			all = append(all, r)
		}
	}
	all = all[min(from, len(all)):]
	if len(all) > limit {
		return all[:limit], strconv.Itoa(from + limit), nil
	}
	return all, "", nil
}

var errInUse = archive.ErrInUse

func itoa(n int) string { return strconv.Itoa(n) }

func formatID(id uint64) string { return strconv.FormatUint(id, 10) }
