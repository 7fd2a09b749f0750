package hook

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

// After five failures in a row the server is left alone for five seconds; then one question tries
// it.
func TestBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{answer: says(500, "")}
		c := client(t, s)
		fail := func() error { _, _, err := post(c, t.Context()); return err }
		for range breakerFailures {
			require.NotErrorIs(t, fail(), ErrLeftAlone)
		}
		questions := func() int { n, _ := s.asked(); return n }
		require.Equal(t, 5, questions())
		for range 100 {
			_, took, err := post(c, t.Context())
			require.ErrorIs(t, err, ErrLeftAlone)
			require.ErrorIs(t, err, ErrUnanswered)
			require.Zero(t, took)
		}
		time.Sleep(breakerPause - time.Nanosecond)
		require.ErrorIs(t, fail(), ErrLeftAlone)
		time.Sleep(time.Nanosecond)
		require.NotErrorIs(t, fail(), ErrLeftAlone, "half-open")
		require.ErrorIs(t, fail(), ErrLeftAlone, "open again")
		require.Equal(t, 6, questions())

		// A probe that hangs keeps others out; one that is given up decides nothing.
		time.Sleep(breakerPause)
		s.answer = func(*http.Request, string) (int, http.Header, string) { time.Sleep(time.Second); return 200, nil, "" }
		ctx, cancel := context.WithCancel(t.Context())
		var probe sync.WaitGroup
		probe.Go(func() {
			_, _, err := post(c, ctx)
			assert.ErrorIs(t, err, context.Canceled)
		})
		synctest.Wait()
		require.ErrorIs(t, fail(), ErrLeftAlone)
		cancel()
		probe.Wait()
		require.NoError(t, fail(), "the next one tries it")
		require.NoError(t, fail())

		// Failures count in a row only, and what makes no sense is one.
		for range 20 {
			for range breakerFailures - 1 {
				require.Error(t, c.Ask(t.Context(), hub.RoleWatch, "", func() []byte { return nil }, func(Answer) error { return errGarbled }))
			}
			require.NoError(t, fail())
		}
		s.running.Wait()
	})
}

// Many fail at a time: those that were under way when it opened do not keep it open.
func TestBreakerFailuresTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{serve: func(c net.Conn) { io.Copy(io.Discard, c) }}
		c := client(t, s)
		began := time.Now()
		var all sync.WaitGroup
		for range 1000 {
			all.Go(func() {
				_, _, err := post(c, t.Context())
				assert.ErrorIs(t, err, ErrUnanswered)
			})
		}
		all.Wait()
		// Those that wait for their turn fail as soon as it opens, but for the few whose turn
		// came before.
		assert.LessOrEqual(t, time.Since(began), 2*defaultTimeout)
		_, dials := s.asked()
		assert.Less(t, dials, maxConnections+breakerFailures)
		time.Sleep(breakerPause)
		assert.NoError(t, c.breaker.check(time.Now()))
		s.running.Wait()
	})
}
