package event

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sluice/hub"
)

// What was left out just before the end is told.
func TestLeftOutAtTheEnd(t *testing.T) {
	h := hub.New(hub.Config{})
	for range 200 {
		p := new(endpoint)
		n, _ := begin(t, p, nil)
		for range 3 {
			n.Observe(hub.Event{
				Kind: hub.EventRefused, Time: time.Now(), Reason: hub.ReasonDenied,
				Session: h.NewSession(hub.RoleWatch, hub.Key{App: "live", Name: "a"}, client("http-flv")),
			})
		}
		end(n, time.Minute)
		told := 0
		for _, e := range p.took() {
			told += int(e.LeftOut)
			if e.Session != nil {
				told++
			}
		}
		require.Equal(t, 3, told)
		require.Zero(t, n.Totals().Webhook.Dropped)
	}
}
