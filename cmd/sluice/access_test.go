package main

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub/access/ban"
	"sluice/web/admin"
)

// What the list of bans says reaches the operators' API: that there is no room, that it is not
// written, or both.
func TestBansOfOperators(t *testing.T) {
	list, err := ban.Open(filepath.Join(t.TempDir(), "missing"))
	require.NoError(t, err)
	b := bans{list}
	added, err := b.Add(admin.Ban{Address: netip.MustParseAddr("192.0.2.7"), Role: "watch"}, admin.Ban{Subject: "alice"})
	assert.ErrorIs(t, err, admin.ErrUnsaved)
	assert.NotErrorIs(t, err, admin.ErrFull)
	require.Len(t, added, 2)
	assert.Equal(t, added, b.All())
	assert.Equal(t, "192.0.2.7", added[0].Address.String())

	var many []admin.Ban
	for n := range ban.MaxBans {
		many = append(many, admin.Ban{Subject: fmt.Sprint(n)})
	}
	added, err = b.Add(many...)
	assert.Len(t, added, ban.MaxBans-2)
	assert.ErrorIs(t, err, admin.ErrUnsaved)
	assert.ErrorIs(t, err, admin.ErrFull)
	added, err = b.Add(many[0])
	assert.Empty(t, added)
	assert.ErrorIs(t, err, admin.ErrFull)
	assert.NotErrorIs(t, err, admin.ErrUnsaved, "nothing has changed")

	found, err := b.Remove(b.All()[0].ID)
	assert.True(t, found)
	assert.ErrorIs(t, err, admin.ErrUnsaved)
	found, err = b.Remove("x")
	assert.False(t, found)
	assert.NoError(t, err)
	_, err = b.Add(admin.Ban{})
	assert.ErrorIs(t, err, ban.ErrInvalid)
}
