package hook

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
	"sluice/hub/access"
)

const yes = `{"allow":true}`

// slow answers after a while.
func slow(d time.Duration, status int, text string) func(*http.Request, string) (int, http.Header, string) {
	return func(*http.Request, string) (int, http.Header, string) {
		time.Sleep(d)
		return status, nil, text
	}
}

func TestIdenticalQuestionsFlyOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{answer: slow(time.Second, 200, yes)}
		q, _ := ask(t, s, Config{})
		alike := func(port int) *hub.Session { return someone("live/a", "k=1&l=2", from("192.0.2.1", port)) }
		var all sync.WaitGroup
		decide := func(s *hub.Session) {
			all.Go(func() {
				_, err := q.Decide(t.Context(), s)
				assert.NoError(t, err)
			})
		}
		for i := range 100 {
			decide(alike(i + 1))
		}
		synctest.Wait()
		n, _ := s.asked()
		assert.Equal(t, 1, n)
		for _, other := range []*hub.Session{
			someone("live/a", "k=1&l=3"), someone("live/a", "k=2&l=1"), someone("live/b", "k=1&l=2"), someone("+live/a", "k=1&l=2"),
			someone("live/a", "k=1&l=2", from("192.0.2.2", 1)), someone("live/a", "k=1&l=2", func(c *hub.Client) { c.Agent = "other" }),
			someone("live/a", "k=1&l=2", func(c *hub.Client) { c.Recording = "x" }), someone("live/a", "k=1&k=2&l=2"), someone("live/a", ""),
		} {
			decide(other)
		}
		synctest.Wait()
		n, _ = s.asked()
		assert.Equal(t, 10, n)
		all.Wait()
		decide(alike(1))
		all.Wait()
		n, _ = s.asked()
		assert.Equal(t, 11, n, "nothing is kept")
		assert.Empty(t, q.flights)
	})
}

// Who leaves takes the answer from nobody else; the last one gives it up.
func TestWaitersLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(server)
		closed := make(chan struct{})
		s.serve = func(c net.Conn) {
			takeRequest(c)
			c.Read(make([]byte, 1)) // until the client gives it up
			close(closed)
		}
		q, log := ask(t, s, Config{Timeout: time.Hour})
		var cancels []context.CancelFunc
		var all sync.WaitGroup
		for range 3 {
			ctx, cancel := context.WithCancel(t.Context())
			cancels = append(cancels, cancel)
			all.Go(func() {
				_, err := q.Decide(ctx, someone("live/a", ""))
				assert.ErrorIs(t, err, context.Canceled)
			})
			synctest.Wait()
		}
		cancels[0]() // the one who asked first
		cancels[1]()
		synctest.Wait()
		select {
		case <-closed:
			t.Error("it was given up")
		default:
		}
		cancels[2]()
		all.Wait()
		<-closed
		_, dials := s.asked()
		assert.Equal(t, 1, dials)
		assert.Empty(t, log.String(), "that is no failure")
	})
}

func TestCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(server)
		q, _ := ask(t, s, Config{Cache: time.Minute})
		questions := func(want int) {
			t.Helper()
			n, _ := s.asked()
			assert.Equal(t, want, n)
		}
		decide := func(query string) error {
			_, err := q.Decide(t.Context(), someone("live/a", query))
			return err
		}
		s.answer = says(200, yes)
		for range 5 {
			require.NoError(t, decide("a=1"))
		}
		questions(1)
		s.answer = says(403, "")
		require.Error(t, decide("a=2"))
		require.Error(t, decide("a=2"))
		questions(3)
		require.NoError(t, decide("a=1"))
		time.Sleep(time.Minute)
		require.Error(t, decide("a=1"))
		questions(4)

		// A permission that ends sooner is asked for again.
		until := time.Now().Add(10 * time.Second)
		s.answer = says(200, fmt.Sprintf(`{"allow":true,"until":%d}`, until.Unix()))
		for range 2 {
			g, err := q.Decide(t.Context(), someone("live/a", "a=3"))
			require.NoError(t, err)
			assert.True(t, until.Equal(g.Until))
		}
		questions(5)
		time.Sleep(10 * time.Second)
		require.ErrorIs(t, decide("a=3"), access.ErrExpired)
		questions(6)
	})
}

// What is known is bounded.
func TestKnownIsBounded(t *testing.T) {
	k := newKnown()
	for i := range uint64(3 * maxPublishers) {
		who := digestOf(fmt.Sprint(i))
		k.keep(who, verdict{allow: true}, now, time.Hour)
		k.granted(who, i, verdict{allow: true})
		k.asked.put(i, hub.Key{})
	}
	assert.Len(t, k.answers.entries, maxCached)
	assert.Equal(t, maxCached, k.answers.order.Len())
	assert.Len(t, k.publishers.entries, maxPublishers)
	assert.Len(t, k.sessions, maxPublishers)
	assert.Len(t, k.asked.entries, maxAsked)
	for i := range uint64(3 * maxPublishers) {
		k.ended(i, now)
		k.returning(digestOf(fmt.Sprint(i)), now, now)
		k.answer(digestOf(fmt.Sprint(i)), now.Add(time.Hour))
	}
	assert.Empty(t, k.answers.entries)
	assert.Empty(t, k.publishers.entries)
	assert.Empty(t, k.sessions)
	assert.Empty(t, k.asked.entries)
}

// A server that is down, slow or garbled refuses everybody, or nobody, as configured.
func TestFailures(t *testing.T) {
	for name, answer := range map[string]func(*http.Request, string) (int, http.Header, string){
		"500": says(500, yes), "garbled": says(200, "<html>"), "slow": slow(time.Hour, 200, yes),
	} {
		for _, open := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				s := &server{answer: answer}
				q, log := ask(t, s, Config{FailOpen: open})
				for range 10 {
					for _, who := range []*hub.Session{someone("live/a", "k=s3cretk"), someone("+live/a", "k=s3cretk")} {
						g, err := q.Decide(t.Context(), who)
						if open {
							require.NoError(t, err, name)
							assert.Empty(t, g.Subject)
							assert.Empty(t, g.Key)
							continue
						}
						var refusal *hub.Refusal
						require.ErrorAs(t, err, &refusal, name)
						assert.Equal(t, &hub.Refusal{Reason: hub.ReasonDenied, Detail: "permission could not be asked for"}, refusal)
						assert.NotErrorIs(t, err, access.ErrWrong)
					}
				}
				n, _ := s.asked()
				assert.Equal(t, breakerFailures, n)
				synctest.Wait()
				assert.Equal(t, 1, strings.Count(log.String(), "does not answer"), "one line: %s", log)
				time.Sleep(breakerPause)
				s.mu.Lock()
				s.answer = says(200, yes)
				s.mu.Unlock()
				_, err := q.Decide(t.Context(), someone("live/a", "k=s3cretk"))
				require.NoError(t, err)
				synctest.Wait() // the line follows the answer
				assert.Equal(t, 1, strings.Count(log.String(), "answers again"))
				assert.NotContains(t, log.String(), "s3cret")
				time.Sleep(2 * time.Hour) // the slow one ends
			})
		}
	}
}

// A publisher that was granted comes back while the server is down: as long as it publishes, and
// for the grace time after its end. Others don't, and nobody does that was refused since.
func TestPublisherComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{answer: says(200, `{"allow":true,"identity":"ann","subject":"Ann","name":"show"}`)}
		q, _ := ask(t, s, Config{Grace: 8 * time.Second})
		first := someone("+live/a", "k=1")
		granted, err := q.Decide(t.Context(), first)
		require.NoError(t, err)
		s.down(true)
		time.Sleep(time.Hour)
		comes := func(stream, query string, change ...func(*hub.Client)) (*hub.Session, error) {
			back := someone(stream, query, change...)
			g, err := q.Decide(t.Context(), back)
			if err == nil {
				assert.Equal(t, granted, g)
			}
			return back, err
		}
		second, err := comes("+live/a", "k=1", from("192.0.2.1", 999))
		require.NoError(t, err, "it still publishes, as far as we know")
		for _, other := range []func() (*hub.Session, error){
			func() (*hub.Session, error) { return comes("+live/a", "k=2") },
			func() (*hub.Session, error) { return comes("+live/b", "k=1") },
			func() (*hub.Session, error) { return comes("live/a", "k=1") },
			func() (*hub.Session, error) { return comes("+live/a", "k=1", from("192.0.2.2", 1234)) },
		} {
			_, err := other()
			assert.Error(t, err)
		}
		q.Ended(first) // the one that it took over from
		time.Sleep(time.Hour)
		third, err := comes("+live/a", "k=1")
		require.NoError(t, err)
		q.Ended(second)
		q.Observe(hub.Event{Kind: hub.EventUnpublished, Session: third})
		time.Sleep(8*time.Second - 1)
		fourth, err := comes("+live/a", "k=1")
		require.NoError(t, err, "in its grace time")
		q.Observe(hub.Event{Kind: hub.EventRefused, Session: fourth})
		time.Sleep(8 * time.Second)
		_, err = comes("+live/a", "k=1")
		require.Error(t, err, "after it")
		assert.Empty(t, q.known.publishers.entries)

		s.down(false)
		time.Sleep(breakerPause)
		_, err = comes("+live/a", "k=1")
		require.NoError(t, err)
		s.answer = says(403, "")
		_, err = comes("+live/a", "k=1")
		require.ErrorIs(t, err, access.ErrWrong)
		s.down(true)
		_, err = comes("+live/a", "k=1")
		require.Error(t, err, "it was refused since")
	})
}

// A permission that has ended is none, whoever comes back.
func TestNobodyComesBackAfterUntil(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{answer: says(200, fmt.Sprintf(`{"allow":true,"until":%d}`, time.Now().Add(time.Minute).Unix()))}
		q, _ := ask(t, s, Config{})
		_, err := q.Decide(t.Context(), someone("+live/a", "k=1"))
		require.NoError(t, err)
		s.down(true)
		time.Sleep(30 * time.Second)
		_, err = q.Decide(t.Context(), someone("+live/a", "k=1"))
		require.NoError(t, err)
		time.Sleep(30 * time.Second)
		_, err = q.Decide(t.Context(), someone("+live/a", "k=1"))
		require.Error(t, err)
	})
}

// Of one who has left before the answer nothing is kept: its end has been told already.
func TestLeftBeforeTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{answer: slow(time.Second, 200, yes)}
		q, _ := ask(t, s, Config{})
		h := hub.New(hub.Config{Authorize: q.Decide, Observe: q.Observe})
		session := h.NewSession(hub.RolePublish, hub.Key{App: "live", Name: "a"}, hub.Client{})
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel) // at the same time
		session.AskAndWait(ctx)
		session.Refuse(context.Canceled)
		synctest.Wait()
		q.mu.Lock()
		for _, p := range q.known.publishers.entries {
			assert.NotZero(t, p.Value.(*entry[digest, publisher]).value.until)
		}
		assert.Empty(t, q.known.sessions)
		assert.Empty(t, q.known.asked.entries)
		q.mu.Unlock()
		cancel()
		require.NoError(t, h.Shutdown(t.Context()))
	})
}

// Nothing is under way when Close returns, and who still waits is told.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{answer: slow(time.Second, 200, yes)}
		q, log := ask(t, s, Config{FailOpen: true})
		var all sync.WaitGroup
		for i := range 100 {
			all.Go(func() {
				_, err := q.Decide(t.Context(), someone("live/a", fmt.Sprint("k=", i)))
				assert.ErrorIs(t, err, errClosed)
			})
		}
		synctest.Wait()
		q.Close()
		all.Wait()
		_, err := q.Decide(t.Context(), someone("live/a", ""))
		assert.ErrorIs(t, err, errClosed)
		assert.Empty(t, log.String())
		time.Sleep(time.Second)
	})
}

// A crowd of viewers about whom a slow server is asked keeps no publisher waiting, nor the other way
// round; who leaves the queue takes no place with it.
func TestPublishersAndViewersGetConnectionsByTurns(t *testing.T) {
	for crowd, other := range map[string]string{"live/a": "+live/b", "+live/a": "live/b"} {
		synctest.Test(t, func(t *testing.T) {
			q, _ := ask(t, &server{answer: slow(time.Second, 200, yes)}, Config{})
			ctx, leave := context.WithTimeout(t.Context(), 1500*time.Millisecond)
			defer leave()
			var all sync.WaitGroup
			for i := range 20 * maxConnections {
				ctx := ctx
				if i%2 == 0 {
					ctx = t.Context()
				}
				all.Go(func() { q.Decide(ctx, someone(crowd, fmt.Sprint("n=", i))) })
			}
			synctest.Wait()
			began := time.Now()
			_, err := q.Decide(t.Context(), someone(other, ""))
			require.NoError(t, err)
			assert.Equal(t, 2*time.Second, time.Since(began))
			all.Wait()
			assert.Less(t, time.Since(began), 13*time.Second)
			assert.Equal(t, maxConnections, q.client.slots.free)
		})
	}
}
