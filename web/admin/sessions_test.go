package admin

import (
	"cmp"
	"encoding/json"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub"
	"sluice/hub/why"
)

// ids are those of sessions.
func ids(sessions []Session) (ids []uint64) {
	for _, s := range sessions {
		ids = append(ids, s.ID)
	}
	return ids
}

// pages walks through the pages of a list of sessions.
func pages(t *testing.T, r *rig, query string) []Session {
	return all(t, r, "/api/v1/sessions?limit=3&"+query, func(page json.RawMessage) ([]Session, string) {
		var said Sessions
		require.NoError(t, json.Unmarshal(page, &said))
		return said.Sessions, said.Next
	})
}

// Sessions come in each order and the other way round, and those that are alike by id.
func TestSessionsAreSorted(t *testing.T) {
	r := newRig(t, hub.Config{})
	r.publish("live/demo", from("192.0.2.200:1"))
	addresses := []string{"192.0.2.9:1", "192.0.2.10:1", "[2001:db8::1]:1", "10.0.0.1:1", "192.0.2.9:2", "10.0.0.1:3", "10.0.0.1:4"}
	for n, address := range addresses {
		v := r.watch([]string{"live/b", "live/a", "other/z"}[n%3], from(address))
		v.Sent(1000 * (n % 4))
	}
	in := func(less func(a, b Session) int) []uint64 {
		list := pages(t, r, "")
		slices.SortStableFunc(list, less)
		return ids(list)
	}
	byAddress := func(a, b Session) int { // numerically
		return netip.MustParseAddr(a.Address).Compare(netip.MustParseAddr(b.Address))
	}
	for word, less := range map[string]func(a, b Session) int{
		"id":      func(a, b Session) int { return cmp.Compare(a.ID, b.ID) },
		"since":   func(a, b Session) int { return cmp.Compare(a.ID, b.ID) }, // the older ones have the smaller ids
		"bytes":   func(a, b Session) int { return cmp.Compare(a.Bytes, b.Bytes) },
		"dropped": func(a, b Session) int { return 0 },
		"lag":     func(a, b Session) int { return cmp.Compare(a.LagMS, b.LagMS) },
		"stream":  func(a, b Session) int { return cmp.Compare(a.Stream, b.Stream) },
		"address": byAddress,
		"subject": func(a, b Session) int { return 0 },
	} {
		assert.Equal(t, in(less), ids(pages(t, r, "sort="+word)), word)
		assert.Equal(t, in(func(a, b Session) int { return less(b, a) }), ids(pages(t, r, "sort=-"+word)), "-"+word)
	}
	assert.Equal(t, ids(pages(t, r, "")), ids(pages(t, r, "sort=")), "left out")
	said := get[Sessions](r, "/api/v1/sessions?sort=-bytes&cursor=1000")
	assert.Empty(t, said.Sessions, "beyond the end")
	assert.Empty(t, said.Next)
	assert.Equal(t, 8, said.Total)
}

func TestSessionsAreSearched(t *testing.T) {
	r := newRig(t, hub.Config{})
	a, b := from("192.0.2.7:1"), from("[2001:DB8::7]:1")
	a.Agent, b.Agent = "Mozilla/5.0 "+strings.Repeat("x", 200)+" hidden", "VLC/3.0"
	a.Query = url.Values{"token": {"hidden"}}
	r.watch("live/Straße", a)
	r.watch("other/demo", b)
	for search, want := range map[string]int{
		"": 2, "STRASSE": 0, "straße": 1, "LIVE/": 1, "vlc": 1, "2001:DB8": 1, "192.0.2": 1, ".7": 1, "e": 2, "hidden": 0, "nothing": 0, "*": 0,
		strings.Repeat("x", 100): 1, strings.Repeat("x", 200): 0,
	} {
		assert.Equal(t, want, get[Sessions](r, "/api/v1/sessions?search="+url.QueryEscape(search)).Total, search)
	}
	assert.Equal(t, 1, get[Sessions](r, "/api/v1/sessions?search=demo&stream=other/*&sort=-lag").Total)
}

func TestSessionsQueriesThatMakeNoSense(t *testing.T) {
	r := newRig(t, hub.Config{})
	for _, query := range []string{
		"sort=name", "sort=-", "sort=--lag", "sort=Lag", "sort=lag,id", "sort=lag&sort=id", "search=" + strings.Repeat("x", maxSearch+1),
		"sort=lag&cursor=x", "sort=lag&cursor=-1", "sort=lag&cursor=99999999999999999999", "search=a&search=b",
	} {
		w := r.do(request("GET", "/api/v1/sessions?"+query, ""))
		assert.Equal(t, 400, w.Code, query)
		assert.Contains(t, w.Body.String(), `"reason":"`)
	}
	for path, status := range map[string]int{
		"/api/v1/sessions/x": 400, "/api/v1/sessions/-1": 400, "/api/v1/sessions/99999999999999999999": 400,
		"/api/v1/sessions/0": 404, "/api/v1/sessions/999999": 404, "/api/v1/sessions/1?sort=id": 400,
	} {
		assert.Equal(t, status, r.do(request("GET", path, "")).Code, path)
	}
}

func TestOneSession(t *testing.T) {
	r := newRig(t, hub.Config{})
	r.publish("live/demo", from("192.0.2.7:1"))
	for n := range 10 {
		r.watch("live/later", from("192.0.2."+itoa(n)+":1"))
	}
	for _, s := range get[Sessions](r, "/api/v1/sessions").Sessions {
		one := get[Session](r, "/api/v1/sessions/"+formatID(s.ID))
		assert.Equal(t, s.ID, one.ID)
		assert.Equal(t, s.Address, one.Address)
		if s.Role == "publish" {
			assert.Nil(t, one.Why)
			continue
		}
		assert.Equal(t, string(why.WaitsPublisher), one.Why.Code)
		assert.NotNil(t, one.Why.Told)
		assert.NotNil(t, one.Why.Got)
	}
	w := r.do(request("GET", "/api/v1/sessions?role=publish", ""))
	assert.Contains(t, w.Body.String(), `"why":null`)
}

// Lags are those of all running viewers that fit, on whichever page they are.
func TestLags(t *testing.T) {
	lags := []int64{0, 499, 500, 999, 1000, 1999, 2000, 4999, 5000, 90_000}
	h := hub.New(hub.Config{})
	var infos []hub.SessionInfo
	for _, lag := range lags {
		for state := hub.SessionAsking; state <= hub.SessionRunning; state++ {
			infos = append(infos, hub.SessionInfo{
				Session: h.NewSession(hub.RoleWatch, key("live/x"), hub.Client{}), State: state, Lag: time.Duration(lag) * time.Millisecond,
			})
		}
	}
	infos = append(infos, hub.SessionInfo{Session: h.NewSession(hub.RolePublish, key("live/x"), hub.Client{}), State: hub.SessionRunning})
	b, err := json.Marshal(lagsOf(infos))
	require.NoError(t, err)
	assert.JSONEq(t, `[{"below_ms":500,"viewers":2},{"below_ms":1000,"viewers":2},{"below_ms":2000,"viewers":2},{"below_ms":5000,"viewers":2},
		{"below_ms":null,"viewers":2}]`, string(b))
	said := get[Sessions](newRig(t, hub.Config{}), "/api/v1/sessions")
	assert.Len(t, said.Lags, 5, "also of nobody")
}

// The document names every code that there is.
func TestDocumentHasEveryCode(t *testing.T) {
	doc, _ := loadDocument(t)
	var told []string
	for _, code := range doc.Components.Schemas["Why"].Value.Properties["code"].Value.Enum {
		told = append(told, code.(string))
	}
	var codes []string
	for _, code := range why.Codes() {
		codes = append(codes, string(code))
	}
	assert.Equal(t, codes, told)
}

// The document names every order that there is.
func TestDocumentHasEveryOrder(t *testing.T) {
	doc, _ := loadDocument(t)
	named := func(path string) (words []string) {
		for _, p := range doc.Paths.Value(path).Get.Parameters {
			if p.Value.Name == "sort" {
				for _, word := range p.Value.Schema.Value.Enum {
					words = append(words, word.(string))
				}
			}
		}
		return words
	}
	both := func(words []string) (all []string) {
		for _, word := range words {
			all = append(all, word, "-"+word)
		}
		return all
	}
	assert.ElementsMatch(t, both(slices.Collect(maps.Keys(sessionOrders))), named("/api/v1/sessions"))
	assert.ElementsMatch(t, both(slices.Collect(maps.Keys(new(api).streamOrders()))), named("/api/v1/streams"))
}

// A page of 100 out of 20,000 sessions, half of them of one stream.
func BenchmarkPageOfSessions(b *testing.B) {
	r := newRig(b, hub.Config{})
	p := r.publish("live/demo", from("192.0.2.7:1"))
	require.NoError(b, p.Write(flv.Tag{Type: flv.TypeVideo, Data: []byte{0x17, 1, 0, 0, 0, 0, 0, 0, 1, 0x65}}))
	for n := range 20_000 {
		stream := "live/demo"
		if n%2 == 1 {
			stream = "live/s" + itoa(n%1000)
		}
		c := from("10.0." + itoa(n/250%250) + "." + itoa(n%250) + ":1")
		c.Agent = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
		v := r.watch(stream, c)
		v.TryStart()
	}
	for _, query := range []string{
		"", "sort=-lag", "sort=-bytes", "sort=stream", "sort=address", "sort=subject", "search=nobody", "search=firefox&sort=-since",
		"stream=live/*&sort=-lag", "limit=1000",
	} {
		b.Run(query, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				w := r.do(request("GET", "/api/v1/sessions?"+query, ""))
				if w.Code != 200 {
					b.Fatal(w.Body)
				}
			}
		})
	}
}
