package cluster

import (
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"sluice/hub"
)

// A node that cannot send its signs of life is silent to others.
func TestSignOfLifeFitsMessage(t *testing.T) {
	b := beat{Node: strings.Repeat("n", 255), Media: strings.Repeat("m", 255)}
	for i := range maxStanding {
		b.Standby = append(b.Standby, recordKey(hub.Key{App: "live", Name: strconv.Itoa(i)}))
	}
	assert.Less(t, len(encode(&b)), MaxMessage/4)
}
