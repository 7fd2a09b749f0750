package memory

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"sluice/hub/cluster"
	"sluice/hub/cluster/directorytest"
)

// What callers are told of records is one story, whatever happens to the nodes meanwhile.
func TestRecordsUnderFaults(t *testing.T) {
	seeds := uint64(20)
	if isLong() {
		seeds = 1500
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			cfg := Config{Seed: seed, Outside: seed%5 == 4, Election: Delay{Max: time.Duration(seed%3) * time.Second}}
			inBubble(t, cfg, 3+int(seed%4), func(t *testing.T, r *rig) {
				ended := make(chan struct{})
				chaos := make(chan struct{})
				go func() {
					defer close(chaos)
					r.chaos(rand.New(rand.NewPCG(seed, 1)), ended)
				}()
				var nodes []cluster.Directory
				for _, n := range r.nodes {
					nodes = append(nodes, n)
				}
				time.AfterFunc(time.Minute, func() { close(ended) })
				directorytest.Race(t, nodes, directorytest.Load{
					Seed: seed, Prefix: "x", Keys: 3, Callers: 2, Calls: 60, Timeout: 250 * time.Millisecond, Pause: time.Second,
				})
				<-chaos
			})
		})
	}
}

// chaos does something to the nodes all the time, until ended is closed, and has all well then.
func (r *rig) chaos(random *rand.Rand, ended <-chan struct{}) {
	names := func() (some []string) {
		for _, n := range r.nodes {
			if random.IntN(3) == 0 {
				some = append(some, n.Name())
			}
		}
		return some
	}
	for {
		switch random.IntN(12) {
		case 0, 1:
			r.Part(names(), names())
		case 2, 3:
			r.Heal()
		case 4:
			r.Mute(true)
		case 5:
			r.Mute(false)
		case 6:
			r.Gone(random.IntN(3) == 0)
		case 7:
			r.Freeze(names()...)
		case 8:
			r.Thaw()
		case 9:
			r.Doubt(random.Float64() / 2)
		case 10:
			r.Late(random.Float64(), Delay{Max: 3 * time.Second})
		case 11:
			r.Delay(Delays{Records: Delay{Max: time.Duration(random.IntN(300)) * time.Millisecond}})
		}
		select {
		case <-time.After(time.Duration(random.IntN(2000)) * time.Millisecond):
		case <-ended:
			r.Heal()
			r.Mute(false)
			r.Gone(false)
			r.Thaw()
			r.Doubt(0)
			r.Late(0, Delay{})
			r.Delay(Delays{})
			return
		}
	}
}
