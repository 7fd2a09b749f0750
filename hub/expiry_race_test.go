package hub

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// No session that has ended is kept until its permission would have: its timer is stopped, however
// soon after its beginning it ended.
func TestExpiryOfSessionsThatEndAtOnce(t *testing.T) {
	until := time.Now().Add(time.Hour)
	h := New(Config{ExpireSessions: true, Authorize: func(context.Context, *Session) (Grant, error) {
		return Grant{Identity: "one", Until: until}, nil
	}})
	var mu sync.Mutex
	var all []*Session
	var clients sync.WaitGroup
	for range 8 { // each takes the stream over from the others
		clients.Go(func() {
			for range 2000 {
				s := h.NewSession(RolePublish, Key{App: "live", Name: "a"}, Client{})
				mu.Lock()
				all = append(all, s)
				mu.Unlock()
				if assert.NoError(t, s.AskAndWait(t.Context())) {
					h.Publish(s, PublishOptions{})
				}
			}
		})
	}
	clients.Wait()
	assert.NoError(t, h.Shutdown(t.Context()))
	left := 0
	for _, s := range all {
		if timer := s.expiry.Load(); timer != nil && timer.Stop() {
			left++
		}
	}
	assert.Zero(t, left)
}
