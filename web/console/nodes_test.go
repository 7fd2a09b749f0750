package console

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"sluice/hub/cluster"
	"sluice/web/admin"
)

// nodes are those of nobody.
type nodes struct{}

func (nodes) Nodes() []cluster.NodeInfo {
	now := time.Now()
	of := func(f cluster.NodeFigures) cluster.NodeFigures {
		f.Version = "1.2.3"
		return f
	}
	return []cluster.NodeInfo{
		{Name: "n1:6222", Boot: "0000000000000001", Self: true, Heard: now, Started: now.Add(-50 * time.Hour),
			NodeFigures: of(cluster.NodeFigures{Owned: 12, Copied: 3, Description: cluster.Description{Sessions: 20_312}})},
		{Name: "media-2.example.com:6222", Boot: "0000000000000002", Heard: now, Started: now.Add(-time.Hour), Clock: 31 * time.Millisecond,
			NodeFigures: of(cluster.NodeFigures{Owned: 1, Provisional: 1})},
		{Name: "n3:6222", Boot: "0000000000000003", Heard: now, Started: now.Add(-time.Hour), Draining: true, Clock: -2 * time.Second},
		{Name: "n4:6222", Boot: "0000000000000004", Heard: now.Add(-time.Minute), Started: now.Add(-time.Hour), Silent: true},
		{Name: "n5:6222", Silent: true},
	}
}

func (nodes) Health() cluster.Health {
	return cluster.Health{
		Connected: true, Leader: "media-2.example.com:6222", Voters: 3, Reachable: 1, Since: time.Now().Add(-time.Hour), Roundtrip: 1800 * time.Microsecond,
		Detail: "of three nodes that vote only one is there",
	}
}

func (nodes) Streams() []cluster.StreamInfo {
	return []cluster.StreamInfo{
		{Key: key("live/channel-001"), Owned: true, Node: "n1:6222", Epoch: 3},
		{Key: key("live/wanted"), Copy: &cluster.EdgeState{Since: time.Now().Add(-3 * time.Second)}},
	}
}

func (nodes) Order(_ context.Context, node string, _ []byte) ([]byte, error) {
	place := admin.Place{Node: node, State: "copying", From: "n1:6222", Epoch: 3, Viewers: 12_000, Breaks: 4, Joined: 3, Lost: 120}
	switch node {
	case "n4:6222", "n5:6222":
		return nil, cluster.ErrMute
	case "n3:6222":
		place.Viewers, place.State, place.Detail = 3, "looking", "<b>connection refused"
	}
	return json.Marshal(map[string]any{"status": 200, "body": map[string]admin.Place{"live/channel-001": place}})
}

// The nodes of a cluster have a page: which there are, the engine, and where each stream is. A server that is alone
// has none.
func TestNodes(t *testing.T) {
	axe := axe(t)
	r := newRig(t, nodes{})
	r.populate(1, 2)
	p := r.tab(t)
	p.Open(r.URL + Path)
	p.login("#/nodes")
	p.Until("document.querySelectorAll('[aria-label=Nodes] tbody tr').length === 5")
	p.Until("document.querySelectorAll('[aria-label=Streams] tbody tr').length === 4")
	p.Run(desktop)
	text := p.text("main")
	for _, want := range []string{
		"n1:6222 (this one)", "Running", "Draining", "Silent", "2.0 s behind", "Same", "Nothing can be written",
		"Of three nodes that vote only one is there.", "1 of 3 there", "Owner", "Copies", "Looks for it", "12,000",
		"Broke 4 times, went on with the next packet 3 times. 120 packets lost.", "<b>connection refused",
		"What is at n4:6222, n5:6222 is not known: no answer.",
	} {
		assert.Contains(t, text, want)
	}
	assert.Contains(t, p.text("#nav"), "Nodes")
	p.look(axe, "nodes")
	p.visit("#/nodes?search=none")
	p.visit("#/stream/live%2Fchannel-001")

	alone := newRig(t)
	q := alone.tab(t)
	q.Open(alone.URL + Path)
	q.login("#/nodes")
	q.Until("document.querySelector('main').innerText.includes('This server is alone')")
	assert.NotContains(t, q.text("#nav"), "Nodes")
}
