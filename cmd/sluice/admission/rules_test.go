package admission

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// later is after how long a pending connection is old.
const later = defaultPatience + time.Millisecond

// Of honest clients who all come at the same moment nobody is lost, whether they come
// from one address or from many.
func TestCrowdOfHonestClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{MaxConnections: 19_900}, false)
		clients := r.connectAll(t, 3000, "192.0.2.1")
		time.Sleep(defaultPatience - time.Millisecond)
		clients = append(clients, r.connectAll(t, 3000, "192.0.2.1")...)
		for i := range 3000 {
			clients = append(clients, r.connect(t, fmt.Sprintf("10.0.%d.%d", i/250, i%250)))
		}
		assert.Equal(t, 9000, open(clients))
		markActive(clients...)
		time.Sleep(later)
		clients = append(clients, r.connectAll(t, 300, "192.0.2.1")...)
		assert.Equal(t, 9300, open(clients), "active ones stay")
		assert.Equal(t, Figures{Open: 9300, Pending: 300, Admitted: 9300}, r.Figures())
	})
}

// While an address has too many old pending connections, each newcomer from anywhere
// costs it its two oldest.
func TestTooManyPendingOfAnAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{}, false)
		flood := r.connectAll(t, maxPendingPerAddress, "192.0.2.1")
		assert.False(t, r.Overloaded())
		flood = append(flood, r.connectAll(t, 4, "192.0.2.1")...)
		assert.True(t, r.Overloaded())
		time.Sleep(defaultPatience - time.Millisecond)
		r.connect(t, "192.0.2.9")
		assert.Equal(t, len(flood), open(flood), "young")
		time.Sleep(later - defaultPatience + time.Millisecond)
		r.connect(t, "192.0.2.9")
		assert.Equal(t, len(flood)-2, open(flood))
		assert.False(t, flood[0].open() || flood[1].open(), "the oldest")
		r.connect(t, "192.0.2.9")
		r.connect(t, "192.0.2.9")
		assert.Equal(t, maxPendingPerAddress, open(flood), "as many as may be")
		r.connect(t, "192.0.2.1")
		assert.Equal(t, maxPendingPerAddress-1, open(flood))
		assert.Equal(t, uint64(5), r.Figures().GivenUp)
	})
}

// While there are too many old pending connections in all, the address with the most
// of them pays, and among equals the one with the oldest.
func TestTooManyPendingInAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{}, false)
		first := r.connect(t, "10.9.0.1")
		time.Sleep(time.Millisecond)
		heavy := r.connectAll(t, 3, "10.9.0.2")
		time.Sleep(time.Millisecond)
		var others []client
		for i := range maxPending - 4 {
			others = append(others, r.connect(t, fmt.Sprintf("10.1%02d.%d.1", i/200, i%200)))
		}
		assert.Equal(t, maxPending, r.Figures().Pending)
		time.Sleep(later)
		newcomers := []client{r.connect(t, "10.9.0.3")}
		assert.False(t, heavy[0].open())
		assert.Equal(t, 2, open(heavy), "then there are not too many any more")
		newcomers = append(newcomers, r.connect(t, "10.9.0.4"))
		assert.Equal(t, 1, open(heavy))
		assert.True(t, first.open())
		newcomers = append(newcomers, r.connect(t, "10.9.0.5"))
		assert.False(t, first.open())
		assert.Equal(t, 1, open(heavy))
		newcomers = append(newcomers, r.connect(t, "10.9.0.6"), r.connect(t, "10.9.0.7"))
		assert.Zero(t, open(heavy))
		assert.Equal(t, len(others)-1, open(others))
		assert.False(t, others[0].open())
		assert.Equal(t, len(newcomers), open(newcomers))
	})
}

// Where there are as many connections as there may be, a pending one goes before a
// newcomer is turned away: an old one, or one of an address that has too many.
func TestFull(t *testing.T) {
	const most = 800 // so that an address may have 100 pending
	for _, c := range []struct {
		name    string
		pending int           // of one address; the rest are active
		age     time.Duration // of these
		in      bool          // the newcomer
	}{
		{"nobody is pending", 0, later, false},
		{"one, and old", 1, later, true},
		{"one, and young", 1, defaultPatience - time.Millisecond, false},
		{"many, and young", 99, defaultPatience - time.Millisecond, false},
		{"too many, though young", 100, 0, true},
		{"too many, and old", 100, later, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, Config{MaxConnections: most}, false)
				viewers := r.connectAll(t, most-c.pending, "192.0.2.1")
				markActive(viewers...)
				waiting := r.connectAll(t, c.pending, "192.0.2.2")
				time.Sleep(c.age)
				g := r.connect(t, "192.0.2.3")
				assert.Equal(t, c.in, g.open())
				assert.Equal(t, most-c.pending, open(viewers))
				f := r.Figures()
				assert.Equal(t, most, f.Open)
				if c.in {
					assert.False(t, waiting[0].open(), "the oldest")
					assert.Equal(t, c.pending-1, open(waiting))
					assert.Equal(t, Figures{Open: most, Pending: c.pending, Admitted: most + 1, GivenUp: 1}, f)
				} else {
					assert.Equal(t, c.pending, open(waiting))
					assert.Equal(t, Figures{Open: most, Pending: c.pending, Admitted: most, TurnedFull: 1}, f)
				}
				viewers[0].in.Close()
				assert.True(t, r.connect(t, "192.0.2.3").open(), "there is room again")
			})
		})
	}
}

// A flood that takes all connections within a moment keeps nobody out, wherever it
// comes from.
func TestFloodThatTakesAll(t *testing.T) {
	const most = 800
	for _, c := range []struct {
		name string
		from func(i int) string
	}{
		{"one address", func(int) string { return "192.0.2.1" }},
		{"an address each", func(i int) string { return fmt.Sprintf("10.1.%d.%d", i/250, i%250) }},
		{"that of the viewers", func(int) string { return "192.0.2.3" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, Config{MaxConnections: most}, false)
				viewers := r.connectAll(t, 100, "192.0.2.3")
				markActive(viewers...)
				for i := range 2000 {
					require.True(t, r.connect(t, c.from(i)).open())
					if i%100 == 99 {
						v := r.connect(t, "192.0.2.3")
						for range 50 { // while it shakes hands
							r.connect(t, c.from(i))
						}
						require.True(t, v.open())
						markActive(v)
						viewers = append(viewers, v)
					}
					require.LessOrEqual(t, r.Figures().Open, most)
				}
				assert.Equal(t, 120, open(viewers))
			})
		})
	}
}

// The bound of an address concerns no other address.
func TestFullOfAnAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{MaxPerAddress: 3}, false)
		clients := r.connectAll(t, 3, "192.0.2.1")
		assert.False(t, r.connect(t, "192.0.2.1").open(), "too many, and the pending ones are young")
		other := r.connect(t, "192.0.2.2")
		time.Sleep(later)
		markActive(clients[0])
		assert.True(t, r.connect(t, "192.0.2.1").open(), "there is an old one to give up")
		assert.Equal(t, []bool{true, false, true}, []bool{clients[0].open(), clients[1].open(), clients[2].open()})
		assert.True(t, other.open(), "though it is old")
		clients[0].in.Close()
		assert.True(t, r.connect(t, "192.0.2.1").open(), "there is room")
		assert.False(t, r.connect(t, "192.0.2.1").open() && clients[2].open())
		assert.Equal(t, Figures{Open: 4, Pending: 4, Admitted: 7, GivenUp: 2, TurnedByAddress: 1}, r.Figures())
	})
}

// A newcomer that meets both bounds costs one connection.
func TestFullInAllAndOfAnAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{MaxConnections: 4, MaxPerAddress: 2}, false)
		clients := append(r.connectAll(t, 2, "192.0.2.1"), r.connectAll(t, 2, "192.0.2.2")...)
		time.Sleep(later)
		assert.True(t, r.connect(t, "192.0.2.1").open())
		assert.Equal(t, 3, open(clients))
		assert.False(t, clients[0].open())
	})
}

// Which addresses count as one.
func TestAddresses(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1", "192.0.2.1", true},
		{"192.0.2.1", "192.0.2.2", false},
		{"192.0.2.1", "::ffff:192.0.2.1", true},
		{"2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", true},
		{"2001:db8:1:2::1", "2001:db8:1:3::1", false},
		{"fe80::1%eth0", "fe80::2%eth1", true},
		{"::1", "127.0.0.1", false},
	} {
		r := newRig(t, Config{MaxPerAddress: 1}, false)
		require.True(t, r.connect(t, c.a).open())
		assert.Equal(t, !c.same, r.connect(t, c.b).open(), "%v", c)
	}
}

// A connection that is pending again counts as one that has just come.
func TestPendingAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{MaxConnections: 1}, false)
		g := r.connect(t, "192.0.2.1")
		markActive(g)
		time.Sleep(later)
		idle := func() { become(g.in, pending, pending, asking, active) } // as after a request
		idle()
		assert.False(t, r.connect(t, "192.0.2.2").open())
		time.Sleep(later)
		assert.True(t, r.connect(t, "192.0.2.2").open())
		assert.False(t, g.open())
		idle() // it is too late for all of these
		markActive(g)
		g.in.Close()
		assert.Equal(t, 1, r.Figures().Open)
		assert.Equal(t, 1, r.Figures().Pending)
	})
}

// A caller that waits for a connection without reading it is told when it is given up.
func TestOnGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{MaxConnections: 1}, false)
		g := r.connect(t, "192.0.2.1")
		woken := 0
		wake := func() {
			assert.Equal(t, 1, g.closed, "closed before")
			woken++
		}
		OnGivenUp(g.in, wake)
		time.Sleep(later)
		next := r.connect(t, "192.0.2.1")
		assert.Equal(t, 1, woken)
		OnGivenUp(g.in, wake) // too late
		assert.Equal(t, 2, woken)

		markActive(next)
		OnGivenUp(next.in, func() { t.Error("an active one is never given up") })
		next.in.Close()
		OnGivenUp(g.caller, func() { t.Error("not one of ours") })
		MarkActive(g.caller)
	})
}
