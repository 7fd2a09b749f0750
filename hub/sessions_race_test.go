package hub

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// Sessions may be listed while those that ask are answered and begin.
func TestSessionsBeginWhileListed(t *testing.T) {
	h := New(Config{Authorize: func(context.Context, *Session) (Grant, error) { return Grant{}, nil }})
	made := time.Now()
	var listing, clients sync.WaitGroup
	over := make(chan struct{})
	listing.Go(func() {
		for {
			for _, info := range h.Sessions() {
				assert.False(t, info.Since.Before(made))
			}
			select {
			case <-over:
				return
			default:
			}
		}
	})
	for i := range 8 {
		key := Key{App: "live", Name: string(rune('a' + i))}
		clients.Go(func() {
			for range 50 {
				s := h.NewSession(RolePublish, key, Client{})
				if !assert.NoError(t, s.AskAndWait(t.Context())) {
					return
				}
				if p, err := h.Publish(s, PublishOptions{}); assert.NoError(t, err) {
					p.Close()
				}
			}
		})
	}
	clients.Wait()
	close(over)
	listing.Wait()
	assert.NoError(t, h.Shutdown(t.Context()))
}
