package event

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

func TestWebhook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := new(endpoint)
		n, lines := begin(t, p, nil)
		s := session(t, hub.RolePublish, "live/a")
		n.Started()
		n.Observe(hub.Event{Kind: hub.EventPublished, Time: time.Now(), Key: s.Key(), Session: s})
		n.Observe(hub.Event{
			Kind: hub.EventUnpublished, Time: time.Now(), Key: s.Key(), Session: s, Reason: hub.ReasonClientLeft,
			Duration: 1500 * time.Millisecond, Bytes: 7,
		})
		end(n, time.Second)
		taken := p.took()
		require.Len(t, taken, 3)
		assert.ElementsMatch(t, []string{"server.started", "publish live/a", "unpublish live/a"}, types(taken))
		for _, body := range p.bodies {
			assert.NotContains(t, body, "secret")
			assert.NotContains(t, body, "pass")
			t.Log(body)
		}
		assert.NotContains(t, lines.String(), "secret")
		assert.Equal(t, QueueTotals{Sent: 3}, n.Totals().Webhook)
	})
}
