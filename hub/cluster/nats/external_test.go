package nats

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub/cluster"
)

// external starts a server as somebody else has one. It ends with the test, or by stop.
func external(t *testing.T, change func(*server.Options)) (address string, stop func()) {
	t.Helper()
	opts := &server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: t.TempDir(),
	}
	change(opts)
	s, err := server.NewServer(opts)
	require.NoError(t, err)
	s.Start()
	stop = func() {
		s.Shutdown()
		s.WaitForShutdown()
	}
	t.Cleanup(stop)
	return s.Addr().String(), stop
}

// withPassword has a server ask for ours.
func withPassword(opts *server.Options) { opts.Username, opts.Password = "us", "p%ss:word" }

const password = "us:p%25ss%3Aword@"

// Two clusters share a server and see nothing of each other.
func TestExternalServer(t *testing.T) {
	address, _ := external(t, withPassword)
	url := "nats://" + password + address
	a, b := start(t, Config{URL: url}), start(t, Config{URL: "nats://127.0.0.1:1," + url, Prefix: "other.one"})
	c := start(t, Config{URL: url})
	usable(t, a, b, c)
	records(t, a, c)
	records(t, b, b)
	messages(t, a, c)
	h := a.Health()
	assert.Equal(t, 1, h.Voters)
	assert.Equal(t, 1, h.Reachable)
	assert.NotEmpty(t, h.Leader)

	ctx, k := soon(t), key(t)
	_, err := a.Create(ctx, k, []byte("ours"))
	require.NoError(t, err)
	_, err = b.Get(ctx, k)
	assert.ErrorIs(t, err, cluster.ErrNone)
	stop, err := b.Answer("node.ours", func([]byte) []byte { return nil })
	require.NoError(t, err)
	defer stop()
	_, err = a.Ask(ctx, "node.ours", nil)
	assert.ErrorIs(t, err, cluster.ErrNobody)
}

func TestExternalToken(t *testing.T) {
	address, _ := external(t, func(opts *server.Options) { opts.Authorization = "letmein" })
	d := start(t, Config{URL: "nats://letmein@" + address})
	usable(t, d)
	records(t, d, d)
}

// One of several URLs says who this is at all of them.
func TestExternalServers(t *testing.T) {
	address, _ := external(t, withPassword)
	for _, url := range []string{
		"nats://" + password + "127.0.0.1:1,nats://" + address,
		"nats://127.0.0.1:1, nats://" + address + ", nats://" + password + "127.0.0.1:2",
		"nats://no:body@127.0.0.1:1,nats://" + password + address,
	} {
		d := start(t, Config{URL: url})
		usable(t, d)
		records(t, d, d)
	}
}

// Who is refused is told so, and nothing of what it has shown; it goes on trying.
func TestExternalWrongPassword(t *testing.T) {
	address, _ := external(t, withPassword)
	var log lines
	d := start(t, Config{URL: "nats://us:wrongword@" + address, Logger: log.logger()})
	until(t, "the reason", func() bool { return strings.Contains(strings.ToLower(d.Health().Detail), "authorization") })
	h := d.Health()
	assert.False(t, h.Connected)
	assert.False(t, h.Writable)
	assert.NotContains(t, h.Detail, "wrongword")
	assert.NotContains(t, log.String(), "wrongword")
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	_, err := d.Get(ctx, key(t))
	assert.ErrorIs(t, err, cluster.ErrMute)
	_, err = d.Ask(ctx, "node.x", nil)
	assert.ErrorIs(t, err, cluster.ErrMute)
	assert.ErrorIs(t, d.Send("news", nil), cluster.ErrMute)
}

// A server comes late, goes and comes back: nobody has to do anything, and who listens still does.
func TestExternalServerComesBack(t *testing.T) {
	address := addresses(t, 1)[0]
	dir := t.TempDir()
	run := func() (stop func()) {
		_, stop = external(t, func(opts *server.Options) {
			withPassword(opts)
			opts.StoreDir = dir
			opts.Port = portOf(t, address)
		})
		return stop
	}
	d := start(t, Config{URL: "nats://" + password + address})
	heard := make(chan string, 1024)
	end, err := d.Listen("news", func(data []byte) { heard <- string(data) })
	require.NoError(t, err)
	defer end()
	assert.False(t, d.Health().Connected)
	for range 2 {
		stop := run()
		usable(t, d)
		records(t, d, d)
		until(t, "news", func() bool { return d.Send("news", []byte("x")) == nil && len(heard) > 0 })
		for len(heard) > 0 {
			<-heard
		}
		stop()
		until(t, "gone", func() bool { return !d.Health().Connected })
		began := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		_, err = d.Create(ctx, key(t), nil)
		cancel()
		assert.ErrorIs(t, err, cluster.ErrMute)
		assert.Less(t, time.Since(began), patience/2)
	}
}
