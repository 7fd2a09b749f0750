package cluster_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub/cluster"
	"sluice/hub/cluster/memory"
)

// states returns the nodes as one of them sees them: those in capitals are silent.
func (n *node) states() string {
	var all []string
	for _, i := range n.cluster.Nodes() {
		name := i.Name
		if i.Silent {
			name = strings.ToUpper(name)
		}
		all = append(all, name)
	}
	return strings.Join(all, " ")
}

// Each node knows the others: which there are, which have died and started again, and what they do.
func TestNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 3, memory.Config{}, func(c *cluster.Config) {
			c.Describe = func() cluster.Description {
				return cluster.Description{Version: strings.Repeat("v", 200), Sessions: 5, Connections: 7, Draining: c.Node == "n2",
					HTTP: "http://" + c.Node, RTMP: "rtmp://" + c.Node + "/secret"}
			}
		})
		p, err := r.nodes[0].publish("a", "")
		require.NoError(t, err)
		sent := p.start(100)
		time.Sleep(500 * time.Millisecond)
		r.nodes[2].watch("a")
		r.nodes[2].watch("none")
		require.NoError(t, <-sent)
		nodes := r.nodes[1].cluster.Nodes()
		require.Len(t, nodes, 3)
		one, two, three := nodes[0], nodes[1], nodes[2]
		assert.Equal(t, []bool{false, true, false}, []bool{one.Self, two.Self, three.Self})
		assert.Equal(t, []bool{false, true, false}, []bool{one.Draining, two.Draining, three.Draining})
		assert.Equal(t, []int{1, 0, 0, 5, 7}, []int{one.Owned, one.Provisional, one.Copied, one.Sessions, one.Connections})
		assert.Equal(t, []int{0, 0, 2}, []int{three.Owned, three.Provisional, three.Copied})
		assert.Len(t, one.Version, 128)
		assert.Equal(t, []string{"http://n1", ""}, []string{one.HTTP, one.RTMP}, "what is no address is dropped")
		assert.Equal(t, "127.0.0.1:1001", one.Media)
		assert.Less(t, one.Clock.Abs(), 10*time.Millisecond)
		assert.Less(t, time.Since(one.Heard), 300*time.Millisecond)
		assert.InDelta(t, 6.5, time.Since(one.Started).Seconds(), .5)
		assert.True(t, r.nodes[1].cluster.Health().Connected)

		owned := r.nodes[0].cluster.Streams()
		require.Len(t, owned, 1)
		assert.Equal(t, key("a"), owned[0].Key)
		assert.True(t, owned[0].Owned && owned[0].Copy == nil && !owned[0].Provisional && owned[0].Epoch == 1)
		copied := r.nodes[2].cluster.Streams()
		require.Len(t, copied, 2)
		assert.Equal(t, []string{"n1", ""}, []string{copied[0].Node, copied[1].Node})
		assert.Equal(t, owned[0].Boot, copied[0].Boot)
		assert.True(t, copied[0].Copy.Copying && !copied[1].Copy.Copying && !copied[0].Owned)
		assert.Empty(t, r.nodes[1].cluster.Streams())

		r.nodes[0].cut()
		r.until("the copy goes on", func() bool { return r.nodes[2].cluster.Figures().Joined == 1 })
		assert.Equal(t, cluster.Figures{Nodes: 3, Copied: 2, Breaks: 1, Joined: 1}, r.nodes[2].cluster.Figures())

		r.nodes[0].kill()
		r.until("it is silent", func() bool { return r.nodes[1].states() == "N1 n2 n3" })
		assert.Equal(t, 1, r.nodes[1].cluster.Figures().Silent)
		again := r.start("n1", 20*time.Second)
		r.until("it is there again", func() bool { return r.nodes[1].states() == "n1 n2 n3" })
		assert.InDelta(t, 20, r.nodes[1].cluster.Nodes()[0].Clock.Seconds(), .1)
		r.until("the copies end", func() bool { return r.nodes[2].cluster.Figures().Copied == 1 })
		assert.Equal(t, uint64(1), r.nodes[2].cluster.Figures().Joined, "sums outlast what they are of")
		assert.Len(t, again.cluster.Nodes(), 3)
	})
}

// An order is done at the node that it names, and nowhere else.
func TestOrders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 3, memory.Config{}, func(c *cluster.Config) {
			if c.Node != "n3" {
				c.Obey = func(order []byte) []byte { return append([]byte(c.Boot+" does "), order...) }
			}
		})
		from := r.nodes[0].cluster
		for node, want := range map[string]string{
			"n1": "0000000000000001 does it", "n2": "0000000000000002 does it", "0000000000000002": "0000000000000002 does it", "n3": "",
		} {
			got, err := from.Order(t.Context(), node, []byte("it"))
			require.NoError(t, err)
			assert.Equal(t, want, string(got), node)
		}
		_, err := from.Order(t.Context(), "n4", nil)
		assert.ErrorIs(t, err, cluster.ErrNobody)
		_, err = from.Order(t.Context(), "n2", make([]byte, cluster.MaxMessage+1))
		assert.ErrorIs(t, err, cluster.ErrLarge)
		r.nodes[1].freeze()
		began := time.Now()
		_, err = from.Order(t.Context(), "n2", nil)
		assert.Error(t, err)
		assert.LessOrEqual(t, time.Since(began), 3*time.Second)
		r.nodes[1].thaw()
	})
}

// words are what all nodes are to have alike: a set, a word a page.
type words struct {
	mu  sync.Mutex
	all []string
}

func (w *words) add(s string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Contains(w.all, s) {
		w.all = append(w.all, s)
	}
}

func (w *words) size() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.all)
}

func (w *words) Digest() (sum uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.all {
		for _, b := range []byte(s) {
			sum += uint64(b)
		}
	}
	return sum
}

func (w *words) Page(after uint64) (data []byte, next uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if after >= uint64(len(w.all)) {
		return nil, 0
	}
	if next = after + 1; next == uint64(len(w.all)) {
		next = 0
	}
	data, _ = json.Marshal(w.all[after])
	return data, next
}

func (w *words) Take(data []byte) error {
	var s string
	if err := json.Unmarshal(data, &s); err != nil {
		return errors.New("no word")
	}
	w.add(s)
	return nil
}

// What all nodes are to have alike comes to all, also to those that were not there.
func TestCommon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := map[string]*words{}
		r := newRig(t, 3, memory.Config{}, func(c *cluster.Config) {
			all[c.Node] = new(words)
			c.Common = all[c.Node]
		})
		say := func(node int, word string) {
			r.nodes[node].cluster.Share([]byte(`"` + word + `"`))
			all[r.nodes[node].name].add(word)
		}
		alike := func(n int) func() bool {
			return func() bool {
				for _, w := range all {
					if w.Digest() != all["n1"].Digest() || w.size() != n {
						return false
					}
				}
				return true
			}
		}
		say(0, "a")
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		assert.True(t, alike(1)(), "it is told at once")
		r.part([]string{"n1"}, []string{"n2", "n3"})
		say(0, "b")
		say(1, "c")
		say(2, "d")
		time.Sleep(10 * time.Second)
		assert.False(t, alike(4)())
		r.heal()
		r.until("all have all", alike(4))
		r.nodes[2].end()
		r.start("n3", 0)
		r.until("one that has started again has all", alike(4))
	})
}
