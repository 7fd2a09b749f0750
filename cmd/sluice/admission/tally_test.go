package admission

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Two listeners of one control have figures of their own, and those of the control are their sum.
func TestFiguresOfListeners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{Control: New(Config{MaxConnections: 3, MaxPerAddress: 2}), backlog: &backlog{}}
		defer r.Close()
		first, second := r.Listen(r.backlog, false), r.Listen(r.backlog, false)
		r.l = first
		a, b := r.connect(t, "10.0.0.1"), r.connect(t, "10.0.0.1")
		MarkActive(a.in)
		MarkAsking(b.in)
		require.False(t, r.connect(t, "10.0.0.1").open(), "from that address there are enough")
		r.l = second
		c := r.connect(t, "10.0.0.2")
		require.False(t, r.connect(t, "10.0.0.3").open(), "there are enough")
		assert.Equal(t, Figures{Open: 2, Asking: 1, Admitted: 2, TurnedByAddress: 1}, first.Figures())
		assert.Equal(t, Figures{Open: 1, Pending: 1, Admitted: 1, TurnedFull: 1}, second.Figures())

		time.Sleep(3 * time.Second)
		d := r.connect(t, "10.0.0.3") // for which c goes
		assert.False(t, c.open())
		assert.Equal(t, Figures{Open: 1, Pending: 1, Admitted: 2, GivenUp: 1, TurnedFull: 1}, second.Figures())
		for _, in := range []client{a, b, d} {
			in.in.Close()
		}
		assert.Equal(t, Figures{Admitted: 2, TurnedByAddress: 1}, first.Figures())
		assert.Equal(t, Figures{Admitted: 2, GivenUp: 1, TurnedFull: 1}, second.Figures())
	})
}
