package console

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub"
	"sluice/hub/archive"
	"sluice/web/admin"
)

const token = "0123456789abcdef-secret"

// rig is the operators' address: the console, and the API of a hub.
type rig struct {
	*httptest.Server
	t      testing.TB
	hub    *hub.Hub
	bans   *banList
	relays *relays
	tapes  *tapes
	events *ring
	token  atomic.Value // string
	away   atomic.Bool  // the API does not answer
	batch  hub.Batch
	api    http.Handler
	config admin.Config

	mu    sync.Mutex
	asked []string // paths and queries of the API
}

// newRig starts it; nodes are those of the cluster that it is one of, if any.
func newRig(t testing.TB, nodes ...admin.Nodes) *rig {
	r := &rig{t: t, bans: &banList{}, relays: &relays{}, tapes: &tapes{}, events: newRing()}
	r.token.Store(token)
	r.hub = hub.New(hub.Config{Authorize: func(_ context.Context, s *hub.Session) (hub.Grant, error) {
		return hub.Grant{Subject: s.Client().Name, Identity: s.Client().Name}, nil // tests say there who it is
	}})
	config := admin.Config{
		Hub: r.hub, Bans: r.bans, Relays: r.relays, Recorder: r.tapes, Archive: r.tapes, Monitor: measured{}, Events: r.events.since, WaitEvents: r.events.wait,
		Token: func() string { return r.token.Load().(string) }, Logger: slog.New(slog.DiscardHandler),
		Info: func() admin.Info {
			return admin.Info{
				Version: "1.2.3", Started: time.Now().Add(-50 * time.Hour), Addresses: map[string]string{"rtmp": "[::]:1935", "http": "[::]:8080"},
				Limits: map[string]int64{"viewers": 25000, "connections": 30000},
				Parts: map[string]any{
					"connections": map[string]int{"open": 20_320}, "recordings": map[string]any{"running": 1, "disk_full": false},
					"disk": map[string]int64{"free": 312e9, "total": 1000e9},
					"certificates": []map[string]any{
						{"names": []string{"media.example.com", "*.media.example.com"}, "not_after": time.Now().Add(60 * 24 * time.Hour), "days_left": 60.5, "problem": ""},
						{"names": []string{"<i>\u202e&amp;"}, "not_after": time.Now(), "days_left": 1.9, "problem": "/etc/tls/key.pem: permission denied"},
						{"names": []string{"old.example.com"}, "not_after": time.Now(), "days_left": -3.0, "problem": ""},
						{"names": []string{"new.example.com"}, "not_after": nil, "days_left": 0, "problem": "http-01: Fetching http://new.example.com/.well-known/acme-challenge/x: Connection refused <b>"},
					},
				},
			}
		},
	}
	if len(nodes) > 0 {
		config.Nodes = nodes[0]
		info := config.Info
		config.Info = func() admin.Info {
			of := info()
			of.Parts["cluster"] = map[string]any{"node": "n1:6222"}
			return of
		}
	}
	api := admin.Handler(config)
	page := Handler(Config{Version: "1.2.3"})
	r.api, r.config = api, config
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if Serves(q.URL.Path) {
			page.ServeHTTP(w, q)
			return
		}
		r.mu.Lock()
		r.asked = append(r.asked, q.Method+" "+q.URL.RequestURI())
		r.mu.Unlock()
		if r.away.Load() {
			panic(http.ErrAbortHandler)
		}
		api.ServeHTTP(w, q)
	}))
	t.Cleanup(func() {
		r.Server.CloseClientConnections()
		r.Server.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		assert.NoError(t, r.hub.Shutdown(ctx))
	})
	return r
}

// requests returns those that the API has been asked since the last call.
func (r *rig) requests() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	asked := r.asked
	r.asked = nil
	return asked
}

func key(stream string) hub.Key {
	app, name, _ := strings.Cut(stream, "/")
	k, err := hub.NewKey(app, name)
	if err != nil {
		panic(err)
	}
	return k
}

// client returns the client number n; who is its subject.
func client(n int, protocol, agent, who string) hub.Client {
	return hub.Client{
		Protocol: protocol, Agent: agent, Name: who,
		Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, byte(n >> 8), byte(n)}), uint16(1024+n%60000)),
	}
}

// avcHeader is that of a picture of 640x360.
var avcHeader = []byte{
	0x17, 0, 0, 0, 0, 1, 0x42, 0xc0, 0x1e, 0xff, 0xe1, 0, 0x16, 0x67, 0x42, 0xc0, 0x1e, 0xda, 0x02, 0x80, 0xbf, 0xe5,
	0xc0, 0x44, 0, 0, 3, 0, 4, 0, 0, 3, 0, 0xf0, 0x3c, 0x58, 0xba, 0x80, 1, 0, 4, 0x68, 0xce, 0x0f, 0x2c, 0x80,
}

var aac = flv.Tag{Type: flv.TypeAudio, Data: []byte{0xaf, 1, 1, 2, 3}}

// publish publishes a stream that begins with a key frame.
func (r *rig) publish(stream string, c hub.Client) *hub.Publisher {
	s := r.hub.NewSession(hub.RolePublish, key(stream), c)
	require.NoError(r.t, s.AskAndWait(r.t.Context()))
	p, err := r.hub.Publish(s, hub.PublishOptions{})
	require.NoError(r.t, err)
	r.t.Cleanup(p.Close)
	for _, tag := range []flv.Tag{
		{Type: flv.TypeVideo, Data: avcHeader}, {Type: flv.TypeAudio, Data: []byte{0xaf, 0, 0x12, 0x10}},
		{Type: flv.TypeVideo, Data: append([]byte{0x17, 1, 0, 0, 0}, make([]byte, 40_000)...)},
		aac,
	} {
		require.NoError(r.t, p.Write(tag))
	}
	return p
}

// backup publishes the backup of a stream, whose publisher has shown the same subject. It stands by.
func (r *rig) backup(stream string, c hub.Client) *hub.Publisher {
	c.Query = url.Values{hub.BackupParameter: {"1"}}
	return r.publish(stream, c)
}

// discard is a protocol whose clients get nothing.
type discard struct{}

func (discard) AppendTags(dst []byte, _ []flv.Tag) []byte { return dst }

// watch adds a viewer that takes what there is once, and no more.
func (r *rig) watch(stream string, c hub.Client) *hub.Viewer {
	s := r.hub.NewSession(hub.RoleWatch, key(stream), c)
	require.NoError(r.t, s.AskAndWait(r.t.Context()))
	v, err := r.hub.Watch(s, hub.WatchOptions{})
	require.NoError(r.t, err)
	r.t.Cleanup(v.Close)
	if !r.hub.Live(key(stream)) {
		return v
	}
	require.NoError(r.t, v.Wait(r.t.Context()))
	for more := true; more; {
		more, _ = v.Fill(&r.batch, discard{}, 1<<20)
	}
	v.Sent(40_000)
	return v
}

// populate publishes some streams and lets viewers watch them, every fifth one more than the
// ones before.
func (r *rig) populate(streams, viewers int) {
	for n := range streams {
		r.publish(fmt.Sprintf("live/channel-%03d", n), client(n, "rtmp", "FMLE/3.0 (compatible; OBS)", fmt.Sprintf("studio-%d", n)))
	}
	for n := range viewers {
		over := []string{"http-flv", "ws-flv", "rtmp"}[n%3]
		r.watch(fmt.Sprintf("live/channel-%03d", n%max(1, streams)), client(n, over, "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36", fmt.Sprintf("viewer-%d", n%977)))
	}
}

// names are what people call streams, and what they should not.
var names = []string{
	"live/قناة الأخبار المباشرة", "live/ערוץ החדשות", "live/ช่องข่าวสดทันเหตุการณ์", "live/新闻直播频道高清", "live/ニュース生放送",
	"live/뉴스 생방송", "live/समाचार सीधा प्रसारण", "live/Ελληνικά νέα", "live/Прямой эфир", "live/e\u0301\u0302\u0323 combining", "live/" + strings.Repeat("a-very-long-name-", 14),
	"live/(x) onerror=alert(1)", "live/&amp !important", "live/a.b_c~d+e=f@g,h:i",
}

// words are what clients say of themselves.
var words = []string{
	"<script>alert(1)</script>", `"><img src=x onerror=alert(1)>`, "\u202egnp.exe\u202c", "\u2067rtl isolate", "🎬📺👩🏽‍💻🏴‍☠️", "tab\tand\nline\x00end\x1b[31m",
	"'; DROP TABLE--", "{{constructor.constructor('alert(1)')()}}", strings.Repeat("W", 400), "zero\u200bwidth\ufeff", "javascript:alert(1)", "العربية", "עברית", "ไทย",
}

// populateNames publishes every name, each with a client that says something.
func (r *rig) populateNames() {
	for n, name := range names {
		word := words[n%len(words)]
		r.publish(name, client(n, "rtmp", word, word))
		r.watch(name, client(1000+n, "http-flv", word, word))
	}
}

// ring keeps events.
type ring struct {
	mu     sync.Mutex
	events []json.RawMessage
	more   chan struct{}
}

func newRing() *ring { return &ring{more: make(chan struct{})} }

func (r *ring) add(kind, stream string, more map[string]any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(r.events) + 1
	e := map[string]any{"id": "e" + strconv.Itoa(n), "seq": n, "type": kind, "time": time.Now().Format(time.RFC3339Nano), "server": "rig", "stream": stream}
	maps.Copy(e, more)
	text, err := json.Marshal(e)
	if err != nil {
		panic(err)
	}
	r.events = append(r.events, text)
	close(r.more)
	r.more = make(chan struct{})
}

func (r *ring) since(after uint64, most int) ([]json.RawMessage, uint64, uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	first := min(int(after), len(r.events))
	last := min(first+most, len(r.events))
	return slices.Clone(r.events[first:last]), uint64(last), 0
}

func (r *ring) wait(ctx context.Context, after uint64) error {
	r.mu.Lock()
	more, there := r.more, uint64(len(r.events)) > after
	r.mu.Unlock()
	if there {
		return nil
	}
	select {
	case <-more:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// banList is a list of bans in memory.
type banList struct {
	mu   sync.Mutex
	bans []admin.Ban
	last int
}

func (l *banList) Add(bans ...admin.Ban) ([]admin.Ban, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range bans {
		l.last++
		bans[i].ID, bans[i].Since = strconv.Itoa(l.last), time.Now()
	}
	l.bans = append(l.bans, bans...)
	return bans, nil
}

func (l *banList) Remove(id string) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := len(l.bans)
	l.bans = slices.DeleteFunc(l.bans, func(b admin.Ban) bool { return b.ID == id })
	return len(l.bans) < before, nil
}

func (l *banList) All() []admin.Ban {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.bans)
}

// tapes is a recorder and an archive in memory.
type tapes struct {
	mu   sync.Mutex
	all  []archive.Recording
	done []string // what was asked of it
}

func (d *tapes) note(what ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.done = append(d.done, strings.Join(what, " "))
}

func (d *tapes) did() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.done)
}

func (d *tapes) Start(k hub.Key) { d.note("start", k.String()) }
func (d *tapes) Stop(k hub.Key)  { d.note("stop", k.String()) }

func (d *tapes) Records(k hub.Key) bool {
	did := d.did()
	return slices.ContainsFunc(did, func(what string) bool { return what == "start "+k.String() }) &&
		!slices.Contains(did, "stop "+k.String())
}

func (d *tapes) Delete(k hub.Key, id string) error {
	d.note("delete", k.String(), id)
	d.mu.Lock()
	defer d.mu.Unlock()
	before := len(d.all)
	d.all = slices.DeleteFunc(d.all, func(r archive.Recording) bool { return r.Key == k && r.ID == id })
	if len(d.all) == before {
		return archive.ErrNotFound
	}
	return nil
}

func (d *tapes) Pin(k hub.Key, id string, on bool) error {
	d.note("pin", k.String(), id, strconv.FormatBool(on))
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range d.all {
		if d.all[i].Key == k && d.all[i].ID == id {
			d.all[i].Pinned = on
		}
	}
	return nil
}

func (d *tapes) Recordings(k hub.Key, after string, limit int) (page []archive.Recording, next string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	from, _ := strconv.Atoi(cmp.Or(after, "0"))
	var all []archive.Recording
	for _, r := range d.all {
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

// record puts recordings of a stream there, the newest of which is being written.
func (d *tapes) record(stream string, n int) {
	for i := range n {
		begin := time.Now().Add(-time.Duration(i) * 3 * time.Hour)
		r := archive.Recording{
			Key: key(stream), ID: begin.UTC().Format("20060102-150405"),
			State: archive.StateFinished, Changed: begin, Pinned: i == 1,
		}
		r.Begin, r.Duration, r.Size = begin, time.Hour+time.Duration(i)*time.Minute, int64(1+i)*700e6
		if i == 0 {
			r.State = archive.StateRecording
		}
		d.all = append(d.all, r)
	}
}

// ban makes some bans.
func (r *rig) ban() {
	r.bans.Add(
		admin.Ban{Address: netip.MustParseAddr("192.0.2.7"), Reason: "floods", Until: time.Now().Add(time.Hour)},
		admin.Ban{Network: netip.MustParsePrefix("2001:db8:1234:5678::/64"), Role: "publish"},
		admin.Ban{Stream: "live/**", Subject: words[0], Reason: words[2], Until: time.Now().Add(24 * time.Hour)},
	)
}

// happen lets some things have happened.
func (r *rig) happen() {
	session := map[string]any{"id": 12, "role": "watch", "protocol": "http-flv", "address": "192.0.2.7:40000", "agent": words[0], "subject": words[2]}
	r.events.add("server.started", "", nil)
	r.events.add("publish", names[0], map[string]any{"session": map[string]any{"id": 2, "role": "publish", "protocol": "rtmp", "address": "192.0.2.1:40000"}})
	r.events.add("update", "", map[string]any{"sessions": []any{}})
	r.events.add("play", "live/channel-001", map[string]any{"session": session})
	r.events.add("denied", names[10], map[string]any{"session": session, "reason": "denied", "detail": words[1]})
	r.events.add("health", "live/channel-001", map[string]any{"health": map[string]any{"word": "key_frame_interval", "sentence": "A key frame comes every 8.3 s.", "hint": "Set it to 2 s.", "begins": true}})
	r.events.add("record.begun", "live/channel-001", map[string]any{"recording": map[string]any{"id": "20260102-030405"}})
	r.events.add("publish", "live/channel-001", map[string]any{"session": map[string]any{"id": 3, "role": "publish", "protocol": "rtmp", "address": "192.0.2.9:40000"}, "standby": true})
	r.events.add("switched", "live/channel-001", map[string]any{"session": map[string]any{"id": 3, "role": "publish", "protocol": "rtmp", "address": "192.0.2.9:40000"}})
	r.events.add("stop", "live/channel-001", map[string]any{"session": session, "reason": "client left"})
}
