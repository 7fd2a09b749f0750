package cluster

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

// put is a packet that gets a place in the log.
func put(local uint64) func() (uint64, bool, error) {
	return func() (uint64, bool, error) { return local, true, nil }
}

// What is copied of another life, while this node's own stream has yet to begin, does not become part of that.
func TestCopiedBehindAClaim(t *testing.T) {
	var n numbers
	require.NoError(t, n.copy(7, Position{"aa", 3, 100}, put(0)))
	n.become(7, 1, &owner{Incarnation: "bb", Epoch: 1})
	require.NoError(t, n.copy(7, Position{"aa", 3, 101}, put(1)))
	at, ok := n.of(7, 2)
	require.True(t, ok)
	assert.Equal(t, Position{"bb", 1, 0}, at)
	_, ok = n.of(7, 1)
	assert.False(t, ok)
	n.cease(7, 4)
	at, ok = n.last(7)
	require.True(t, ok)
	assert.Equal(t, Position{"bb", 1, 1}, at)
}

// What the log has already, of which nothing is known here, does not become part of this node's own.
func TestBecomesOwnerOfALog(t *testing.T) {
	var n numbers
	n.become(7, 100, &owner{Incarnation: "aa", Epoch: 3})
	_, ok := n.of(7, 99)
	assert.False(t, ok)
	at, ok := n.of(7, 100)
	require.True(t, ok)
	assert.Equal(t, Position{"aa", 3, 2 << epochBits}, at)
	n.become(7, 150, &owner{Incarnation: "bb", Epoch: 1}) // another life of the stream, in the same log
	_, ok = n.of(7, 149)
	assert.False(t, ok)
	at, _ = n.of(7, 150)
	assert.Equal(t, Position{"bb", 1, 0}, at)
}

// Of an owner that has published nothing nothing is left: a copy goes on where it was before, and behind what came meanwhile.
func TestCeasesWithoutAPacket(t *testing.T) {
	var n numbers
	require.NoError(t, n.copy(7, Position{"aa", 3, 100}, put(0)))
	n.become(7, 1, &owner{Incarnation: "bb", Epoch: 1})
	require.NoError(t, n.copy(7, Position{"aa", 3, 101}, put(1)))
	n.cease(7, 2)
	at, ok := n.last(7)
	require.True(t, ok)
	assert.Equal(t, Position{"aa", 3, 101}, at)
	at, _ = n.of(7, 0)
	assert.Equal(t, Position{"aa", 3, 100}, at)
}

// Where a copy goes on is known of the life of a stream before, too: it may be the one that stays.
func TestLastOfAFormerLife(t *testing.T) {
	var n numbers
	require.NoError(t, n.copy(7, Position{"aa", 3, 100}, put(0)))
	n.become(7, 1, &owner{Incarnation: "bb", Epoch: 2})
	_, ok := n.lastOf(7, "aa")
	assert.False(t, ok, "it is the owner")
	n.cease(7, 5)
	at, ok := n.lastOf(7, "aa")
	require.True(t, ok)
	assert.Equal(t, Position{"aa", 3, 100}, at)
	at, ok = n.lastOf(7, "bb")
	require.True(t, ok)
	assert.Equal(t, Position{"bb", 2, 1<<epochBits + 3}, at)
	assert.Equal(t, uint64(3), n.epoch("aa"))
	require.NoError(t, n.copy(7, Position{"aa", 4, 200}, put(5)))
	at, ok = n.last(7)
	require.True(t, ok)
	assert.Equal(t, Position{"aa", 4, 200}, at)
	at, ok = n.lastOf(7, "bb")
	require.True(t, ok)
	assert.Equal(t, Position{"bb", 2, 1<<epochBits + 3}, at)
	_, ok = n.lastOf(8, "aa")
	assert.False(t, ok, "of another life of the hub's")
	_, ok = n.lastOf(7, "cc")
	assert.False(t, ok)
}

// Where a copy goes on is known also of a stream that nobody has asked this node for.
func TestLastOfOwn(t *testing.T) {
	var n numbers
	n.become(0, 0, &owner{Incarnation: "aa", Epoch: 2})
	_, ok := n.last(9)
	assert.False(t, ok, "it is the owner")
	n.cease(9, 10)
	at, ok := n.last(9)
	require.True(t, ok)
	assert.Equal(t, Position{"aa", 2, 1<<epochBits + 9}, at, "behind all of the epoch before")
	assert.Equal(t, uint64(2), n.epoch("aa"))
	assert.Zero(t, n.epoch("bb"))
	_, ok = n.last(8)
	assert.False(t, ok, "of another life")
}

// The numbers of a stream that has yet to begin are not taken for those of the one before it, which somebody may still read.
func TestReadAfterItsEnd(t *testing.T) {
	var n numbers
	n.become(0, 0, &owner{Incarnation: "aa", Epoch: 1})
	_, ok := n.of(7, 0)
	require.True(t, ok)
	n.cease(0, 0)
	n.become(0, 0, &owner{Incarnation: "bb", Epoch: 1})
	_, ok = n.of(7, 1)
	assert.False(t, ok)
	at, ok := n.of(9, 0)
	require.True(t, ok)
	assert.Equal(t, Position{"bb", 1, 0}, at)
}

// Packets follow on each other by epoch and then by number.
func TestPrecedes(t *testing.T) {
	at := Position{"aa", 2, 50}
	for other, follows := range map[Position]bool{
		{"aa", 2, 50}: false, {"aa", 2, 49}: false, {"aa", 1, 99}: false,
		{"aa", 2, 51}: true, {"aa", 3, 0}: true, {"bb", 1, 0}: true,
	} {
		assert.Equal(t, follows, at.precedes(other), "%v", other)
	}
	assert.True(t, Position{}.precedes(at))
}

// Records may be of a later version, and anybody's.
func TestReadOwner(t *testing.T) {
	key := hub.Key{App: "live", Name: "a"}
	const good = `{"stream":"live/a","node":"n1","boot":"0000000000000001","incarnation":"00000000000000aa","epoch":3`
	for text, usable := range map[string]bool{
		good + `}`:                     true,
		good + `,"later":{"more":[]}}`: true,
		good + `,"media":7}`:           false,
		``:                             false, `null`: false, `[]`: false, `{}`: false,
		`{"stream":"live/b","boot":"0000000000000001","incarnation":"00000000000000aa","epoch":3}`: false,
		`{"stream":"live/a","boot":"..","incarnation":"00000000000000aa","epoch":3}`:               false,
		`{"stream":"live/a","boot":"0000000000000001","incarnation":"/","epoch":3}`:                false,
		`{"stream":"live/a","boot":"0000000000000001","incarnation":"00000000000000aa"}`:           false,
	} {
		_, err := readOwner(key, []byte(text))
		assert.Equal(t, usable, err == nil, "%s", text)
	}
}
