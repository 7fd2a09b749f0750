package nats

import (
	"testing"

	"github.com/stretchr/testify/assert"
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
