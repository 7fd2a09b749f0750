package hook

import (
	"context"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

// Clients come, leave, are granted, refused and end at any time, while the server is well, slow
// and down: nothing is left, and nothing disagrees.
func TestChaos(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			var rmu sync.Mutex
			draw := func(n int) int {
				rmu.Lock()
				defer rmu.Unlock()
				return r.IntN(n)
			}
			s := new(server)
			s.answer = func(*http.Request, string) (int, http.Header, string) {
				time.Sleep(time.Duration(draw(4000)) * time.Millisecond)
				return []int{200, 200, 200, 403, 500}[draw(5)], nil, []string{yes, yes, "", "<", `{"allow":true,"name":"x"}`}[draw(5)]
			}
			q, _ := ask(t, s, Config{Cache: time.Duration(seed%2) * 10 * time.Second, FailOpen: seed%3 == 0})
			h := hub.New(hub.Config{Authorize: q.Decide, PublisherGrace: time.Second, Observe: func(e hub.Event) {
				q.Skip(e)
				q.Knows(e)
				q.Observe(e)
			}})
			var all sync.WaitGroup
			for range 300 {
				all.Go(func() {
					time.Sleep(time.Duration(draw(30_000)) * time.Millisecond)
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(draw(8000))*time.Millisecond)
					defer cancel()
					role := []hub.Role{hub.RolePublish, hub.RoleWatch}[draw(2)]
					values := map[string][]string{"k": {strconv.Itoa(draw(3))}}
					session := h.NewSession(role, hub.Key{App: "live", Name: string(rune('a' + draw(3)))}, hub.Client{Query: values})
					if session.AskAndWait(ctx) != nil {
						return
					}
					if role == hub.RoleWatch || draw(2) == 0 {
						session.Refuse(context.Canceled)
						return
					}
					if p, err := h.Publish(session, hub.PublishOptions{End: func(*hub.Refusal) {}}); err == nil {
						time.Sleep(time.Duration(draw(8000)) * time.Millisecond)
						p.Close()
					}
				})
			}
			for range 5 {
				time.Sleep(time.Duration(draw(5000)) * time.Millisecond)
				s.down(draw(2) == 0)
			}
			all.Wait()
			require.NoError(t, h.Shutdown(t.Context()))
			time.Sleep(10 * time.Second) // what was given up has ended
			synctest.Wait()
			q.mu.Lock()
			defer q.mu.Unlock()
			assert.Empty(t, q.flights)
			assert.Empty(t, q.known.sessions, "each has ended")
			assert.Empty(t, q.known.asked.entries)
			for _, p := range q.known.publishers.entries {
				assert.NotZero(t, p.Value.(*entry[digest, publisher]).value.until, "its grace time has begun")
			}
			assert.LessOrEqual(t, s.most, maxConnections)
		})
	}
}

// BenchmarkQuestion asks a real server on loopback, and BenchmarkCached nobody.
func BenchmarkQuestion(b *testing.B) { benchmark(b, 0) }
func BenchmarkCached(b *testing.B)   { benchmark(b, time.Hour) }

func benchmark(b *testing.B, cache time.Duration) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	defer srv.Close()
	q, err := New(Config{URL: fixed(srv.URL), Cache: cache})
	require.NoError(b, err)
	defer q.Close()
	b.ReportAllocs()
	session := someone("live/a", "token=abcdefghijklmnop")
	for b.Loop() {
		if _, err := q.Decide(b.Context(), session); err != nil {
			b.Fatal(err)
		}
	}
}
