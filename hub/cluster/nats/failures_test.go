package nats

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub/cluster"
)

// decides has a node be the one that decides on records.
func decides(t *testing.T, d *Directory, node string) {
	t.Helper()
	question, err := json.Marshal(map[string]any{"placement": map[string]string{"preferred": node}})
	require.NoError(t, err)
	until(t, node+" decides", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		i, err := d.bucketInfo(ctx)
		if err == nil && i.Cluster.Leader == node {
			return true
		}
		if err == nil {
			_, err = d.nc.RequestMsgWithContext(ctx, &natsgo.Msg{Subject: apiPrefix + "STREAM.LEADER.STEPDOWN." + d.bucket.stream(), Data: question})
			t.Logf("asked to step down: %v", err)
		}
		return false
	})
}

// writing makes records one after the other while f runs and until one was made after it, and returns the
// longest time from one to the next. None that was made may be lost.
func writing(t *testing.T, d *Directory, f func()) (gap time.Duration) {
	t.Helper()
	prefix := key(t)
	stop, stopped := make(chan struct{}), make(chan struct{})
	var made []string
	go func() {
		defer close(stopped)
		last := time.Now()
		for i := 0; ; i++ {
			k := prefix + "-" + strconv.Itoa(i)
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			_, err := d.Create(ctx, k, []byte("x"))
			cancel()
			switch {
			case err == nil:
				made = append(made, k)
				gap, last = max(gap, time.Since(last)), time.Now()
				select {
				case <-stop:
					return
				case <-time.After(2 * time.Millisecond):
				}
			case !errors.Is(err, cluster.ErrMute):
				assert.NoError(t, err)
				return
			}
		}
	}()
	f()
	close(stop)
	<-stopped
	all, err := d.List(soon(t))
	require.NoError(t, err)
	for _, k := range made {
		if !slices.ContainsFunc(all, func(e cluster.Entry) bool { return e.Key == k }) {
			t.Errorf("%s is lost", k)
		}
	}
	return gap
}

// One cluster, from which one node after the other goes: it starts long before it is usable.
func TestNodesGoAndComeBack(t *testing.T) {
	t.Parallel() // most of it is waiting for others to decide
	nodes, dirs := addresses(t, 3), []string{t.TempDir(), t.TempDir(), t.TempDir()}
	cfg := func(i int) Config {
		return Config{Nodes: nodes, Node: nodes[i], Secret: "together", Dir: dirs[i]}
	}
	kill := child(t, cfg(2))
	a, b := start(t, cfg(0)), start(t, cfg(1))
	usable(t, a, b)
	assert.Equal(t, 3, a.Health().Voters)
	assert.Equal(t, 3, a.Health().Reachable)

	decides(t, a, nodes[0])
	t.Logf("killed, one that follows: no record for %v", writing(t, a, func() {
		kill()
		until(t, "one less", func() bool { return b.Health().Reachable == 2 })
	}))
	assert.True(t, b.Health().Writable)
	assert.Contains(t, b.Health().Detail, nodes[2])
	records(t, a, b)

	kill = child(t, cfg(2))
	usable(t, a, b)
	decides(t, a, nodes[2])
	t.Logf("killed, the one that decides: no record for %v", writing(t, a, func() {
		kill()
		messages(t, a, b)
		until(t, "another one decides", func() bool {
			h := b.Health()
			return h.Writable && h.Leader != nodes[2] && h.Leader != ""
		})
	}))
	records(t, a, b)

	c := start(t, cfg(2))
	usable(t, a, b, c)
	decides(t, a, nodes[2])
	t.Logf("stopped, the one that decides: no record for %v", writing(t, a, func() {
		began := time.Now()
		stop(t, c)
		t.Logf("it took %v", time.Since(began))
	}))
	records(t, a, b)

	// All are gone, and with them the records.
	k := key(t)
	_, err := a.Create(soon(t), k, []byte("x"))
	require.NoError(t, err)
	stop(t, b)
	until(t, "nobody can write", func() bool { h := a.Health(); return !h.Connected && !h.Writable })
	_, err = a.Create(short(t), key(t), nil)
	assert.ErrorIs(t, err, cluster.ErrMute)
	stop(t, a)
	a, b, c = start(t, cfg(0)), start(t, cfg(1)), start(t, cfg(2))
	usable(t, a, b, c)
	_, err = a.Get(soon(t), k)
	assert.ErrorIs(t, err, cluster.ErrNone)
	records(t, a, b)
	messages(t, a, b, c)
}

func short(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}
