package memory

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub/cluster"
)

// rig is an engine with nodes a, b, c, … in a bubble.
type rig struct {
	*Engine
	t     *testing.T
	nodes []*Node
}

// inBubble runs f with so many nodes.
func inBubble(t *testing.T, cfg Config, nodes int, f func(*testing.T, *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{Engine: New(cfg), t: t}
		for i := range nodes {
			r.nodes = append(r.nodes, r.Join(string(rune('a'+i))))
		}
		defer func() {
			for _, n := range r.nodes {
				assert.NoError(t, n.Close(context.Background()))
			}
		}()
		f(t, r)
	})
}

// try makes a call with a context of a second, and returns how long it took.
func (r *rig) try(f func(context.Context) error) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	began := time.Now()
	err := f(ctx)
	return time.Since(began), err
}

// mute asserts that node i gets no answer, when its context ends.
func (r *rig) mute(i int) {
	r.t.Helper()
	for name, f := range map[string]func(context.Context) error{
		"Get":    func(ctx context.Context) error { _, err := r.nodes[i].Get(ctx, "mute"); return err },
		"Create": func(ctx context.Context) error { _, err := r.nodes[i].Create(ctx, "mute", nil); return err },
		"Update": func(ctx context.Context) error { _, err := r.nodes[i].Update(ctx, "mute", nil, 1); return err },
		"Delete": func(ctx context.Context) error { return r.nodes[i].Delete(ctx, "mute", 1) },
		"List":   func(ctx context.Context) error { _, err := r.nodes[i].List(ctx); return err },
	} {
		took, err := r.try(f)
		assert.ErrorIs(r.t, err, cluster.ErrMute, name)
		assert.ErrorIs(r.t, err, context.DeadlineExceeded, name)
		assert.Equal(r.t, time.Second, took, name)
	}
	assert.NotContains(r.t, r.Records(), "mute")
	h := r.nodes[i].Health()
	assert.False(r.t, h.Writable)
	assert.Empty(r.t, h.Leader)
	assert.NotEmpty(r.t, h.Detail)
}

// writes asserts that node i has records at once.
func (r *rig) writes(i int) {
	r.t.Helper()
	took, err := r.try(func(ctx context.Context) error {
		revision, err := r.nodes[i].Create(ctx, "written", nil)
		if err != nil {
			return err
		}
		return r.nodes[i].Delete(ctx, "written", revision)
	})
	assert.NoError(r.t, err)
	assert.Zero(r.t, took)
	h := r.nodes[i].Health()
	assert.True(r.t, h.Writable)
	assert.NotEmpty(r.t, h.Leader)
	assert.Empty(r.t, h.Detail)
}

// heard has all nodes listen, and returns which of them hear one that sends.
func (r *rig) heard(from int) []int {
	r.t.Helper()
	var mu sync.Mutex
	var got []int
	for i, n := range r.nodes {
		stop, err := n.Listen("heard", func([]byte) {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, i)
		})
		if err == nil {
			defer stop()
		}
	}
	_ = r.nodes[from].Send("heard", nil)
	time.Sleep(time.Minute)
	synctest.Wait()
	mu.Lock()
	defer mu.Unlock()
	slices.Sort(got)
	return got
}

// answers has node i answer with its name.
func (r *rig) answers(i int) {
	r.t.Helper()
	_, err := r.nodes[i].Answer("who."+r.nodes[i].Name(), func([]byte) []byte { return []byte(r.nodes[i].Name()) })
	require.NoError(r.t, err)
}

// ask asks node i from another.
func (r *rig) ask(from, i int) (time.Duration, error) {
	return r.try(func(ctx context.Context) error {
		answer, err := r.nodes[from].Ask(ctx, "who."+r.nodes[i].Name(), nil)
		if err == nil {
			assert.Equal(r.t, r.nodes[i].Name(), string(answer))
		}
		return err
	})
}

func TestPartition(t *testing.T) {
	inBubble(t, Config{}, 4, func(t *testing.T, r *rig) {
		for i := range r.nodes {
			r.answers(i)
			r.writes(i)
			h := r.nodes[i].Health()
			assert.Equal(t, "a", h.Leader)
			assert.Equal(t, 3, h.Voters)
			assert.Equal(t, 3, h.Reachable)
		}
		r.Part([]string{"a", "d"}, []string{"b", "c"}) // d has no vote
		r.mute(0)
		r.mute(3)
		r.writes(1)
		r.writes(2)
		assert.Equal(t, "b", r.nodes[2].Health().Leader)
		assert.Equal(t, 2, r.nodes[2].Health().Reachable)
		assert.Equal(t, 1, r.nodes[3].Health().Reachable)
		assert.Equal(t, []int{0, 3}, r.heard(0))
		assert.Equal(t, []int{1, 2}, r.heard(2))
		_, err := r.ask(0, 3)
		assert.NoError(t, err)
		took, err := r.ask(0, 1)
		assert.ErrorIs(t, err, cluster.ErrNobody)
		assert.Zero(t, took)

		r.Part([]string{"c"}) // the others are together
		r.mute(2)
		r.writes(3)

		r.Part([]string{"a"}, []string{"b"}, []string{"c"})
		for i := range r.nodes {
			r.mute(i)
		}
		r.Heal()
		for i := range r.nodes {
			r.writes(i)
		}
		assert.Equal(t, []int{0, 1, 2, 3}, r.heard(3))
	})
}

func TestPartitionIsNoticedLater(t *testing.T) {
	inBubble(t, Config{Notice: 3 * time.Second}, 3, func(t *testing.T, r *rig) {
		r.answers(1)
		r.Part([]string{"a"})
		for range 3 {
			took, err := r.ask(0, 1)
			assert.ErrorIs(t, err, cluster.ErrMute)
			assert.Equal(t, time.Second, took)
		}
		took, err := r.ask(0, 1)
		assert.ErrorIs(t, err, cluster.ErrNobody)
		assert.Zero(t, took)
		r.Heal()
		_, err = r.ask(0, 1)
		assert.NoError(t, err)
	})
}

func TestMute(t *testing.T) {
	inBubble(t, Config{}, 3, func(t *testing.T, r *rig) {
		r.answers(1)
		r.Mute(true)
		r.mute(0)
		r.mute(1)
		assert.Equal(t, []int{0, 1, 2}, r.heard(0))
		_, err := r.ask(0, 1)
		assert.NoError(t, err)
		// A call that hangs goes on hanging.
		go func() {
			time.Sleep(time.Second / 2)
			r.Mute(false)
		}()
		took, err := r.try(func(ctx context.Context) error { _, err := r.nodes[0].Create(ctx, "x", nil); return err })
		assert.ErrorIs(t, err, cluster.ErrMute)
		assert.Equal(t, time.Second, took)
		assert.Empty(t, r.Records())
		r.writes(0)
	})
}

func TestGone(t *testing.T) {
	inBubble(t, Config{Outside: true}, 2, func(t *testing.T, r *rig) {
		r.answers(1)
		r.writes(0)
		time.Sleep(time.Hour)
		r.Gone(true)
		gone := time.Now()
		r.mute(0)
		assert.Empty(t, r.heard(0))
		took, err := r.ask(0, 1)
		assert.ErrorIs(t, err, cluster.ErrMute)
		assert.Equal(t, time.Second, took)
		h := r.nodes[0].Health()
		assert.False(t, h.Connected)
		assert.Equal(t, gone, h.Since)
		r.Gone(false)
		r.writes(0)
		assert.True(t, r.nodes[0].Health().Connected)
		assert.NotEqual(t, gone, r.nodes[0].Health().Since)
		_, err = r.ask(0, 1)
		assert.NoError(t, err)

		r.Part([]string{"b"}, []string{"a"}) // a does not see the server
		r.mute(0)
		r.writes(1)
		assert.False(t, r.nodes[0].Health().Connected)
	})
}

func TestFreeze(t *testing.T) {
	inBubble(t, Config{}, 3, func(t *testing.T, r *rig) {
		r.answers(1)
		var got []string
		_, err := r.nodes[1].Listen("news", func(data []byte) { got = append(got, string(data)) })
		require.NoError(t, err)
		require.NoError(t, r.nodes[0].Send("news", []byte("before")))
		synctest.Wait()

		r.Freeze("b")
		var returned []string
		for name, f := range map[string]func() error{
			"Get":  func() error { _, err := r.nodes[1].Get(context.Background(), "x"); return ignore(err, cluster.ErrNone) },
			"Send": func() error { return r.nodes[1].Send("news", []byte("own")) },
			"Ask": func() error {
				_, err := r.nodes[1].Ask(context.Background(), "nobody", nil)
				return ignore(err, cluster.ErrNobody)
			},
			"Health": func() error { r.nodes[1].Health(); return nil },
			// The time of its context runs on meanwhile.
			"late": func() error {
				_, err := r.try(func(ctx context.Context) error { _, err := r.nodes[1].Get(ctx, "x"); return err })
				return ignore(err, cluster.ErrMute)
			},
		} {
			go func() {
				err := f()
				assert.NoError(t, err, name)
				r.mu.Lock()
				defer r.mu.Unlock()
				returned = append(returned, name)
			}()
		}
		for i := range 3 {
			require.NoError(t, r.nodes[0].Send("news", []byte(fmt.Sprint(i))))
		}
		took, err := r.ask(0, 1)
		assert.ErrorIs(t, err, cluster.ErrMute)
		assert.Equal(t, time.Second, took)
		r.writes(0) // two of three are awake
		assert.Equal(t, 2, r.nodes[0].Health().Reachable)
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Empty(t, returned)
		assert.Equal(t, []string{"before"}, got)
		r.Freeze("c")
		r.mute(0)

		r.Thaw()
		synctest.Wait()
		assert.ElementsMatch(t, []string{"Get", "Send", "Ask", "Health", "late"}, returned)
		require.Len(t, got, 5)
		assert.Equal(t, []string{"before", "0", "1", "2"}, slices.DeleteFunc(got, func(text string) bool { return text == "own" }))
		_, err = r.ask(0, 1)
		assert.NoError(t, err)
	})
}

// ignore returns nil for the error that is wanted.
func ignore(err, wanted error) error {
	if errors.Is(err, wanted) {
		return nil
	}
	return fmt.Errorf("instead of %w: %w", wanted, err)
}

// A call that is under way has its effect, and its node learns of it when it is awake again.
func TestFreezeUnderWay(t *testing.T) {
	inBubble(t, Config{}, 3, func(t *testing.T, r *rig) {
		r.Delay(Delays{Records: Delay{Min: 100 * time.Millisecond}})
		began := time.Now()
		var took time.Duration
		go func() {
			_, err := r.nodes[2].Create(context.Background(), "x", nil)
			assert.NoError(t, err)
			took = time.Since(began)
		}()
		time.Sleep(10 * time.Millisecond)
		r.Freeze("c")
		time.Sleep(time.Second)
		assert.Contains(t, r.Records(), "x")
		assert.Zero(t, took)
		time.Sleep(time.Second)
		r.Thaw("c")
		synctest.Wait()
		assert.Equal(t, 2010*time.Millisecond, took)
	})
}

func TestStop(t *testing.T) {
	inBubble(t, Config{}, 3, func(t *testing.T, r *rig) {
		r.answers(1)
		calls := 0
		_, err := r.nodes[1].Listen("news", func([]byte) { calls++ })
		require.NoError(t, err)
		r.Freeze("b")
		ended := 0
		for range 2 {
			go func() {
				_, err := r.nodes[1].Get(context.Background(), "x")
				assert.ErrorIs(t, err, cluster.ErrMute)
				assert.ErrorIs(t, err, net.ErrClosed)
				r.mu.Lock()
				defer r.mu.Unlock()
				ended++
			}()
			require.NoError(t, r.nodes[0].Send("news", nil))
			synctest.Wait()
			assert.Zero(t, ended)
		}
		r.Stop("b", "nobody")
		synctest.Wait()
		assert.Equal(t, 2, ended)
		assert.Zero(t, calls)
		took, err := r.ask(0, 1)
		assert.ErrorIs(t, err, cluster.ErrNobody)
		assert.Zero(t, took)
		assert.ErrorIs(t, r.nodes[1].Send("news", nil), net.ErrClosed)
		assert.False(t, r.nodes[1].Health().Connected)
		r.writes(0)
		r.Stop("a") // of three voters one is left
		r.mute(2)

		// It comes back, as another process.
		old := r.nodes[1]
		r.nodes[1] = r.Join("b")
		r.writes(2)
		r.answers(1)
		_, err = r.ask(2, 1)
		assert.NoError(t, err)
		require.NoError(t, old.Close(context.Background()))
		_, err = r.ask(2, 1)
		assert.NoError(t, err)
		old = r.nodes[1]
		r.nodes[1] = r.Join("b") // and again, without having been stopped
		_, err = old.Get(context.Background(), "x")
		assert.ErrorIs(t, err, net.ErrClosed)
	})
}

func TestElection(t *testing.T) {
	inBubble(t, Config{Election: Delay{Min: 6 * time.Second}}, 3, func(t *testing.T, r *rig) {
		r.writes(2)
		r.Stop("c") // a follower
		r.nodes[2] = r.Join("c")
		r.writes(1)
		for name, fault := range map[string]func(leader string){
			"stopped": func(leader string) { r.Stop(leader) },
			"frozen":  func(leader string) { r.Freeze(leader) },
			"parted":  func(leader string) { r.Part([]string{leader}) },
		} {
			before := r.nodes[0].Health().Leader
			leader := slices.IndexFunc(r.nodes, func(n *Node) bool { return n.Name() == before })
			fault(before)
			other := (leader + 1) % 3
			r.mute(other) // these are five calls of a second each
			time.Sleep(time.Second)
			r.writes(other)
			assert.NotEqual(t, before, r.nodes[other].Health().Leader, name)
			r.Thaw()
			r.Heal()
			if name == "stopped" {
				r.nodes[leader] = r.Join(before)
			}
			r.writes(leader) // it has come back as one that follows
		}
	})
}

func TestDelays(t *testing.T) {
	inBubble(t, Config{Seed: 3}, 3, func(t *testing.T, r *rig) {
		r.answers(1)
		ms := time.Millisecond
		r.Delay(Delays{Records: Delay{20 * ms, 40 * ms}, Messages: Delay{5 * ms, 100 * ms}})
		for range 50 {
			took, err := r.try(func(ctx context.Context) error { _, err := r.nodes[0].List(ctx); return err })
			assert.NoError(t, err)
			assert.True(t, took >= 20*ms && took <= 40*ms, took)
			assert.Equal(t, took, r.nodes[0].Health().Roundtrip)
			took, err = r.ask(0, 1)
			assert.NoError(t, err)
			assert.True(t, took >= 10*ms && took <= 200*ms, took)
		}
		// A context that ends on the way there keeps the call from having its effect.
		ctx, cancel := context.WithTimeout(context.Background(), 9*ms)
		_, err := r.nodes[0].Create(ctx, "x", nil)
		cancel()
		assert.ErrorIs(t, err, cluster.ErrMute)
		assert.Empty(t, r.Records())
		// On the way back it has had it.
		r.Delay(Delays{Records: Delay{Min: 20 * ms}, Messages: Delay{5 * ms, 100 * ms}})
		ctx, cancel = context.WithTimeout(context.Background(), 15*ms)
		_, err = r.nodes[0].Create(ctx, "x", nil)
		cancel()
		assert.ErrorIs(t, err, cluster.ErrMute)
		assert.Contains(t, r.Records(), "x")

		var got []string
		var times []time.Duration
		began := time.Now()
		_, err = r.nodes[2].Listen("news", func(data []byte) {
			got = append(got, string(data))
			times = append(times, time.Since(began))
		})
		require.NoError(t, err)
		for j := range 40 {
			for i := range 2 {
				require.NoError(t, r.nodes[i].Send("news", []byte(fmt.Sprint(i, " ", j))))
			}
		}
		time.Sleep(101 * ms)
		synctest.Wait()
		require.Len(t, got, 80)
		assert.True(t, slices.IsSorted(times))
		assert.GreaterOrEqual(t, times[0], 5*ms)
		assert.LessOrEqual(t, times[79], 100*ms)
		next := [2]int{}
		mixed := false
		for at, text := range got {
			var i, j int
			_, err := fmt.Sscan(text, &i, &j)
			require.NoError(t, err)
			require.Equal(t, next[i], j, "those of one sender are in order")
			next[i]++
			mixed = mixed || at%2 != i
		}
		assert.True(t, mixed, "those of two are not")
	})
}

func TestLose(t *testing.T) {
	inBubble(t, Config{Seed: 1}, 2, func(t *testing.T, r *rig) {
		r.answers(1)
		r.Lose(0.25)
		own, other := 0, 0
		_, err := r.nodes[0].Listen("news", func([]byte) { own++ })
		require.NoError(t, err)
		_, err = r.nodes[1].Listen("news", func([]byte) { other++ })
		require.NoError(t, err)
		unanswered := 0
		for range 1000 {
			require.NoError(t, r.nodes[0].Send("news", nil))
			if _, err := r.ask(0, 1); err != nil {
				assert.ErrorIs(t, err, cluster.ErrMute)
				unanswered++
			}
		}
		synctest.Wait()
		assert.Equal(t, 1000, own)
		assert.InDelta(t, 750, other, 60)
		assert.InDelta(t, 1000*(1-0.75*0.75), unanswered, 60)
		r.Lose(0)
		for range 100 {
			_, err := r.ask(0, 1)
			assert.NoError(t, err)
		}
	})
}

func TestDoubt(t *testing.T) {
	inBubble(t, Config{Seed: 1}, 1, func(t *testing.T, r *rig) {
		r.Doubt(0.25)
		doubtful := 0
		for i := range 400 {
			key := fmt.Sprint(i)
			took, err := r.try(func(ctx context.Context) error { _, err := r.nodes[0].Create(ctx, key, nil); return err })
			if err != nil {
				assert.ErrorIs(t, err, cluster.ErrMute)
				assert.Equal(t, time.Second, took)
				doubtful++
			}
		}
		assert.Len(t, r.Records(), 400)
		assert.InDelta(t, 100, doubtful, 40)
	})
}

// What nobody could make is made when somebody can, in the order in which it is due, and as far as it
// still fits.
func TestLate(t *testing.T) {
	inBubble(t, Config{}, 3, func(t *testing.T, r *rig) {
		r.Late(1, Delay{Min: 10 * time.Second})
		r.Mute(true)
		for _, value := range []string{"first", "second"} {
			_, err := r.try(func(ctx context.Context) error { _, err := r.nodes[0].Create(ctx, "x", []byte(value)); return err })
			assert.ErrorIs(t, err, cluster.ErrMute)
		}
		r.Stop("a")
		time.Sleep(5 * time.Second)
		r.Mute(false)
		assert.Empty(t, r.Records())
		time.Sleep(5 * time.Second)
		assert.Equal(t, "first", string(r.Records()["x"].Value))
		assert.EqualValues(t, 1, r.Changes())
		r.Mute(true)
		_, err := r.try(func(ctx context.Context) error { return r.nodes[1].Delete(ctx, "x", 1) })
		assert.ErrorIs(t, err, cluster.ErrMute)
		time.Sleep(time.Minute)
		assert.Contains(t, r.Records(), "x")
		r.Mute(false)
		assert.NotContains(t, r.Records(), "x")
	})
}
