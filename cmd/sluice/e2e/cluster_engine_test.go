//go:build unix

package e2e

import (
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// engine is a NATS that is there already.
type engine struct {
	t       *testing.T
	address string
	dir     string
	srv     *natsserver.Server // nil while it is away
}

// startEngine starts one until the test ends.
func startEngine(t *testing.T) *engine {
	t.Helper()
	e := &engine{t: t, address: quietAddress(t), dir: t.TempDir()}
	t.Cleanup(e.stop)
	e.start()
	return e
}

func (e *engine) start() {
	e.t.Helper()
	_, port, err := net.SplitHostPort(e.address)
	require.NoError(e.t, err)
	number, err := strconv.Atoi(port)
	require.NoError(e.t, err)
	e.srv, err = natsserver.NewServer(&natsserver.Options{
		Host: "127.0.0.1", Port: number, NoSigs: true, NoLog: true, JetStream: true, StoreDir: e.dir,
		Username: "us", Password: "a password of ours",
	})
	require.NoError(e.t, err)
	e.srv.Start()
}

// stop takes it away, with its records: they are in memory.
func (e *engine) stop() {
	if e.srv != nil {
		e.srv.Shutdown()
		e.srv.WaitForShutdown()
		e.srv = nil
	}
}

// All of the engine is lost, with its records: streams go on, the names of those that run are kept, and new ones are taken.
// When it is back all of it is settled: each name has the owner that it had, and for who has taken one at two nodes one of
// the two stays.
func TestClusterWithoutItsEngine(t *testing.T) {
	t.Parallel()
	nats := startEngine(t)
	c := &nodes{t: t, all: make([]*server, 3)}
	url := "SLUICE_NATS_URL=nats://us:a%20password%20of%20ours@" + nats.address
	c.external = append(c.external, url, "SLUICE_CLUSTER_SECRET=a secret of all nodes", "SLUICE_NATS_PREFIX=test")
	c.begin()
	c.usable()
	e := mustEncode(t, c.all[0], "live/runs", 1)
	all := watchAt(t, "live/runs", 2, c.all...)
	all.see(t, e)
	nats.stop()
	for _, s := range c.all {
		until(t, "the engine is gone", func() bool { return strings.Contains(s.said.String(), `"cluster: this node is alone"`) })
	}
	lost := time.Now()
	_, err := encode(t, c.all[1], "live/runs", 2)
	assert.Equal(t, badName, statusCode(err), "its media come here")
	next := mustEncode(t, c.all[1], "live/new", 1)
	t.Logf("a new name was let in after %v", next.began.Sub(lost))
	mine := watchAt(t, "live/new", 2, c.all[1])
	both := [2]*encoder{mustEncode(t, c.all[0], "live/both", 1), mustEncode(t, c.all[2], "live/both", 2)}
	watched := watchAt(t, "live/both", 2, c.all[0], c.all[2]) // each sees what there is at its node
	mine.see(t, next)
	all.see(t, e)
	least := time.Duration(times(t, "AWAY", 3)) * time.Second
	for time.Since(lost) < least { // which may be longer than anything else is waited for
		all.see(t, e)
		mine.see(t, next)
		time.Sleep(min(time.Second, max(0, least-time.Since(lost))))
	}
	all.see(t, e)
	nats.start()
	c.usable()
	everywhere := watchAt(t, "live/new", 2, c.all...)
	everywhere.see(t, next)
	until(t, "one of two publishers is left", func() bool { return both[0].isDone() != both[1].isDone() })
	kept, gone := both[0], both[1]
	if kept.isDone() {
		kept, gone = gone, kept
	}
	assert.Equal(t, badName, statusCode(gone.err), "%v", gone.err)
	for _, w := range watched {
		until(t, "all see the one that is left", func() bool { return w.lastFrom(kept) > 0 })
		assert.True(t, w.running(), w.what)
	}
	_, err = encode(t, c.all[2], "live/runs", 2)
	assert.Equal(t, badName, statusCode(err), "its record was made anew")
	all.see(t, e)
	all.whole(t)
	mine.whole(t)
	for _, s := range c.all {
		assert.NotContains(t, s.said.String(), "password", "secrets are not told")
	}
}
