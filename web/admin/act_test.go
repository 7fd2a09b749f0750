package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

// named grants everybody under the name in their address.
func named(_ context.Context, s *hub.Session) (hub.Grant, error) {
	return hub.Grant{Subject: s.Client().Query.Get("as"), Method: "test"}, nil
}

func as(subject, address string) hub.Client {
	c := from(address)
	c.Query = url.Values{"as": {subject}}
	return c
}

// running returns the sessions that there are, as ROLE STREAM ADDRESS.
func (r *rig) running() (ids []string) {
	for _, info := range r.hub.Sessions() {
		ids = append(ids, info.Session.Role().String()+" "+info.Session.Shown()+" "+info.Session.Client().Address.Addr().String())
	}
	return ids
}

// ends ends viewers that were dismissed, as those who drive them do.
func ends(t *testing.T, viewers ...*hub.Viewer) {
	t.Helper()
	for _, v := range viewers {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		err := v.Wait(ctx)
		cancel()
		var why *hub.Refusal
		require.ErrorAs(t, err, &why)
		assert.Equal(t, hub.ReasonKicked, why.Reason)
		v.End(why)
	}
}

func TestKick(t *testing.T) {
	for _, c := range []struct {
		body string
		want Ended
		left []string
		bans []string // "role stream subject address", in no order
	}{
		{`{"stream":"live/a","who":"publisher"}`, Ended{Ended: 1, Bans: 1},
			[]string{"watch live/a 192.0.2.2", "watch live/a 192.0.2.3", "watch live/a 192.0.2.3", "watch live/b 192.0.2.2"},
			[]string{"publish live/a alice invalid IP"}},
		{`{"stream":"live/a","who":"viewers","reason":"over","ban":"1h"}`, Ended{Ended: 3, Bans: 2},
			[]string{"publish live/a 192.0.2.1", "watch live/b 192.0.2.2"},
			[]string{"watch live/a bob invalid IP", "watch live/a  192.0.2.3"}},
		{`{"stream":"live/a","who":"all","ban":"0"}`, Ended{Ended: 4}, []string{"watch live/b 192.0.2.2"}, nil},
		{`{"stream":"live/a"}`, Ended{Ended: 4, Bans: 3}, []string{"watch live/b 192.0.2.2"},
			[]string{"publish live/a alice invalid IP", "watch live/a bob invalid IP", "watch live/a  192.0.2.3"}},
		{`{"stream":"live/nobody"}`, Ended{}, []string{"publish live/a 192.0.2.1", "watch live/a 192.0.2.2", "watch live/a 192.0.2.3", "watch live/a 192.0.2.3", "watch live/b 192.0.2.2"}, nil},
	} {
		r := newRig(t, hub.Config{Authorize: named})
		r.publish("live/a", as("alice", "192.0.2.1:1"))
		// Nobody shows a first frame: what is ended is at once no more.
		viewers := []*hub.Viewer{
			r.watch("live/a", as("bob", "192.0.2.2:1")), r.watch("live/a", as("", "192.0.2.3:1")), r.watch("live/a", as("", "192.0.2.3:2")),
			r.watch("live/b", as("bob", "192.0.2.2:2")),
		}
		assert.Equal(t, c.want, act[Ended](r, "POST", "/api/v1/streams/kick", c.body, 200), c.body)
		for _, v := range viewers[:3] {
			if c.want.Ended >= 3 {
				ends(t, v)
			}
		}
		assert.ElementsMatch(t, c.left, r.running(), c.body)
		bans := []string{}
		for _, b := range r.bans.All() {
			bans = append(bans, fmt.Sprintf("%s %s %s %v", b.Role, b.Stream, b.Subject, b.Address))
			assert.WithinRange(t, b.Until, time.Now().Add(30*time.Second), time.Now().Add(time.Hour))
		}
		assert.ElementsMatch(t, c.bans, bans, c.body)
		assert.Equal(t, 1, strings.Count(r.log(), "msg=operator"), r.log())
		assert.Contains(t, r.log(), "does=kick address=192.0.2.99 stream=live/")
		assert.NotContains(t, r.log(), token)
	}
}

func TestEndOne(t *testing.T) {
	r := newRig(t, hub.Config{})
	r.publish("live/a", from("192.0.2.1:1"))
	v := r.watch("live/!a b", from("192.0.2.2:1"))
	w := r.watch("live/!a b", hub.Client{Protocol: "demo"})
	list := get[Sessions](r, "/api/v1/sessions").Sessions
	require.Len(t, list, 3)
	assert.Equal(t, Ended{Ended: 1}, act[Ended](r, "DELETE", "/api/v1/sessions/"+formatID(list[0].ID)+"?reason=over&ban=0", "", 200))
	assert.Empty(t, r.bans.All())
	assert.Equal(t, Ended{Ended: 1, Bans: 1}, act[Ended](r, "DELETE", "/api/v1/sessions/"+formatID(list[1].ID), `{"ban":"2m"}`, 200))
	ends(t, v)
	require.Len(t, r.bans.All(), 1)
	assert.True(t, fitsStream(r.bans.All()[0].Stream, "live/!a b"), r.bans.All()[0].Stream)
	assert.WithinDuration(t, time.Now().Add(2*time.Minute), r.bans.All()[0].Until, time.Minute)
	assert.Equal(t, Ended{Ended: 1, Unbanned: 1}, act[Ended](r, "DELETE", "/api/v1/sessions/"+formatID(list[2].ID), "", 200), "a part of the server")
	ends(t, w)
	act[problem](r, "DELETE", "/api/v1/sessions/"+formatID(list[0].ID), "", 404)
	assert.Empty(t, r.running())

	// A list that is full keeps nobody.
	r.bans.err = ErrFull
	v = r.watch("live/x", from("192.0.2.2:1"))
	assert.Equal(t, Ended{Ended: 1, Unbanned: 1}, act[Ended](r, "POST", "/api/v1/streams/kick", `{"stream":"live/x"}`, 200))
	ends(t, v)
}

// A list that cannot be written bans and ends all the same, and says so; a kick writes it once.
func TestBansThatAreNotSaved(t *testing.T) {
	r := newRig(t, hub.Config{Authorize: named})
	var viewers []*hub.Viewer
	for n := range 5 {
		viewers = append(viewers, r.watch("live/a", as(fmt.Sprint("viewer", n), "192.0.2.2:1")))
	}
	viewers = append(viewers, r.watch("live/a", as("\xff", "192.0.2.3:1"))) // a ban is JSON
	r.bans.err = fmt.Errorf("%w: %w", ErrUnsaved, errDisk)
	said := act[Banned](r, "POST", "/api/v1/bans", `{"subject":"viewer0"}`, 201)
	assert.Equal(t, 1, said.Ended)
	assert.True(t, said.Unsaved)
	ends(t, viewers[0])
	assert.Contains(t, r.log(), `level=WARN msg="bans will be lost at a restart" error="the list of bans cannot be written: input/output`)
	assert.Contains(t, r.log(), `until="for good"`)
	assert.Equal(t, Ended{Ended: 5, Bans: 5, Saved: Saved{true}}, act[Ended](r, "POST", "/api/v1/streams/kick", `{"stream":"live/a"}`, 200))
	ends(t, viewers[1:]...)
	assert.Equal(t, 2, r.bans.adds)
	assert.Len(t, r.bans.All(), 6)
	assert.Equal(t, Saved{true}, act[Saved](r, "DELETE", "/api/v1/bans/1", "", 200))
	act[problem](r, "DELETE", "/api/v1/bans/1", "", 404)
	assert.Len(t, r.bans.All(), 5)
	r.bans.err = nil
	assert.False(t, act[Banned](r, "POST", "/api/v1/bans", `{"subject":"x","until":"2100-01-01T00:00:00Z"}`, 400).Unsaved)

	// Who finds room is banned, the others are not.
	r.bans.err, r.bans.room = ErrFull, 2
	viewers = viewers[:0]
	for n := range 5 {
		viewers = append(viewers, r.watch("live/b", as(fmt.Sprint("viewer", n), "192.0.2.2:1")))
	}
	assert.Equal(t, Ended{Ended: 5, Bans: 2, Unbanned: 3}, act[Ended](r, "POST", "/api/v1/streams/kick", `{"stream":"live/b"}`, 200))
	ends(t, viewers...)
	assert.Contains(t, r.log(), `msg="who was kicked is not banned" bans=3 error="there are too many bans already"`)
}

func TestBans(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, hub.Config{Authorize: named})
		gone, stays := r.watch("live/a", as("bob", "192.0.2.7:1")), r.watch("live/a", as("eve", "198.51.100.1:1"))
		said := act[Banned](r, "POST", "/api/v1/bans", `{"network":"192.0.2.9/24","reason":"spam","for":"90m"}`, 201)
		assert.Equal(t, 1, said.Ended)
		ends(t, gone)
		b, err := json.Marshal(said.Ban)
		require.NoError(t, err)
		assert.JSONEq(t, `{"id":"1","network":"192.0.2.0/24","reason":"spam","since":"2000-01-01T00:00:00.000Z","until":"2000-01-01T01:30:00.000Z"}`, string(b))
		for _, body := range []string{
			`{"address":"::ffff:203.0.113.5","role":"publish","end":true}`, `{"subject":"alice","stream":"live/**","until":"2000-01-02T00:00:00+01:00"}`,
			`{"subject":"eve","end":false}`, `{"stream":"other/x"}`,
		} {
			time.Sleep(time.Second)
			assert.Zero(t, act[Banned](r, "POST", "/api/v1/bans", body, 201).Ended, body)
		}
		assert.Equal(t, []string{"watch live/a 198.51.100.1"}, r.running(), "who is not meant, or spared")
		stays.Close()
		for query, want := range map[string]string{
			"": "12345", "stream=live/a": "1234", "stream=live/**": "1234", "subject=alice": "3", "role=watch": "1345", "address=203.0.113.5": "2",
			"network=0.0.0.0/0": "12", "address=192.0.2.200": "1", "stream=other/*": "1245",
		} {
			ids := all(t, r, "/api/v1/bans?limit=2&"+query, func(page json.RawMessage) (ids []string, _ string) {
				var said BanList
				require.NoError(t, json.Unmarshal(page, &said))
				for _, b := range said.Bans {
					ids = append(ids, b.ID)
				}
				assert.Equal(t, len(want), said.Total, query)
				return ids, said.Next
			})
			assert.Equal(t, want, strings.Join(ids, ""), query)
		}
		act[any](r, "DELETE", "/api/v1/bans/3", "", 204)
		act[problem](r, "DELETE", "/api/v1/bans/3", "", 404)
		assert.Len(t, r.bans.All(), 4)
		assert.Equal(t, 6, strings.Count(r.log(), "msg=operator"))
	})
}

// An IPv6 client is banned with all the addresses that it may have.
func TestBansOfIPv6(t *testing.T) {
	r := newRig(t, hub.Config{})
	one, same := r.watch("live/a", from("[2001:db8:0:1::1]:1")), r.watch("live/a", from("[2001:db8:0:1::2]:1"))
	r.watch("live/a", from("[2001:db8:0:2::1]:1"))
	assert.Equal(t, Ended{Ended: 3, Bans: 2}, act[Ended](r, "POST", "/api/v1/streams/kick", `{"stream":"live/a"}`, 200), "two clients")
	ends(t, one)
	ends(t, same)
	one, same = r.watch("live/b", from("[2001:db8:0:1::1]:1")), r.watch("live/b", from("[2001:db8:0:1::2]:1"))
	other := r.watch("live/b", from("[2001:db8:0:2::1]:1"))
	assert.Equal(t, 2, act[Banned](r, "POST", "/api/v1/bans", `{"address":"2001:db8:0:1::7"}`, 201).Ended)
	ends(t, one)
	ends(t, same)
	said := act[Banned](r, "POST", "/api/v1/bans", `{"network":"2001:db8:0:2::7/128"}`, 201)
	assert.Equal(t, 1, said.Ended, "a network of one address is a client")
	assert.Equal(t, "2001:db8:0:2::7", said.Ban.Address)
	ends(t, other)
	assert.Equal(t, 2, get[BanList](r, "/api/v1/bans?address=2001:db8:0:1:ffff::").Total, "one by the kick")
}

func TestBodiesThatMakeNoSense(t *testing.T) {
	r := newRig(t, hub.Config{})
	for path, bodies := range map[string][]string{
		"/api/v1/bans": {
			``, `{}`, `null`, `[]`, `"x"`, `{"role":"watch"}`, `{"reason":"x","for":"1h"}`, `{"address":"x"}`, `{"address":"192.0.2.0/24"}`,
			`{"address":"192.0.2.1","network":"192.0.2.0/24"}`, `{"network":"x"}`, `{"stream":"x"}`, `{"stream":"!live/*"}`, `{"stream":"live/a*"}`,
			`{"stream":"` + strings.Repeat("a/", 2000) + `x"}`, `{"subject":"` + strings.Repeat("x", 1025) + `"}`, `{"subject":"x","role":"all"}`,
			`{"subject":"x","for":"0"}`, `{"subject":"x","for":"-1h"}`, `{"subject":"x","for":"1"}`, `{"subject":"x","for":"100000h"}`, `{"subject":"x","for":5}`,
			`{"subject":"x","for":"1h","until":"2100-01-01T00:00:00Z"}`, `{"subject":"x","until":"2001-01-01T00:00:00Z"}`, `{"subject":"x","until":"9999-01-01T00:00:00Z"}`,
			`{"subject":"x","until":"soon"}`, `{"subject":"x","reason":"two\nlines"}`, `{"subject":"x","reason":"` + strings.Repeat("x", 201) + `"}`,
			`{"subject":"x"}{"subject":"y"}`, `{"subject":"x"} x`, `{"subject":"x","id":"7"}`, `{"subject":"x"`, "{\"subject\":\"\xff\"}", `{"subject":"x","end":"no"}`,
		},
		"/api/v1/streams/kick": {
			`{}`, `{"stream":"x"}`, `{"stream":"live/*"}`, `{"stream":"live/a","who":"everybody"}`, `{"stream":"live/a","ban":"x"}`, `{"stream":"live/a","ban":60}`,
			`{"stream":"live/a","ban":"-1s"}`, `{"stream":"live/a","ban":"999999h"}`, `{"stream":"live/a","reason":"\u0000"}`, `{"stream":"../a/b"}`,
		},
		"/api/v1/streams/record": {`{}`, `{"stream":"live/a"}`, `{"stream":"live/a","action":"pause"}`, `{"stream":"","action":"start"}`, `{"stream":"a/..","action":"start"}`},
	} {
		for _, body := range bodies {
			w := r.do(request("POST", path, body, "Content-Type", "application/json"))
			assert.Equal(t, 400, w.Code, "%s %.80q: %s", path, body, w.Body)
			var said problem
			assert.NoError(t, json.Unmarshal(w.Body.Bytes(), &said))
			assert.Equal(t, "bad request", said.Error, body)
			assert.NotEmpty(t, said.Reason, body)
		}
		for _, kind := range []string{"", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonp", "application/json;;"} {
			assert.Equal(t, 415, r.do(request("POST", path, `{}`, "Content-Type", kind)).Code, kind)
		}
		assert.Equal(t, 413, r.do(request("POST", path, strings.Repeat(" ", maxBody+1))).Code, path)
	}
	assert.Empty(t, r.bans.All())
	assert.NotContains(t, r.log(), "msg=operator", "nothing was done")
	act[Banned](r, "POST", "/api/v1/bans", `{"subject":"x"}`+strings.Repeat(" ", maxBody-15), 201)
	assert.Equal(t, 201, r.do(request("POST", "/api/v1/bans", `{"subject":"x"}`, "Content-Type", "Application/JSON; charset=utf-8")).Code)
}

func TestRecordings(t *testing.T) {
	r := newRig(t, hub.Config{})
	r.publish("live/demo", from("192.0.2.7:1"))
	assert.Equal(t, Recording{"live/demo", "start", true}, act[Recording](r, "POST", "/api/v1/streams/record", `{"stream":"live/demo","action":"start"}`, 200))
	recorded := func() bool { return get[Streams](r, "/api/v1/streams?stream=live/demo").Streams[0].Recorded }
	assert.True(t, recorded())
	assert.Equal(t, Recording{"live/demo", "stop", true}, act[Recording](r, "POST", "/api/v1/streams/record", `{"stream":"live/demo","action":"stop"}`, 200))
	assert.False(t, recorded())
	assert.Equal(t, Recording{"live/demo", "start", true}, act[Recording](r, "POST", "/api/v1/streams/record", `{"stream":"live/demo","action":"start"}`, 200))
	assert.Equal(t, Recording{"a/b/c", "stop", false}, act[Recording](r, "POST", "/api/v1/streams/record", `{"stream":"a/b/c","action":"stop"}`, 200))
	assert.Equal(t, map[string]string{"live/demo": "start", "a/b/c": "stop"}, r.disk.recorded)
	r.disk.pinned = map[string]bool{"a/b/ü c/1": false}
	act[any](r, "POST", "/api/v1/recordings/a/b/%C3%BC%20c/1/pin", "", 204)
	assert.True(t, r.disk.pinned["a/b/ü c/1"])
	act[any](r, "POST", "/api/v1/recordings/a%2Fb/%C3%BC%20c/1/unpin", "", 204)
	assert.False(t, r.disk.pinned["a/b/ü c/1"])
	act[problem](r, "DELETE", "/api/v1/recordings/a/b/%C3%BC%20c/1", "{}", 400)
	act[any](r, "DELETE", "/api/v1/recordings/a/b/%C3%BC%20c/1", "", 204)
	assert.Empty(t, r.disk.pinned)
	for _, path := range []string{"..%2f..%2fetc/passwd/x", "live/demo/", "live/1", "live/demo/../../x/1"} {
		w := r.do(request("DELETE", "/api/v1/recordings/"+path, ""))
		assert.Contains(t, []int{400, 404}, w.Code, path)
	}
	r.disk.err = errDisk
	said := act[problem](r, "DELETE", "/api/v1/recordings/live/demo/1", "", 500)
	assert.NotContains(t, said.Reason, "path", "the log says more")
}

// Who joins and publishes while a stream is kicked again and again, and comes back each time,
// is at last gone and banned: nobody slips in between the ban and the end.
func TestKicksRaceWithJoins(t *testing.T) {
	var bans *banList
	r := newRig(t, hub.Config{
		PublisherGrace: -1, ViewerWait: time.Hour,
		Recheck:   func(s *hub.Session) error { return bans.check(s) },
		Authorize: func(_ context.Context, s *hub.Session) (hub.Grant, error) { return hub.Grant{}, bans.check(s) },
	})
	bans = r.bans
	var joined atomic.Int64
	var wg sync.WaitGroup
	for n := range 16 {
		wg.Go(func() {
			role := hub.Role(n % 2)
			for {
				s := r.hub.NewSession(role, key("live/a"), from(fmt.Sprintf("192.0.2.%d:1", n)))
				if s.AskAndWait(t.Context()) != nil {
					return // banned
				}
				if role == hub.RolePublish {
					ended := make(chan struct{})
					if p, err := r.hub.Publish(s, hub.PublishOptions{End: func(*hub.Refusal) { close(ended) }}); err == nil {
						joined.Add(1)
						select {
						case <-ended:
						case <-time.After(time.Minute):
							t.Errorf("%v goes on", s)
						}
						p.Close()
					}
					continue
				}
				v, err := r.hub.Watch(s, hub.WatchOptions{})
				if err != nil {
					continue
				}
				joined.Add(1)
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				v.Wait(ctx)
				cancel()
				v.Close()
			}
		})
	}
	require.Eventually(t, func() bool { return joined.Load() > 0 }, 10*time.Second, time.Millisecond)
	banned := func() int { // who is kicked while it asks again has a second ban
		addresses := map[netip.Addr]bool{}
		for _, b := range r.bans.All() {
			addresses[b.Address] = true
		}
		return len(addresses)
	}
	kicked := 0
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline) && banned() < 16; {
		kicked += act[Ended](r, "POST", "/api/v1/streams/kick", `{"stream":"live/a"}`, 200).Ended
	}
	assert.Equal(t, 16, banned(), "everybody, at last")
	wg.Wait() // so everybody has ended: kicked, or refused since the ban came first
	assert.Positive(t, kicked)
	assert.Empty(t, r.running())
}
