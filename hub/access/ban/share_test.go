package ban

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// lists are those of several servers, and what they have told that has not come.
type lists struct {
	all []*List
	way [][]byte
}

func newLists(t *testing.T, n int) *lists {
	l := &lists{}
	for range n {
		one, err := Open(t.TempDir())
		require.NoError(t, err)
		one.Share(func(data []byte) { l.way = append(l.way, data) })
		l.all = append(l.all, one)
	}
	return l
}

// texts returns what the bans of a list say.
func texts(l *List) (all []string) {
	for _, b := range l.All() {
		all = append(all, b.Subject)
	}
	return all
}

// pull has one list take all that another one has.
func pull(t *testing.T, to, from *List) (pages int) {
	for after := uint64(0); ; pages++ {
		data, next := from.Page(after)
		require.Less(t, len(data), 512<<10)
		require.NoError(t, to.Take(data))
		if after = next; after == 0 {
			return pages + 1
		}
	}
}

// What is told of changes is taken in any order, however often.
func TestSharedChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLists(t, 3)
		var made []Ban
		for i := range 8 {
			b, err := l.all[i%3].Add(Ban{Subject: fmt.Sprint(i), Role: "watch", Reason: "r", Until: time.Now().Add(time.Hour)})
			require.NoError(t, err)
			made = append(made, b)
			time.Sleep(time.Millisecond)
		}
		found, err := l.all[0].Remove(made[3].ID)
		require.NoError(t, err)
		require.True(t, found)
		way := append(l.way, l.way...)
		rand.Shuffle(len(way), func(i, j int) { way[i], way[j] = way[j], way[i] })
		for _, data := range way {
			for _, to := range l.all {
				require.NoError(t, to.Take(data))
			}
		}
		for _, one := range l.all {
			assert.ElementsMatch(t, []string{"0", "1", "2", "4", "5", "6", "7"}, texts(one))
			assert.Equal(t, l.all[0].Digest(), one.Digest())
			again, err := Open(strings.TrimSuffix(one.path, "/"+fileName))
			require.NoError(t, err)
			assert.Equal(t, one.Digest(), again.Digest(), "it is in the file as it is")
		}
		time.Sleep(2 * time.Hour)
		before := l.all[1].Digest()
		require.NoError(t, l.all[1].Take(way[0]))
		assert.Zero(t, before)
		assert.Empty(t, texts(l.all[1]), "what has ended is not taken")
	})
}

// Lists that were parted come together by what each has; what was taken out at one does not come back from the other.
func TestSharedLists(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLists(t, 2)
		a, b := l.all[0], l.all[1]
		var many []Ban
		for i := range 900 {
			many = append(many, Ban{Subject: fmt.Sprint("a", i), Reason: strings.Repeat("x", 200)})
		}
		added, err := a.AddAll(many)
		require.NoError(t, err)
		assert.Greater(t, len(l.way), 1, "no message is too long")
		_, err = b.Add(Ban{Subject: "b"})
		require.NoError(t, err)
		assert.Greater(t, pull(t, b, a), 1)
		pull(t, a, b)
		require.Equal(t, a.Digest(), b.Digest())
		require.Equal(t, 901, a.Len())

		_, err = a.Remove(added[7].ID)
		require.NoError(t, err)
		require.NotEqual(t, a.Digest(), b.Digest())
		pull(t, a, b)
		require.Equal(t, 900, a.Len())
		pull(t, b, a)
		assert.Equal(t, a.Digest(), b.Digest())
		assert.Equal(t, 900, b.Len())
	})
}

// What no list tells changes nothing, and a list that is full says so.
func TestSharedMistakes(t *testing.T) {
	l := newLists(t, 1)
	one := l.all[0]
	for _, data := range []string{
		``, `[]`, `{"bans":[{}]}`, `{"bans":[{"subject":"a","role":"x"}]}`, `{"bans":[{"subject":"a"},{"stream":"!a/*"}]}`,
		`{"bans":[{"subject":"` + strings.Repeat("x", maxText+1) + `"}]}`,
	} {
		assert.ErrorIs(t, one.Take([]byte(data)), ErrInvalid, data)
	}
	assert.Zero(t, one.Len())
	require.NoError(t, one.Take([]byte(`{"gone":[{"mark":"x"},{"mark":"0123456789abcdef0123456789abcdef","until":"9999-01-01T00:00:00Z"}]}`)))
	assert.Empty(t, one.gone)

	other := newLists(t, 1).all[0]
	one.path, other.path = "", ""
	var many []Ban
	for i := range MaxBans {
		many = append(many, Ban{Subject: fmt.Sprint(i)})
	}
	_, err := one.AddAll(many)
	require.NoError(t, err)
	_, err = other.Add(Ban{Subject: "more"})
	require.NoError(t, err)
	data, _ := other.Page(0)
	assert.ErrorIs(t, one.Take(data), ErrFull)
	assert.Equal(t, MaxBans, one.Len())
	for i := range maxGone + 10 {
		one.forgetBanLocked(goneBan{fmt.Sprintf("%032d", i), time.Now().Add(time.Duration(i+1) * time.Hour)})
	}
	assert.Len(t, one.gone, maxGone)
}
