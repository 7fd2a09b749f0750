package nats

import (
	"testing"
)

func TestThreeNodes(t *testing.T) {
	nodes := addresses(t, 3)
	var all []*Directory
	for _, node := range nodes {
		all = append(all, start(t, Config{Nodes: nodes, Node: node, Secret: "together"}))
	}
	usable(t, all...)
	for i, a := range all {
		records(t, a, all[(i+1)%3])
	}
	messages(t, all...)
}
