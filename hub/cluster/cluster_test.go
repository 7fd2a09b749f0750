package cluster_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
	"sluice/hub/cluster/memory"
)

// requireUnique requires that no picture came twice.
func requireUnique(t *testing.T, pictures []string) {
	t.Helper()
	seen := make(map[string]bool)
	for _, p := range pictures {
		require.False(t, seen[p], "twice: %s", p)
		seen[p] = true
	}
}

// start sends in the background, and returns a channel with what comes of it.
func (p *publisher) start(pictures int) <-chan error {
	done := make(chan error, 1)
	go func() { done <- p.send(pictures) }()
	return done
}

// A stream that is published at one node is watched at all others, each of which copies it once.
func TestAnyNodeServes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 3, memory.Config{})
		p, err := r.nodes[0].publish("a", "")
		require.NoError(t, err)
		sent := p.start(100)
		time.Sleep(500 * time.Millisecond)
		var viewers []*audience
		for range 20 {
			viewers = append(viewers, r.nodes[1].watch("a"), r.nodes[2].watch("a"))
		}
		require.NoError(t, <-sent)
		time.Sleep(time.Second)
		assert.Equal(t, 2, r.nodes[0].opened)
		for _, v := range viewers {
			require.Len(t, v.pictures(), 100)
			requireUnique(t, v.pictures())
		}
		p.pub.Close()
		for _, v := range viewers {
			<-v.done
			require.Equal(t, hub.ReasonUnpublished, v.ended())
		}
		r.until("the name is free", func() bool { return len(r.engine.Records()) == 0 })
	})
}

// A viewer who comes before the publisher gets the stream wherever that comes.
func TestViewerIsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 3, memory.Config{})
		v := r.nodes[2].watch("a")
		time.Sleep(3 * time.Second)
		p, err := r.nodes[0].publish("a", "")
		require.NoError(t, err)
		require.NoError(t, p.send(50))
		time.Sleep(100 * time.Millisecond)
		assert.Len(t, v.pictures(), 50)
	})
}

// Of two publishers at two nodes exactly one has the name.
func TestTwoPublishers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 3, memory.Config{})
		for range 100 {
			var pubs [2]*publisher
			var errs [2]error
			done := make(chan struct{}, 2)
			for i := range 2 {
				go func() {
					pubs[i], errs[i] = r.nodes[i].publish("a", "")
					done <- struct{}{}
				}()
			}
			<-done
			<-done
			require.True(t, (errs[0] == nil) != (errs[1] == nil), "%v, %v", errs[0], errs[1])
			for i := range 2 {
				if errs[i] != nil {
					requireRefused(t, errs[i], hub.ReasonBusy)
					continue
				}
				pubs[i].pub.Close()
			}
			r.until("the name is free", func() bool { return len(r.engine.Records()) == 0 })
		}
	})
}

// A name that was taken while nothing could be written is taken, though replicas still say that nobody has it.
func TestProvisionalNameIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 3, memory.Config{})
		r.engine.Undecided(true)
		_, err := r.nodes[1].publish("a", "")
		require.NoError(t, err)
		time.Sleep(100 * time.Millisecond)
		_, err = r.nodes[2].publish("a", "")
		requireRefused(t, err, hub.ReasonBusy)
		r.engine.Undecided(false)
		r.until("it is settled", func() bool { return len(r.engine.Records()) == 1 })
	})
}

// While no message comes, a name that is seen to be published stays taken. Its publisher comes back anywhere as soon as
// nothing comes of it.
func TestNameIsKeptWithoutEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 3, memory.Config{})
		p, err := r.nodes[0].publish("a", "token=1")
		require.NoError(t, err)
		sent := p.start(1500)
		viewer := r.nodes[1].watch("a")
		time.Sleep(time.Second)
		r.engine.Gone(true)
		for range 3 {
			time.Sleep(10 * time.Second)
			for _, query := range []string{"", "token=2"} {
				_, err := r.nodes[1].publish("a", query)
				requireRefused(t, err, hub.ReasonBusy)
			}
		}
		require.NoError(t, <-sent)
		began := time.Now()
		q, err := r.nodes[1].publish("a", "token=1")
		require.NoError(t, err)
		assert.Less(t, time.Since(began), 6*time.Second)
		sent = q.start(100)
		r.engine.Gone(false)
		require.NoError(t, <-sent)
		r.until("one of the two is left", func() bool { return len(r.engine.Records()) == 1 && len(p.ended) == 1 })
		assert.Equal(t, hub.ReasonNone, viewer.ended())
		requireUnique(t, viewer.pictures())
	})
}

// A publisher that comes back at another node goes on there, and nobody is ended: neither those who watch at
// the first one nor those at the second or at a third.
func TestPublisherComesBackElsewhere(t *testing.T) {
	for _, how := range []string{"left", "same", "killed", "frozen", "frozen, and nobody decides", "frozen, and nothing is decided", "parted", "stopped"} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, 3, memory.Config{})
				p, err := r.nodes[0].publish("a", "token=1")
				require.NoError(t, err)
				sent := p.start(105)
				time.Sleep(500 * time.Millisecond)
				viewers := []*audience{r.nodes[1].watch("a"), r.nodes[2].watch("a")}
				gone := how == "killed" || how == "stopped"
				if !gone {
					viewers = append(viewers, r.nodes[0].watch("a"))
				}
				require.NoError(t, <-sent)
				time.Sleep(100 * time.Millisecond)
				switch how {
				case "left":
					p.pub.Close()
				case "killed":
					r.nodes[0].kill()
				case "frozen":
					r.nodes[0].freeze()
				case "frozen, and nobody decides":
					r.nodes[0].freeze()
					r.engine.Mute(true)
				case "frozen, and nothing is decided":
					r.nodes[0].freeze()
					r.engine.Undecided(true)
				case "stopped": // as a server that drains does; an encoder takes seconds to come back
					r.nodes[0].hub.RefuseNew()
					p.pub.Close()
					time.Sleep(3 * time.Second)
					r.nodes[0].end()
					time.Sleep(3 * time.Second)
				case "parted":
					r.part([]string{"n1"}, []string{"n2", "n3"})
				}
				q, err := r.nodes[1].publish("a", "token=1")
				require.NoError(t, err)
				require.NoError(t, q.send(100))
				switch how {
				case "frozen", "frozen, and nobody decides", "frozen, and nothing is decided":
					time.Sleep(3 * time.Second)
					assert.True(t, viewers[1].sees(q), "it goes on at the third node")
					r.engine.Mute(false)
					r.engine.Undecided(false)
					time.Sleep(2 * time.Second)
					_ = p.send(1) // what came late
					r.nodes[0].thaw()
					_ = p.send(1)
				case "parted":
					r.heal()
				}
				if !gone && how != "left" {
					r.until("the first one is told", func() bool { return len(p.ended) > 0 })
					assert.Equal(t, hub.ReasonReplaced, (<-p.ended).Reason)
				}
				require.NoError(t, q.send(100))
				time.Sleep(time.Second)
				for i, v := range viewers {
					requireUnique(t, v.pictures())
					assert.Equal(t, hub.ReasonNone, v.ended(), "%d", i)
					mine := 0
					for _, text := range v.pictures() {
						if strings.HasPrefix(text, q.text()) {
							mine++
						}
					}
					if i < 2 {
						assert.Equal(t, 200, mine, "viewer %d", i)
					} else {
						assert.GreaterOrEqual(t, mine, 100, "viewer %d", i)
					}
				}
				assert.Len(t, r.engine.Records(), 1)
			})
		})
	}
}

// The owner is killed, and its publisher comes back at a node that has not copied the stream: it goes on for those who have, in
// numbers behind all that they had.
func TestTakenOverUnseen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 3, memory.Config{})
		first, err := r.nodes[0].publish("a", "")
		require.NoError(t, err)
		v := r.nodes[1].watch("a")
		require.NoError(t, first.send(50))
		r.nodes[0].kill()
		next, err := r.nodes[2].publish("a", "")
		require.NoError(t, err)
		require.NoError(t, next.send(50))
		time.Sleep(time.Second)
		assert.Len(t, v.pictures(), 100)
		requireUnique(t, v.pictures())
		next.pub.Close()
		<-v.done
	})
}
