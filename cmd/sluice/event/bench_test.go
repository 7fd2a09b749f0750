package event

import (
	"testing"
	"time"

	"sluice/hub"
)

// What it costs the hub's observer to tell of a viewer, with an endpoint that is down and a queue
// that is full.
func BenchmarkObserve(b *testing.B) {
	p := new(endpoint)
	p.set(down)
	log, _ := logger()
	n, err := New(Config{Logger: log, Webhook: &Webhook{URL: fixed("http://h"), Transport: p}})
	if err != nil {
		b.Fatal(err)
	}
	defer end(n, 0)
	s := session(b, hub.RoleWatch, "live/a")
	b.ReportAllocs()
	for b.Loop() {
		n.Observe(hub.Event{Kind: hub.EventJoined, Time: time.Now(), Key: s.Key(), Session: s})
	}
}
