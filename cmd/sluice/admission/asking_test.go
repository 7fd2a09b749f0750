package admission

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

// What each of the marks does in each state.
func TestMarks(t *testing.T) {
	for _, tt := range []struct {
		mark  string
		state state
		want  state
	}{
		{"asking", pending, asking},
		{"asking", asking, asking},
		{"asking", active, active},
		{"asking", closed, closed},
		{"active", pending, active},
		{"active", asking, active},
		{"active", active, active},
		{"active", closed, closed},
		{"pending", pending, pending},
		{"pending", asking, pending},
		{"pending", active, active},
		{"pending", closed, closed},
	} {
		r := newRig(t, Config{}, false)
		g := r.connect(t, "192.0.2.1")
		switch tt.state {
		case asking:
			MarkAsking(g.in)
		case active:
			MarkActive(g.in)
		case closed:
			g.in.Close()
		}
		assert.Equal(t, tt.state, connOf(g.in).current())
		switch tt.mark {
		case "asking":
			MarkAsking(g.in)
		case "active":
			MarkActive(g.in)
		case "pending":
			MarkPending(g.in)
		}
		assert.Equal(t, tt.want, connOf(g.in).current(), "%+v", tt)
		f := map[state]Figures{
			pending: {Open: 1, Pending: 1, Admitted: 1},
			asking:  {Open: 1, Asking: 1, Admitted: 1},
			active:  {Open: 1, Admitted: 1},
			closed:  {Admitted: 1},
		}[tt.want]
		assert.Equal(t, f, r.Figures(), "%+v", tt)
		g.in.Close()
		assert.Equal(t, Figures{Admitted: 1}, r.Figures(), "%+v", tt)
		assert.Empty(t, r.addresses)
	}
}

// A crowd behind one proxy that waits for answers loses nobody, however many they are
// and however long it takes, and keeps nobody from coming in.
func TestCrowdThatAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{MaxConnections: 20_000, MaxPerAddress: 15_000}, false)
		crowd := r.connectAll(t, 10_000, "192.0.2.1")
		markAsking(crowd...)
		assert.False(t, r.Overloaded())
		time.Sleep(time.Hour)
		newcomers := append(r.connectAll(t, 100, "192.0.2.1"), r.connectAll(t, 100, "192.0.2.2")...)
		assert.Equal(t, 10_000, open(crowd))
		assert.Equal(t, Figures{Open: 10_200, Pending: 200, Asking: 10_000, Admitted: 10_200}, r.Figures())
		flood := r.connectAll(t, 2*maxPendingPerAddress, "192.0.2.1")
		time.Sleep(later)
		for range maxPendingPerAddress {
			r.connect(t, "192.0.2.3")
		}
		assert.Equal(t, 10_000, open(crowd), "those who only sit there give way")
		assert.Less(t, open(flood)+open(newcomers), 2*maxPendingPerAddress)
		markActive(crowd...)
		assert.Zero(t, r.Figures().Asking)
	})
}

// Where a bound on connections is reached, a connection that asks gives way to a
// newcomer, but only when it has asked for long and nothing is pending.
func TestAskingGivesWay(t *testing.T) {
	const old, young = askingPatience + time.Millisecond, askingPatience
	for _, tt := range []struct {
		name    string
		asking  time.Duration // for how long one has been asking; 0 for none
		pending time.Duration // for how long one has been pending; 0 for none
		gone    string        // who gives way; "" if the newcomer is turned away
	}{
		{"one that asks, and has for long", old, 0, "asking"},
		{"one that asks, and has not for long", young, 0, ""},
		{"long, and an old one is pending", old, later, "pending"},
		{"long, and a young one is pending", old, defaultPatience, ""},
		{"not for long, and an old one is pending", young, later, "pending"},
		{"not for long, and a young one is pending", young, defaultPatience, ""},
		{"nobody asks, and an old one is pending", 0, later, "pending"},
		{"all are active", 0, 0, ""},
	} {
		for bound, cfg := range map[string]Config{
			"in all": {MaxConnections: 3}, "of an address": {MaxPerAddress: 3}, "both": {MaxConnections: 3, MaxPerAddress: 3},
		} {
			t.Run(tt.name+", "+bound, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, cfg, false)
					for _, age := range []time.Duration{0, tt.asking, tt.pending} {
						if age == 0 {
							markActive(r.connect(t, "192.0.2.1"))
						}
					}
					end := time.Now().Add(time.Minute)
					clients := map[string]client{}
					ask := func() {
						time.Sleep(time.Until(end.Add(-tt.asking)))
						clients["asking"] = r.connect(t, "192.0.2.1")
						markAsking(clients["asking"])
					}
					if tt.asking > tt.pending {
						ask()
					}
					if tt.pending > 0 {
						time.Sleep(time.Until(end.Add(-tt.pending)))
						clients["pending"] = r.connect(t, "192.0.2.1")
					}
					if tt.asking > 0 && tt.asking <= tt.pending {
						ask()
					}
					time.Sleep(time.Until(end))
					newcomer := r.connect(t, "192.0.2.1")
					assert.Equal(t, tt.gone != "", newcomer.open())
					for who, g := range clients {
						assert.Equal(t, who != tt.gone, g.open(), who)
					}
				})
			})
		}
	}
}

// Of those that ask, the oldest of the greediest address gives way, in all, and that
// of the newcomer's own where that has too many.
func TestGreediestThatAsksGivesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{MaxConnections: 6, MaxPerAddress: 3}, false)
		first := r.connect(t, "192.0.2.1")
		few := r.connectAll(t, 2, "192.0.2.2")
		many := r.connectAll(t, 3, "192.0.2.3")
		markAsking(first)
		markAsking(few...)
		markAsking(many[1], many[0], many[2])
		time.Sleep(askingPatience + time.Millisecond)
		newcomer := r.connect(t, "192.0.2.1")
		assert.True(t, newcomer.open())
		assert.False(t, many[1].open(), "it began to ask first")
		markActive(newcomer)
		assert.True(t, r.connect(t, "192.0.2.1").open())
		assert.False(t, few[0].open(), "as many as the other, and older")
		assert.Equal(t, 2, open(many))

		r.cfg.MaxConnections = 0
		markActive(r.connect(t, "192.0.2.3"))
		assert.True(t, r.connect(t, "192.0.2.3").open())
		assert.False(t, many[0].open(), "its own address has as many as it may have")
		assert.True(t, first.open())
		assert.Equal(t, 1, open(few))
	})
}

// A connection that asks is told that it was given up, and not any more when it has its
// answer.
func TestOnGivenUpWhileAsking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{MaxConnections: 1}, false)
		woken := map[string]int{}
		wake := func(who string) func() { return func() { woken[who]++ } }
		before, after := r.connect(t, "192.0.2.1"), client{}
		OnGivenUp(before.in, wake("before"))
		MarkAsking(before.in)
		time.Sleep(askingPatience + time.Millisecond)
		after = r.connect(t, "192.0.2.1")
		assert.Equal(t, map[string]int{"before": 1}, woken)
		MarkAsking(after.in)
		OnGivenUp(after.in, wake("after"))
		time.Sleep(askingPatience + time.Millisecond)
		answered := r.connect(t, "192.0.2.1")
		assert.Equal(t, map[string]int{"before": 1, "after": 1}, woken)
		OnGivenUp(answered.in, wake("answered"))
		MarkAsking(answered.in)
		MarkActive(answered.in)
		assert.Nil(t, connOf(answered.in).wake)
		time.Sleep(time.Hour)
		assert.False(t, r.connect(t, "192.0.2.1").open())
		assert.Equal(t, map[string]int{"before": 1, "after": 1}, woken)
	})
}
