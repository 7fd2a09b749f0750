package event

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRing(t *testing.T) {
	r := newRing()
	events, next, missed := r.Since(0, 0)
	assert.Empty(t, events)
	assert.Zero(t, next+missed)
	for i := range 2500 {
		r.add(Event{ID: fmt.Sprint(i), Type: TypeTracks})
	}
	for _, c := range []struct {
		seq          uint64
		max          int
		first        uint64 // number of the first one; 0 for none
		n            int
		next, missed uint64
	}{
		{0, 0, 1501, 1000, 2500, 1500},
		{0, 10, 1501, 10, 1510, 1500},
		{1499, 1, 1501, 1, 1501, 1},
		{1500, 1, 1501, 1, 1501, 0},
		{2499, 5, 2500, 1, 2500, 0},
		{2500, 5, 0, 0, 2500, 0},
		{1 << 60, 2, 1501, 2, 1502, 0}, // of another start
	} {
		events, next, missed := r.Since(c.seq, c.max)
		require.Len(t, events, c.n, "%v", c)
		assert.Equal(t, [2]uint64{c.next, c.missed}, [2]uint64{next, missed}, "%v", c)
		if c.n > 0 {
			assert.Contains(t, string(events[0]), fmt.Sprintf(`"id":"%d","seq":%d,`, c.first-1, c.first))
		}
	}
}

func TestRingWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRing()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, r.Wait(ctx, 0), context.DeadlineExceeded)
		time.AfterFunc(time.Second, func() { r.add(Event{Type: TypeUpdate}) })
		time.AfterFunc(time.Minute, func() { r.add(Event{Type: TypeTracks}) })
		began := time.Now()
		require.NoError(t, r.Wait(t.Context(), 0))
		assert.Equal(t, time.Minute, time.Since(began))
		require.NoError(t, r.Wait(t.Context(), 0))
		require.NoError(t, r.Wait(t.Context(), 77))
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, r.Wait(ctx, 1), context.DeadlineExceeded)
		time.AfterFunc(time.Minute, r.End)
		require.ErrorIs(t, r.Wait(t.Context(), 1), errEnding)
		r.End()
		require.ErrorIs(t, r.Wait(t.Context(), 1), errEnding)
		require.NoError(t, r.Wait(t.Context(), 0), "what there is can be had")
	})
}
