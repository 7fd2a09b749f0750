package door

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// later is when what came now is old.
const later = defaultPatience + time.Millisecond

// Clients that all come at the same moment lose nobody, from one address or many.
func TestCrowdOfHonestClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEntrance(t, Config{MaxConnections: 19_900}, false)
		guests := e.crowdOf(t, 3000, "192.0.2.1")
		time.Sleep(defaultPatience - time.Millisecond)
		guests = append(guests, e.crowdOf(t, 3000, "192.0.2.1")...)
		for i := range 3000 {
			guests = append(guests, e.comes(t, fmt.Sprintf("10.0.%d.%d", i/250, i%250)))
		}
		assert.Equal(t, 9000, here(guests))
		settle(guests...)
		time.Sleep(later)
		guests = append(guests, e.crowdOf(t, 300, "192.0.2.1")...)
		assert.Equal(t, 9300, here(guests), "settled ones stay")
		assert.Equal(t, Figures{Open: 9300, Pending: 300, Admitted: 9300}, e.Figures())
	})
}

// Too many old ones of an address: each newcomer, from wherever, costs it its two
// oldest.
func TestTooManyPendingOfAnAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEntrance(t, Config{}, false)
		flood := e.crowdOf(t, maxPendingPerAddress, "192.0.2.1")
		assert.False(t, e.Thronged())
		flood = append(flood, e.crowdOf(t, 4, "192.0.2.1")...)
		assert.True(t, e.Thronged())
		time.Sleep(defaultPatience - time.Millisecond)
		e.comes(t, "192.0.2.9")
		assert.Equal(t, len(flood), here(flood), "young")
		time.Sleep(later - defaultPatience + time.Millisecond)
		e.comes(t, "192.0.2.9")
		assert.Equal(t, len(flood)-2, here(flood))
		assert.False(t, flood[0].here() || flood[1].here(), "the oldest")
		e.comes(t, "192.0.2.9")
		e.comes(t, "192.0.2.9")
		assert.Equal(t, maxPendingPerAddress, here(flood), "as many as may be")
		e.comes(t, "192.0.2.1")
		assert.Equal(t, maxPendingPerAddress-1, here(flood))
		assert.Equal(t, uint64(5), e.Figures().GivenUp)
	})
}

// Too many old ones of many addresses: the address that has the most pays, and of
// those with as many that with the oldest.
func TestTooManyPendingInAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEntrance(t, Config{}, false)
		first := e.comes(t, "10.9.0.1")
		time.Sleep(time.Millisecond)
		heavy := e.crowdOf(t, 3, "10.9.0.2")
		time.Sleep(time.Millisecond)
		var others []guest
		for i := range maxPending - 4 {
			others = append(others, e.comes(t, fmt.Sprintf("10.1%02d.%d.1", i/200, i%200)))
		}
		assert.Equal(t, maxPending, e.Figures().Pending)
		time.Sleep(later)
		newcomers := []guest{e.comes(t, "10.9.0.3")}
		assert.False(t, heavy[0].here())
		assert.Equal(t, 2, here(heavy), "then there are not too many any more")
		newcomers = append(newcomers, e.comes(t, "10.9.0.4"))
		assert.Equal(t, 1, here(heavy))
		assert.True(t, first.here())
		newcomers = append(newcomers, e.comes(t, "10.9.0.5"))
		assert.False(t, first.here())
		assert.Equal(t, 1, here(heavy))
		newcomers = append(newcomers, e.comes(t, "10.9.0.6"), e.comes(t, "10.9.0.7"))
		assert.Zero(t, here(heavy))
		assert.Equal(t, len(others)-1, here(others))
		assert.False(t, others[0].here())
		assert.Equal(t, len(newcomers), here(newcomers))
	})
}

// Where there are as many as there may be, pending ones go before anybody is turned
// away: old ones, or those of an address that has too many.
func TestFull(t *testing.T) {
	const most = 800 // so that an address may have 100 pending
	for _, c := range []struct {
		name    string
		pending int           // of one address, the rest is settled
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
				e := newEntrance(t, Config{MaxConnections: most}, false)
				viewers := e.crowdOf(t, most-c.pending, "192.0.2.1")
				settle(viewers...)
				waiting := e.crowdOf(t, c.pending, "192.0.2.2")
				time.Sleep(c.age)
				g := e.comes(t, "192.0.2.3")
				assert.Equal(t, c.in, g.here())
				assert.Equal(t, most-c.pending, here(viewers))
				f := e.Figures()
				assert.Equal(t, most, f.Open)
				if c.in {
					assert.False(t, waiting[0].here(), "the oldest")
					assert.Equal(t, c.pending-1, here(waiting))
					assert.Equal(t, Figures{Open: most, Pending: c.pending, Admitted: most + 1, GivenUp: 1}, f)
				} else {
					assert.Equal(t, c.pending, here(waiting))
					assert.Equal(t, Figures{Open: most, Pending: c.pending, Admitted: most, TurnedFull: 1}, f)
				}
				viewers[0].in.Close()
				assert.True(t, e.comes(t, "192.0.2.3").here(), "there is room again")
			})
		})
	}
}

// A flood that fills the place within a moment keeps nobody out, wherever it comes
// from.
func TestFloodThatFillsThePlace(t *testing.T) {
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
				e := newEntrance(t, Config{MaxConnections: most}, false)
				viewers := e.crowdOf(t, 100, "192.0.2.3")
				settle(viewers...)
				for i := range 2000 {
					require.True(t, e.comes(t, c.from(i)).here())
					if i%100 == 99 {
						v := e.comes(t, "192.0.2.3")
						for range 50 { // while it shakes hands
							e.comes(t, c.from(i))
						}
						require.True(t, v.here())
						settle(v)
						viewers = append(viewers, v)
					}
					require.LessOrEqual(t, e.Figures().Open, most)
				}
				assert.Equal(t, 120, here(viewers))
			})
		})
	}
}

// An address has its own bound, which is nobody else's.
func TestFullOfAnAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEntrance(t, Config{MaxPerAddress: 3}, false)
		guests := e.crowdOf(t, 3, "192.0.2.1")
		assert.False(t, e.comes(t, "192.0.2.1").here(), "too many, and the pending ones are young")
		other := e.comes(t, "192.0.2.2")
		time.Sleep(later)
		settle(guests[0])
		assert.True(t, e.comes(t, "192.0.2.1").here(), "there is an old one to give up")
		assert.Equal(t, []bool{true, false, true}, []bool{guests[0].here(), guests[1].here(), guests[2].here()})
		assert.True(t, other.here(), "though it is old")
		guests[0].in.Close()
		assert.True(t, e.comes(t, "192.0.2.1").here(), "there is room")
		assert.False(t, e.comes(t, "192.0.2.1").here() && guests[2].here())
		assert.Equal(t, Figures{Open: 4, Pending: 4, Admitted: 7, GivenUp: 2, TurnedAlike: 1}, e.Figures())
	})
}

// Both bounds at once cost one connection.
func TestFullInAllAndOfAnAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEntrance(t, Config{MaxConnections: 4, MaxPerAddress: 2}, false)
		guests := append(e.crowdOf(t, 2, "192.0.2.1"), e.crowdOf(t, 2, "192.0.2.2")...)
		time.Sleep(later)
		assert.True(t, e.comes(t, "192.0.2.1").here())
		assert.Equal(t, 3, here(guests))
		assert.False(t, guests[0].here())
	})
}

// What the addresses of a client have in common.
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
		e := newEntrance(t, Config{MaxPerAddress: 1}, false)
		require.True(t, e.comes(t, c.a).here())
		assert.Equal(t, !c.same, e.comes(t, c.b).here(), "%v", c)
	}
}

// A connection that is pending again is as young as one that has just come.
func TestPendingAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEntrance(t, Config{MaxConnections: 1}, false)
		g := e.comes(t, "192.0.2.1")
		settle(g)
		time.Sleep(later)
		visitOf(g.in).pend()
		visitOf(g.in).pend() // further calls do nothing
		assert.False(t, e.comes(t, "192.0.2.2").here())
		time.Sleep(later)
		assert.True(t, e.comes(t, "192.0.2.2").here())
		assert.False(t, g.here())
		visitOf(g.in).pend() // it is too late for all of these
		settle(g)
		g.in.Close()
		assert.Equal(t, 1, e.Figures().Open)
		assert.Equal(t, 1, e.Figures().Pending)
	})
}

// Who waits for a connection without reading it is told that it is gone.
func TestOnGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEntrance(t, Config{MaxConnections: 1}, false)
		g := e.comes(t, "192.0.2.1")
		woken := 0
		wake := func() {
			assert.Equal(t, 1, g.closed, "closed before")
			woken++
		}
		OnGivenUp(g.in, wake)
		time.Sleep(later)
		next := e.comes(t, "192.0.2.1")
		assert.Equal(t, 1, woken)
		OnGivenUp(g.in, wake) // too late
		assert.Equal(t, 2, woken)

		settle(next)
		OnGivenUp(next.in, func() { t.Error("a settled one is never given up") })
		next.in.Close()
		OnGivenUp(g.caller, func() { t.Error("not the door's") })
		Settle(g.caller)
	})
}
