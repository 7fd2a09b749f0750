package nats

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestOneNode(t *testing.T) {
	node := addresses(t, 1)
	d := start(t, Config{Nodes: node, Node: node[0]})
	records(t, d, d)
	usable(t, d)
	messages(t, d)
	h := d.Health()
	assert.Equal(t, node[0], h.Leader)
	assert.Equal(t, 1, h.Voters)
	assert.Equal(t, 1, h.Reachable)
	assert.Positive(t, h.Roundtrip)
}
