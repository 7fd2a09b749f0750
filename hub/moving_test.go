package hub_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

// Viewers who wait move to another stream of their key each time that a publisher leaves
// before its first key frame. Whoever looks at the sessions meanwhile sees all of them, once,
// and whoever ends them ends all.
func TestNobodyIsMissedWhileViewersMove(t *testing.T) {
	const viewers = 50
	h := newHub(t, hub.Config{
		PublisherGrace: -1, ViewerWait: time.Hour,
		Authorize: func(context.Context, *hub.Session) (hub.Grant, error) { return hub.Grant{}, nil },
	})
	var waiting sync.WaitGroup
	for range viewers {
		s := viewer(h, key)
		require.NoError(t, s.AskAndWait(t.Context()))
		v, err := h.Watch(s, hub.WatchOptions{})
		require.NoError(t, err)
		waiting.Go(func() {
			assert.Equal(t, hub.ReasonKicked, reasonOf(t, v.Wait(t.Context())))
			v.End(kicked)
		})
	}
	stop := make(chan struct{})
	var publishing sync.WaitGroup
	publishing.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			s := publisher(h, key)
			if s.AskAndWait(t.Context()) != nil {
				continue
			}
			p, err := h.Publish(s, hub.PublishOptions{})
			if assert.NoError(t, err) {
				p.Close()
			}
		}
	})
	watches := func(s *hub.Session) bool { return s.Role() == hub.RoleWatch }
	for range 2000 {
		seen := 0
		for _, info := range h.Sessions() {
			if watches(info.Session) {
				seen++
			}
		}
		require.Equal(t, viewers, seen)
		asked := map[*hub.Session]int{}
		h.Dismiss(func(s *hub.Session) bool {
			if watches(s) {
				asked[s]++
			}
			return false
		}, kicked)
		require.Len(t, asked, viewers)
		for _, times := range asked {
			require.Equal(t, 1, times)
		}
	}
	assert.Equal(t, viewers, h.Dismiss(watches, kicked))
	waiting.Wait()
	close(stop)
	publishing.Wait()
}

// Who looks at the sessions while they are granted and begin reads nothing that changes.
func TestSessionsWhileTheyBegin(t *testing.T) {
	h := newHub(t, hub.Config{Authorize: func(context.Context, *hub.Session) (hub.Grant, error) { return hub.Grant{}, nil }})
	stop := make(chan struct{})
	var looking sync.WaitGroup
	looking.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				h.Sessions()
			}
		}
	})
	for range 2000 {
		s := publisher(h, key)
		require.NoError(t, s.AskAndWait(t.Context()))
		p, err := h.Publish(s, hub.PublishOptions{})
		require.NoError(t, err)
		p.Close()
	}
	close(stop)
	looking.Wait()
}
