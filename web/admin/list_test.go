package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
	"sluice/hub/monitor"
)

// all walks through the pages of a list.
func all[T any](t *testing.T, r *rig, target string, of func(page json.RawMessage) ([]T, string)) (list []T) {
	cursor := ""
	for range 1000 {
		items, next := of(get[json.RawMessage](r, target+cursor))
		list = append(list, items...)
		if next == "" {
			return list
		}
		cursor = "&cursor=" + url.QueryEscape(next)
	}
	t.Fatal("the pages do not end")
	return nil
}

func TestSessionsForm(t *testing.T) {
	r := newRig(t, hub.Config{Authorize: func(_ context.Context, s *hub.Session) (hub.Grant, error) {
		return hub.Grant{Subject: "alice\"<b>", Method: "jwt"}, nil
	}})
	c := from("192.0.2.7:5000")
	c.Agent, c.Query = "FMLE/3.0 \xff\"<script>"+strings.Repeat("é", 200), url.Values{"token": {"hidden"}}
	c.TCURL, c.Authorization, c.Origin = "rtmp://x/live?key=hidden", "Bearer hidden", "https://hidden"
	r.publish("live/demo", c)
	w := r.do(request("GET", "/api/v1/sessions", ""))
	assert.NotContains(t, w.Body.String(), "hidden")
	assert.NotContains(t, w.Body.String(), "<")
	said := get[Sessions](r, "/api/v1/sessions")
	require.Len(t, said.Sessions, 1)
	s := said.Sessions[0]
	assert.NotZero(t, s.ID)
	assert.WithinDuration(t, time.Now(), time.Time(s.Since), time.Minute)
	assert.Equal(t, "FMLE/3.0 �\"<script>"+strings.Repeat("é", 54), s.Client, "in bounds, and whole letters")
	s.ID, s.Since, s.Client = 0, said.Sessions[0].Since, ""
	assert.Equal(t, Session{
		Role: "publish", Stream: "live/demo", Address: "192.0.2.7", Port: 5000, Subject: "alice\"<b>", Method: "jwt",
		State: "running", Since: s.Since, Bytes: published, Protocol: "rtmp",
	}, s)
}

// Who is seen and who stands by is told, without what the two showed.
func TestStandbyForm(t *testing.T) {
	r := newRig(t, hub.Config{})
	c := from("192.0.2.7:5000")
	c.Query = url.Values{"key": {"hidden"}}
	r.publish("live/demo", c)
	c = from("192.0.2.8:6000")
	c.Query = url.Values{"key": {"hidden"}, "backup": {"1"}}
	r.publish("live/demo", c)
	act[any](r, "POST", "/api/v1/streams/switch", `{"stream":"live/demo"}`, 204)
	assert.Contains(t, r.log(), "does=switch address=192.0.2.99 stream=live/demo")
	assert.Equal(t, "nobody stands by for live/other", act[problem](r, "POST", "/api/v1/streams/switch", `{"stream":"live/other"}`, 404).Reason)
	assert.NotContains(t, r.do(request("GET", "/api/v1/streams", "")).Body.String(), "hidden")
	s := get[Streams](r, "/api/v1/streams").Streams[0]
	require.NotNil(t, s.Standby)
	standby := map[uint64]bool{}
	for _, s := range get[Sessions](r, "/api/v1/sessions").Sessions {
		standby[s.ID] = s.Standby
	}
	assert.True(t, standby[s.Standby.Session])
	assert.Len(t, standby, 2)
	assert.Equal(t, "192.0.2.7:5000", s.Publisher)
	assert.Equal(t, Standby{
		Session: s.Standby.Session, Protocol: "rtmp", Publisher: "192.0.2.8:6000", Since: s.Standby.Since, Backup: true,
		SilenceMS: s.Standby.SilenceMS, Bitrate: s.Standby.Bitrate, Switching: true,
	}, *s.Standby)
	assert.WithinDuration(t, time.Now(), time.Time(s.Standby.Since), time.Minute)
}

// Who asks to publish may have typed a secret.
func TestSessionsOfThoseWhoAskAreDisguised(t *testing.T) {
	asked := make(chan struct{})
	r := newRig(t, hub.Config{
		Disguise: func(hub.Key) string { return "live/#1234" },
		Authorize: func(ctx context.Context, s *hub.Session) (hub.Grant, error) {
			close(asked)
			<-ctx.Done()
			return hub.Grant{}, ctx.Err()
		},
	})
	s := r.hub.NewSession(hub.RolePublish, key("live/hunter2"), from("192.0.2.7:1"))
	done := make(chan error, 1)
	s.Ask(t.Context(), func(err error) { done <- err })
	<-asked
	w := r.do(request("GET", "/api/v1/sessions?state=asking", ""))
	assert.Contains(t, w.Body.String(), `"stream":"live/#1234"`)
	assert.Equal(t, 0, get[Sessions](r, "/api/v1/sessions?stream=live/hunter2").Total, "nor can it be tried")

	// It is ended, and its address banned from all streams: the one it meant is not known.
	act[Ended](r, "DELETE", "/api/v1/sessions/"+formatID(s.ID()), "", 200)
	var why *hub.Refusal
	require.ErrorAs(t, <-done, &why)
	assert.Equal(t, hub.ReasonKicked, why.Reason)
	bans := r.bans.All()
	require.Len(t, bans, 1)
	assert.Equal(t, "192.0.2.7", bans[0].Address.String())
	assert.Empty(t, bans[0].Stream)
	assert.NotContains(t, r.log()+w.Body.String(), "hunter2")
}

func TestSessionsAreFilteredAndPaged(t *testing.T) {
	r := newRig(t, hub.Config{Authorize: func(_ context.Context, s *hub.Session) (hub.Grant, error) {
		return hub.Grant{Subject: s.Client().Query.Get("as")}, nil
	}})
	alice := from("192.0.2.1:1")
	alice.Query = url.Values{"as": {"alice"}}
	r.publish("live/demo", alice)
	for n := range 25 {
		c := from("198.51.100." + itoa(n) + ":1")
		c.Protocol = []string{"http-flv", "ws-flv"}[n%2]
		r.watch([]string{"live/demo", "live/a/x", "other/y"}[n%3], c)
	}
	for query, want := range map[string]int{
		"": 26, "role=publish": 1, "role=watch": 25, "stream=live/demo": 10, "stream=live/*": 10, "stream=live/**": 18,
		"stream=**": 26, "stream=none/x": 0, "protocol=ws-flv": 12, "protocol=": 0, "subject=alice": 1, "subject=": 25, "subject=bob": 0,
		"address=198.51.100.7": 1, "network=198.51.100.0/28": 16, "address=198.51.100.0/28": 16, "network=2001:db8::/32": 0,
		"address=::ffff:198.51.100.7": 1, "network=::ffff:198.51.100.0/124": 16,
		"state=waiting": 25, "state=running": 1, "state=asking": 0, "role=watch&stream=other/y&protocol=http-flv": 4,
	} {
		pages := 0
		list := all(t, r, "/api/v1/sessions?limit=7&"+query, func(page json.RawMessage) ([]Session, string) {
			pages++
			var said Sessions
			require.NoError(t, json.Unmarshal(page, &said))
			assert.Equal(t, want, said.Total, query)
			assert.LessOrEqual(t, len(said.Sessions), 7)
			return said.Sessions, said.Next
		})
		assert.Len(t, list, want, query)
		assert.Equal(t, max(1, (want+6)/7), pages, "no page too many: %s", query)
		for n := 1; n < len(list); n++ {
			assert.Greater(t, list[n].ID, list[n-1].ID)
		}
	}
}

func TestStreamsAreFilteredAndPaged(t *testing.T) {
	r := newRig(t, hub.Config{})
	r.publish("live/demo", from("[2001:db8::7]:1"))
	for n := range 11 {
		r.watch("later/a/"+itoa(n), from("192.0.2.1:1"))
	}
	for query, want := range map[string]int{
		"": 12, "state=live": 1, "state=waiting": 11, "search=DEMO": 1, "search=later%2F": 11, "search=2001:DB8": 1, "search=nobody": 0,
		"stream=later/**": 11, "stream=later/*": 0, "stream=live/demo": 1,
		"protocol=rtmp": 1, "address=2001:db8::7": 1, "network=2001:db8::/64": 1, "address=192.0.2.1": 0,
	} {
		list := all(t, r, "/api/v1/streams?limit=4&"+query, func(page json.RawMessage) ([]Stream, string) {
			var said Streams
			require.NoError(t, json.Unmarshal(page, &said))
			assert.Equal(t, want, said.Total, query)
			return said.Streams, said.Next
		})
		require.Len(t, list, want, query)
		for n := 1; n < len(list); n++ {
			assert.NotEqual(t, list[n].Stream, list[n-1].Stream)
		}
	}
	s := get[Streams](r, "/api/v1/streams?state=live").Streams[0]
	assert.Equal(t, "[2001:db8::7]:1", s.Publisher)
	assert.Equal(t, "live/demo", s.Stream)
	assert.NotNil(t, s.Since)
	assert.EqualValues(t, published, s.BytesIn)
}

// Streams come in each order and the other way round, and those that are alike by name.
func TestStreamsAreSorted(t *testing.T) {
	r := newRig(t, hub.Config{})
	r.monitor.health = []monitor.Health{{Word: "silent"}}
	r.publish("live/demo", from("192.0.2.7:1"))
	for n, name := range []string{"later/c", "later/a", "later/a", "live/b", "late/r", "later/a"} {
		r.watch(name, from("192.0.2.1:"+itoa(n+1)))
	}
	for sort, want := range map[string][]string{
		"":         {"late/r", "later/a", "later/c", "live/b", "live/demo"},
		"stream":   {"late/r", "later/a", "later/c", "live/b", "live/demo"},
		"-stream":  {"live/demo", "live/b", "later/c", "later/a", "late/r"},
		"viewers":  {"live/demo", "late/r", "later/c", "live/b", "later/a"},
		"-viewers": {"later/a", "late/r", "later/c", "live/b", "live/demo"},
		"health":   {"late/r", "later/c", "live/b", "later/a", "live/demo"},
		"-health":  {"live/demo", "later/a", "late/r", "later/c", "live/b"},
		"since":    {"late/r", "later/a", "later/c", "live/b", "live/demo"},
		"-since":   {"live/demo", "late/r", "later/a", "later/c", "live/b"},
		"bitrate":  {"late/r", "later/a", "later/c", "live/b", "live/demo"},
		"-bitrate": {"live/demo", "late/r", "later/a", "later/c", "live/b"},
	} {
		var names []string
		for _, s := range all(t, r, "/api/v1/streams?limit=2&sort="+sort, func(page json.RawMessage) ([]Stream, string) {
			var said Streams
			require.NoError(t, json.Unmarshal(page, &said))
			assert.Equal(t, 5, said.Total, sort)
			return said.Streams, said.Next
		}) {
			names = append(names, s.Stream)
		}
		assert.Equal(t, want, names, sort)
	}
	assert.Empty(t, get[Streams](r, "/api/v1/streams?sort=-viewers&cursor=1000").Streams, "beyond the end")
	for _, query := range []string{"sort=lag", "sort=-", "sort=-viewers&cursor=x", "sort=viewers&cursor=-1"} {
		assert.Equal(t, 400, r.do(request("GET", "/api/v1/streams?"+query, "")).Code, query)
	}
}

func TestEvents(t *testing.T) {
	r := newRig(t, hub.Config{})
	said := get[Events](r, "/api/v1/events?limit=2")
	assert.Equal(t, []json.RawMessage{json.RawMessage(`{"seq":1}`), json.RawMessage(`{"seq":2}`)}, said.Events)
	assert.EqualValues(t, 2, said.Next)
	said = get[Events](r, "/api/v1/events?after=2")
	assert.Len(t, said.Events, 1)
	assert.EqualValues(t, 3, said.Next)
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, hub.Config{})
		began := time.Now()
		w := r.do(request("GET", "/api/v1/events?after=3&wait=20s", ""))
		assert.JSONEq(t, `{"events":[],"next":3,"missed":0}`, w.Body.String())
		assert.Equal(t, 20*time.Second, time.Since(began))
		began = time.Now()
		get[Events](r, "/api/v1/events?wait=20s")
		assert.Zero(t, time.Since(began), "there are some")
	})
}

func TestInfo(t *testing.T) {
	r := newRig(t, hub.Config{})
	r.publish("live/demo", from("192.0.2.7:1"))
	r.ready = errDisk
	said := get[ServerInfo](r, "/api/v1/info")
	assert.Equal(t, "1.2.3", said.Version)
	assert.False(t, said.Ready)
	assert.Equal(t, errDisk.Error(), said.Reason)
	assert.False(t, said.Draining)
	assert.Equal(t, map[string]any{"events": map[string]any{"Waiting": 3.0}}, said.Parts)
	require.Len(t, said.Totals, 1)
	assert.Equal(t, Totals{
		Protocol: "rtmp", Role: "publish", Running: 1, Begun: 1, Bytes: published,
		Ended: map[string]uint64{}, Refused: map[string]uint64{},
	}, said.Totals[0])

	r.ready = Draining("nobody new comes in")
	said = get[ServerInfo](r, "/api/v1/info")
	assert.Equal(t, []any{false, true, "nobody new comes in"}, []any{said.Ready, said.Draining, said.Reason})
}

func TestQueriesThatMakeNoSense(t *testing.T) {
	r := newRig(t, hub.Config{})
	for _, target := range []string{
		"/api/v1/sessions?limit=0", "/api/v1/sessions?limit=1001", "/api/v1/sessions?limit=x", "/api/v1/sessions?limit=-1",
		"/api/v1/sessions?strem=live/x", "/api/v1/sessions?token=" + token, "/api/v1/sessions?role=viewer", "/api/v1/sessions?role=publish&role=watch",
		"/api/v1/sessions?address=x", "/api/v1/sessions?address=192.0.2.1&network=192.0.2.0/24", "/api/v1/sessions?network=192.0.2.0/33",
		"/api/v1/sessions?network=::ffff:0.0.0.0/90", "/api/v1/sessions?address=fe80::1%25eth0", "/api/v1/sessions?stream=live/x*", "/api/v1/sessions?stream=!live/*",
		"/api/v1/sessions?stream=*", "/api/v1/sessions?cursor=x", "/api/v1/sessions?cursor=-1", "/api/v1/sessions?after=1&cursor=1",
		"/api/v1/sessions?cursor=99999999999999999999", "/api/v1/sessions?cursor=" + strings.Repeat("1", 3000), "/api/v1/sessions?a;b", "/api/v1/sessions?%zz",
		"/api/v1/streams?cursor=!", "/api/v1/bans?cursor=!", "/api/v1/bans?cursor=eA", "/api/v1/events?after=x",
		"/api/v1/events?wait=31s", "/api/v1/events?wait=x", "/api/v1/events?wait=-1s", "/api/v1/info?x",
	} {
		w := r.do(request("GET", target, ""))
		assert.Equal(t, 400, w.Code, target)
		assert.Contains(t, w.Body.String(), `"error":"bad request"`)
		assert.NotContains(t, w.Body.String(), token, "what was asked is not repeated")
	}
}

// Operators see all recordings, also where the public may see none.
func TestListOfRecordings(t *testing.T) {
	r := newRig(t, hub.Config{})
	for n := range 250 {
		r.disk.pinned[fmt.Sprintf("live/%c/%03d", 'a'+n%2, n)] = n%2 == 0
	}
	r.disk.pinned["other/c/1"], r.disk.pinned["other/c/now"] = true, false
	list := func(query string) (ids []string) {
		return all(t, r, "/api/v1/recordings?"+query, func(page json.RawMessage) (ids []string, _ string) {
			var said Recordings
			require.NoError(t, json.Unmarshal(page, &said))
			for _, recording := range said.Recordings {
				ids = append(ids, recording.Stream+"/"+recording.ID)
				assert.Equal(t, recording.Stream, recording.App+"/"+recording.Name)
			}
			return ids, said.Next
		})
	}
	assert.Len(t, list("limit=7"), 252)
	assert.Len(t, list(""), 252)
	assert.Len(t, list("stream=live/a"), 125)
	assert.Len(t, list("stream=live/*&limit=3"), 250)
	assert.Equal(t, []string{"other/c/1", "other/c/now"}, list("stream=other/**&limit=1"), "of those at the end")
	assert.Equal(t, []string{"other/c/now"}, list("state=recording"))
	assert.Empty(t, list("stream=live/none"))

	said := get[Recordings](r, "/api/v1/recordings?stream=other/c&state=finished")
	require.Len(t, said.Recordings, 1)
	b, err := json.Marshal(said.Recordings[0])
	require.NoError(t, err)
	assert.JSONEq(t, `{"id":"1","stream":"other/c","app":"other","name":"c","begin":null,"duration":0,"bytes":0,"video":null,"audio":null,
		"gaps":0,"gap_seconds":0,"state":"finished","pinned":true,"foreign":false,"changed":"2027-01-15T08:00:00.000Z"}`, string(b))
	// A pattern that fits few is looked for in a bounded number of pages.
	page := get[Recordings](r, "/api/v1/recordings?stream=other/**&limit=1")
	assert.Empty(t, page.Recordings)
	assert.Equal(t, "100", page.Next)
	for _, bad := range []string{"cursor=x", "role=watch", "address=192.0.2.1", "limit=1001", "stream=!live/*"} {
		assert.Equal(t, 400, r.do(request("GET", "/api/v1/recordings?"+bad, "")).Code, bad)
	}
}
