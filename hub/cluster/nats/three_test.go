package nats

import (
	"testing"
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

func TestThreeNodes(t *testing.T) {
	all := open(t, 3)
	for i, a := range all {
		records(t, a, all[(i+1)%3])
	}
	messages(t, all...)
}
