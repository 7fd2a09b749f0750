package nats

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"sluice/hub/cluster"
)

// Whenever records can be written again there is a line, also where the same node decides as before.
func TestSaysWhenRecordsCanBeWritten(t *testing.T) {
	var log lines
	d := &Directory{cfg: Config{Logger: log.logger()}}
	can := cluster.Health{Connected: true, Writable: true, Leader: "n1"}
	cannot := cluster.Health{Connected: true, Leader: "n1", Detail: "too few"}
	current := can
	current.Current = true
	other := can
	other.Leader = "n2"
	for _, step := range []struct {
		now   cluster.Health
		words string
	}{
		{cluster.Health{Connected: true}, "cluster: connected"},
		{can, "can be written\" leader=n1"},
		{can, ""},
		{current, "this node has all records"},
		{can, ""},
		{cannot, "cannot be written\" detail=\"too few\""},
		{cannot, ""},
		{can, "can be written\" leader=n1"},
		{other, "can be written\" leader=n2"},
		{cluster.Health{Writable: true, Leader: "n2"}, "this node is alone"},
	} {
		before := len(log.String())
		d.say(step.now)
		said := log.String()[before:]
		if step.words == "" {
			assert.Empty(t, said)
			continue
		}
		assert.Contains(t, said, step.words)
	}
}
