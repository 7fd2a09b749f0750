package cluster_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
	"sluice/hub/cluster"
	"sluice/hub/cluster/memory"
)

// handed is what comes of a handover.
type handed struct {
	cluster.Handover
	ok   bool
	took time.Duration
}

// handOver has a node hand over within 4 s.
func (n *node) handOver() <-chan handed {
	done := make(chan handed, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 4*time.Second)
		defer cancel()
		began := time.Now()
		h, ok := n.cluster.HandOver(ctx)
		done <- handed{h, ok, time.Since(began)}
	}()
	synctest.Wait()
	return done
}

// A node that ends sends its publishers to another one first: viewers everywhere stay, its own too, and follow without a repeat.
func TestHandOver(t *testing.T) {
	for _, test := range []struct {
		name, query string
		can         bool // it can reconnect by itself
		before      bool // it does so before it leaves
	}{
		{"asked", "token=1", true, false},
		{"asked, and there before it leaves", "token=1", true, true},
		{"asked, and there before it leaves, without an identity", "", true, true},
		{"ended", "token=1", false, false},
		{"ended, without an identity", "", false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, 3, memory.Config{})
				first, second := r.nodes[0], r.nodes[1]
				asked := 0
				p, err := first.publishMoving("a", test.query, func() bool { asked++; return test.can })
				require.NoError(t, err)
				sent := p.start(50)
				time.Sleep(500 * time.Millisecond)
				viewers := []*audience{first.watch("a"), second.watch("a"), r.nodes[2].watch("a")}
				require.NoError(t, <-sent)
				_, err = second.publish("a", "token=other")
				require.Error(t, err, "nobody else has it")

				done := first.handOver()
				assert.Equal(t, 1, asked)
				if test.can {
					assert.Empty(t, p.ended)
					_, err = second.publish("a", "token=other")
					require.Error(t, err, "nobody else has it")
				} else {
					assert.Equal(t, hub.ReasonShuttingDown, (<-p.ended).Reason)
				}
				_, err = first.publish("new", "")
				requireRefused(t, err, hub.ReasonShuttingDown)
				if !test.before {
					p.pub.Close()
				}
				time.Sleep(2 * time.Second) // as encoders take
				assert.Empty(t, done, "the stream has not moved")
				q, err := second.publish("a", test.query)
				require.NoError(t, err)
				if test.before {
					assert.Equal(t, hub.ReasonReplaced, (<-p.ended).Reason)
				}
				require.NoError(t, q.send(25))
				h := <-done
				want := cluster.Handover{Ended: 1, Moved: 1}
				if test.can {
					want = cluster.Handover{Asked: 1, Moved: 1}
				}
				assert.Equal(t, want, h.Handover)
				assert.True(t, h.ok)
				assert.Less(t, h.took, 3*time.Second)

				first.hub.RefuseNew()
				require.NoError(t, q.send(25))
				time.Sleep(100 * time.Millisecond)
				assert.Equal(t, hub.ReasonNone, viewers[0].ended(), "who watches at the first node stays until it ends")
				first.end()
				assert.Equal(t, hub.ReasonShuttingDown, viewers[0].ended())
				require.NoError(t, q.send(50))
				time.Sleep(time.Second)
				for i, v := range viewers {
					requireUnique(t, v.pictures())
					mine := 0
					for _, text := range v.pictures() {
						if strings.HasPrefix(text, q.text()) {
							mine++
						}
					}
					if i == 0 {
						assert.GreaterOrEqual(t, mine, 50, "what the new owner had when the first node ended")
						continue
					}
					assert.Equal(t, hub.ReasonNone, v.ended(), "%d", i)
					assert.Equal(t, 100, mine, "viewer %d", i)
				}
				assert.Len(t, r.engine.Records(), 1)
			})
		})
	}
}

// Nobody waits for what does not move, nor for longer than there is another node, and nothing is done where there is none.
func TestHandOverEnds(t *testing.T) {
	stays := func() bool { return true }
	for _, test := range []struct {
		name    string
		watched bool
		move    func() bool
		prepare func(*rig)
		during  func(*rig)
		want    handed
	}{
		{"nobody publishes", false, nil, nil, nil, handed{ok: true}},
		{"one that is no client's", true, nil, nil, nil, handed{ok: true}},
		{"one that stays", true, stays, nil, nil, handed{cluster.Handover{Asked: 1, Left: 1}, true, 4 * time.Second}},
		{"one that does not come back, with viewers", true, func() bool { return false }, nil, nil,
			handed{cluster.Handover{Ended: 1, Left: 1}, true, 4 * time.Second}},
		{"one that does not come back, without", false, func() bool { return false }, nil, nil, handed{cluster.Handover{Ended: 1}, true, 0}},
		{"the others are silent", true, stays, func(r *rig) {
			r.nodes[1].kill()
			r.nodes[2].freeze()
			time.Sleep(2 * time.Second)
		}, nil, handed{}},
		{"the others are gone meanwhile", true, stays, nil, func(r *rig) {
			r.nodes[1].end()
			r.nodes[2].end()
		}, handed{cluster.Handover{Asked: 1, Left: 1}, true, 50 * time.Millisecond}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, 3, memory.Config{})
				first := r.nodes[0]
				if test.move != nil || test.watched {
					p, err := first.publishMoving("a", "token=1", test.move)
					require.NoError(t, err)
					require.NoError(t, p.send(5))
				}
				if test.watched {
					first.watch("a")
				}
				if test.prepare != nil {
					test.prepare(r)
				}
				done := first.handOver()
				if test.during != nil {
					test.during(r)
				}
				assert.Equal(t, test.want, <-done)
				assert.Equal(t, test.want.ok, first.hub.RefusesNew(), "a node that is alone has done nothing yet")
			})
		})
	}
}
