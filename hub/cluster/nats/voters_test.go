package nats

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"sluice/hub/cluster"
)

// open starts a cluster of nodes, which are usable.
func open(t *testing.T, n int) (all []*Directory) {
	t.Helper()
	nodes := addresses(t, n)
	for _, node := range nodes {
		all = append(all, start(t, Config{Nodes: nodes, Node: node, Secret: "together"}))
	}
	usable(t, all...)
	return all
}

// The fourth node does not vote; all that can be done elsewhere can be done there.
func TestFourNodes(t *testing.T) {
	all := open(t, 4)
	assert.False(t, all[3].engine.srv.JetStreamEnabled())
	for _, d := range all {
		h := d.Health()
		assert.Equal(t, 3, h.Voters)
		assert.Equal(t, 3, h.Reachable)
		assert.Contains(t, all[0].cfg.Nodes[:3], h.Leader)
	}
	records(t, all[3], all[0])
	records(t, all[0], all[3])
	messages(t, all...)
}

// Nodes with other voters in their lists do not connect, and say why: the voters of both would be one engine. A list with
// more nodes, of which the same vote, is no other one.
func TestOtherVoters(t *testing.T) {
	t.Parallel()
	nodes := addresses(t, 3)
	a := start(t, Config{Nodes: nodes[:2], Node: nodes[0], Secret: "together"})
	b := start(t, Config{Nodes: []string{nodes[1], nodes[0]}, Node: nodes[1], Secret: "together"})
	for _, d := range []*Directory{a, b} {
		until(t, "the reason", func() bool { return strings.Contains(d.Health().Detail, "the list of nodes is another one there") })
		assert.False(t, d.Health().Connected)
	}

	four := append(addresses(t, 3), nodes[2])
	var all []*Directory
	for i, node := range four {
		all = append(all, start(t, Config{Nodes: four[:max(3, i+1)], Node: node, Secret: "together"}))
	}
	usable(t, all...)
	messages(t, all...)
}

// Of five nodes all vote, and two may be killed, that one included that decides. With SLUICE_TEST_LONG=1, since there
// are five servers, three of them in processes of their own.
func TestFiveNodes(t *testing.T) {
	if os.Getenv("SLUICE_TEST_LONG") == "" {
		t.Skip("left out: it takes a while; run with SLUICE_TEST_LONG=1")
	}
	nodes := addresses(t, 5)
	cfg := func(i int) Config { return Config{Nodes: nodes, Node: nodes[i], Secret: "together"} }
	kills := []func(){child(t, cfg(2)), child(t, cfg(3)), child(t, cfg(4))}
	a, b := start(t, cfg(0)), start(t, cfg(1))
	usable(t, a, b)
	assert.Equal(t, 5, a.Health().Voters)
	assert.Equal(t, 5, a.Health().Reachable)
	decides(t, a, nodes[4])
	t.Logf("two of five killed, one of which decides: no record for %v", writing(t, a, func() {
		kills[1]()
		kills[2]()
		until(t, "another one decides", func() bool {
			h := b.Health()
			return h.Writable && h.Reachable == 3 && h.Leader != nodes[4] && h.Leader != ""
		})
	}))
	records(t, a, b)
	messages(t, a, b)

	kills[0]()
	until(t, "two of five decide on nothing", func() bool { return !a.Health().Writable && !b.Health().Writable })
	_, err := a.Create(short(t), key(t), nil)
	assert.ErrorIs(t, err, cluster.ErrMute)
	// What the three had is gone with them. Two that have the records and one that has not do not decide: it could have
	// been one of those who knew better. All of them do.
	all := []*Directory{a, b, start(t, cfg(2)), start(t, cfg(3)), start(t, cfg(4))}
	usable(t, all...)
	records(t, a, all[4])
	messages(t, all...)
}
