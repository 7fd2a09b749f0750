package admin

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

// Whatever is sent, the answer is one of those that there are, in JSON, and what is done is
// within bounds.
func FuzzBody(f *testing.F) {
	for n, body := range []string{
		`{"address":"192.0.2.1","for":"1h"}`, `{"network":"::/0","until":"2100-01-01T00:00:00Z"}`, `{"stream":"live/**","subject":"x","end":false}`,
		`{"stream":"live/a","who":"all","ban":"60s","reason":"x"}`, `{"stream":"live/a","action":"start"}`, `{"kind":"push","pattern":"live/*","url":"rtmp://h/a/b"}`, "{\"stream\":\"\xff/\xff\"}", `[[[[`, ``,
	} {
		f.Add(uint8(n), []byte(body))
	}
	paths := []string{"POST /api/v1/bans", "POST /api/v1/streams/kick", "POST /api/v1/streams/record", "DELETE /api/v1/sessions/1", "POST /api/v1/relays"}
	f.Fuzz(func(t *testing.T, n uint8, body []byte) {
		r := newRig(t, hub.Config{})
		method, path, _ := strings.Cut(paths[int(n)%len(paths)], " ")
		q := request(method, path, string(body))
		q.Header.Set("Content-Type", "application/json")
		w := r.do(q)
		assert.Contains(t, []int{200, 201, 400, 404, 409, 413, 415}, w.Code)
		var said map[string]any
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &said))
		assert.Less(t, w.Body.Len(), 8<<10)
		for _, b := range r.bans.All() {
			assert.True(t, b.Address.IsValid() || b.Network.IsValid() || b.Stream != "" || b.Subject != "", "a ban of everybody: %s", body)
			assert.True(t, b.Until.IsZero() || b.Until.After(time.Now()), "%s", body)
		}
		assert.NotContains(t, w.Body.String()+r.log(), token)
	})
}

// The same for what stands in a query.
func FuzzQuery(f *testing.F) {
	f.Add("limit=1&cursor=eA", "sessions")
	f.Add("stream=live/**&address=::1&role=watch", "bans")
	f.Add("sort=-lag&search=%00x&cursor=18446744073709551615", "sessions")
	f.Add("sort=address&search=%C3&limit=1", "sessions")
	f.Add("after=18446744073709551615&wait=1ms", "events")
	f.Add("cursor=bGl2ZS9h", "streams")
	f.Fuzz(func(t *testing.T, query, list string) {
		r := newRig(t, hub.Config{})
		r.bans.Add(Ban{Address: netip.MustParseAddr("192.0.2.1"), Stream: "live/*"})
		r.watch("live/a", from("192.0.2.1:1"))
		q := request("GET", "/api/v1/streams", "")
		for _, known := range []string{"sessions", "bans", "streams", "recordings", "relays"} { // events may wait
			if list == known {
				q = request("GET", "/api/v1/"+known, "")
			}
		}
		q.URL.RawQuery = query
		w := r.do(q)
		assert.Contains(t, []int{200, 400}, w.Code)
		assert.True(t, json.Valid(w.Body.Bytes()))
	})
}

// BenchmarkSessions asks for the last page of the sessions of a server with 20,000.
func BenchmarkSessions(b *testing.B) {
	for _, query := range []string{"?limit=100", "?limit=1000", "?stream=live/**&network=10.0.0.0/8&limit=100", "?subject=nobody"} {
		b.Run(query, func(b *testing.B) {
			r := newRig(b, hub.Config{})
			for n := range 20_000 {
				r.watch(fmt.Sprintf("live/a/%d", n%20), from(fmt.Sprintf("10.0.%d.%d:1", n/256, n%256)))
			}
			b.ReportAllocs()
			for b.Loop() {
				w := httptest.NewRecorder()
				r.handler.ServeHTTP(w, request("GET", "/api/v1/sessions"+query, ""))
				require.Equal(b, 200, w.Code)
			}
		})
	}
}
