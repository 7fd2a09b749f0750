package nats

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub/cluster"
)

// patience is for how long a test waits for what has to happen; nothing is measured by it.
const patience = 60 * time.Second

// until waits for a condition.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	require.Eventually(t, is, patience, 20*time.Millisecond, what)
}

// logger writes into nothing, or with SLUICE_TEST_LOG=1 to where one can see it.
func logger(t *testing.T) *slog.Logger {
	if os.Getenv("SLUICE_TEST_LOG") == "" {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("test", t.Name())
}

// addresses returns HOST:PORT that nobody listens on. The system gives them to nobody by itself, and addresses to nobody again:
// nodes come back to theirs.
func addresses(t *testing.T, n int) (all []string) {
	t.Helper()
	for range 1000 {
		if len(all) == n {
			return all
		}
		address := "127.0.0.1:" + strconv.Itoa(5_000+rand.IntN(5_000))
		if _, known := addressesGiven.LoadOrStore(address, true); known {
			continue
		}
		if l, err := net.Listen("tcp", address); err == nil {
			l.Close()
			all = append(all, address)
		}
	}
	t.Fatal("no port is free")
	return nil
}

// addressesGiven are those that tests were given.
var addressesGiven sync.Map

func portOf(t *testing.T, address string) int {
	t.Helper()
	_, port, err := net.SplitHostPort(address)
	require.NoError(t, err)
	number, err := strconv.Atoi(port)
	require.NoError(t, err)
	return number
}

// start starts a node, which ends with the test.
func start(t *testing.T, cfg Config) *Directory {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = logger(t)
	}
	d, err := New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { stop(t, d) })
	return d
}

func stop(t *testing.T, d *Directory) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	assert.NoError(t, d.Close(ctx))
}

// usable waits until records can be written at all nodes, and all of them are connected.
func usable(t *testing.T, nodes ...*Directory) {
	t.Helper()
	until(t, "usable", func() bool {
		return !slices.ContainsFunc(nodes, func(d *Directory) bool {
			h := d.Health()
			return !h.Connected || !h.Writable || h.Detail != ""
		})
	})
}

// key returns one that no other test has.
func key(t *testing.T) string {
	t.Helper()
	keys.Lock()
	defer keys.Unlock()
	keys.n++
	return "s.test-" + string(rune('a'+keys.n/26)) + string(rune('a'+keys.n%26))
}

var keys struct {
	sync.Mutex
	n int
}

func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// records goes through all that can be done with one, at any two nodes.
func records(t *testing.T, a, b *Directory) {
	t.Helper()
	ctx, k := soon(t), key(t)
	_, err := b.Get(ctx, k)
	require.ErrorIs(t, err, cluster.ErrNone)
	first, err := a.Create(ctx, k, []byte("one"))
	require.NoError(t, err)
	got, err := b.Get(ctx, k)
	require.NoError(t, err)
	require.Equal(t, cluster.Entry{Key: k, Value: []byte("one"), Revision: first}, got)
	_, err = b.Create(ctx, k, []byte("two"))
	require.ErrorIs(t, err, cluster.ErrConflict)
	second, err := b.Update(ctx, k, []byte("two"), first)
	require.NoError(t, err)
	require.Greater(t, second, first)
	_, err = a.Update(ctx, k, []byte("three"), first)
	require.ErrorIs(t, err, cluster.ErrConflict)
	require.ErrorIs(t, a.Delete(ctx, k, first), cluster.ErrConflict)
	all, err := a.List(ctx)
	require.NoError(t, err)
	require.Contains(t, all, cluster.Entry{Key: k, Value: []byte("two"), Revision: second})
	require.NoError(t, a.Delete(ctx, k, second))
	_, err = b.Get(ctx, k)
	require.ErrorIs(t, err, cluster.ErrNone)
	_, err = b.Update(ctx, k, nil, second)
	require.ErrorIs(t, err, cluster.ErrConflict)
	// Where the one that decides has just gone, a list may be of a moment before.
	until(t, "the list is without what was deleted", func() bool {
		all, err = b.List(ctx)
		return err == nil && !slices.ContainsFunc(all, func(e cluster.Entry) bool { return e.Key == k })
	})
	third, err := b.Create(ctx, k, []byte("four"))
	require.NoError(t, err)
	require.Greater(t, third, second)
	require.NoError(t, a.Delete(ctx, k, third))
}

// messages sends and asks from each node to each.
func messages(t *testing.T, nodes ...*Directory) {
	t.Helper()
	for i, to := range nodes {
		heard := make(chan string, 64)
		stop, err := to.Listen("news", func(data []byte) { heard <- string(data) })
		require.NoError(t, err)
		name := "node." + string(rune('a'+i))
		end, err := to.Answer(name, func(data []byte) []byte { return append([]byte("re: "), data...) })
		require.NoError(t, err)
		for _, from := range nodes {
			until(t, "an answer", func() bool {
				answer, err := from.Ask(soon(t), name, []byte("you?"))
				return err == nil && string(answer) == "re: you?"
			})
			require.NoError(t, from.Send("news", []byte("hello")))
			require.Equal(t, "hello", <-heard)
		}
		stop()
		end()
		for _, from := range nodes {
			until(t, "nobody", func() bool {
				// A question that was on its way when the answerer left has no answer.
				ctx, cancel := context.WithTimeout(context.Background(), oneTry)
				defer cancel()
				_, err := from.Ask(ctx, name, nil)
				return errors.Is(err, cluster.ErrNobody)
			})
		}
	}
}
