package replica

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub"
	"sluice/hub/cluster"
)

const (
	boot        = "0123456789abcdef" // of the server
	asker       = "fedcba9876543210"
	incarnation = "00112233445566aa"
	secret      = "the secret of the cluster"
)

var demo = hub.Key{App: "live", Name: "demo"}

// at returns a position in the first epoch.
func at(number uint64) cluster.Position {
	return cluster.Position{Incarnation: incarnation, Epoch: 1, Number: number}
}

// log is a stream that everybody is given, from the items on that are asked for.
type log struct {
	mu    sync.Mutex
	items []cluster.Item
	end   *cluster.Ended
	news  chan struct{} // closed, and made anew, when there is more
	err   error         // instead of the stream
	start func(*cluster.Start)
	wait  chan struct{} // if not nil, it is not known where the stream begins until it is closed
	open  int
}

func newLog(items ...cluster.Item) *log { return &log{items: items, news: make(chan struct{})} }

// add adds items to the stream.
func (l *log) add(items ...cluster.Item) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.items = append(l.items, items...)
	close(l.news)
	l.news = make(chan struct{})
}

// finish ends it.
func (l *log) finish(reason hub.Reason) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end = &cluster.Ended{Reason: reason}
	close(l.news)
	l.news = make(chan struct{})
}

// Serve implements cluster.Streams.
func (l *log) Serve(ctx context.Context, who string, key hub.Key, from *cluster.Position) (cluster.Outflow, error) {
	if l.wait != nil {
		select {
		case <-l.wait:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return nil, l.err
	}
	if who != asker || key != demo {
		return nil, &hub.Refusal{Reason: hub.ReasonNotFound, Detail: "nobody publishes it"}
	}
	o := &outflow{log: l}
	if from != nil {
		o.next = slices.IndexFunc(l.items, func(it cluster.Item) bool { return it.At.Number >= from.Number })
		if o.next < 0 {
			o.next = len(l.items)
		}
	}
	o.start = cluster.Start{At: at(1), Joined: from != nil, Tracks: true, Video: true}
	if o.next < len(l.items) {
		o.start.At, o.start.Time = l.items[o.next].At, l.items[o.next].Time
	} else if from != nil {
		o.start.At = *from
		if n := len(l.items); n > 0 {
			o.start.Time = l.items[n-1].Time
		}
	}
	if l.start != nil {
		l.start(&o.start)
	}
	l.open++
	return o, nil
}

// outflow is a log as one client is given it.
type outflow struct {
	log   *log
	start cluster.Start
	next  int
	once  sync.Once
}

func (o *outflow) Start() cluster.Start { return o.start }

func (o *outflow) Next(ctx context.Context, until time.Time) ([]cluster.Item, error) {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	for {
		o.log.mu.Lock()
		items := slices.Clone(o.log.items[o.next:])
		end, news := o.log.end, o.log.news
		o.log.mu.Unlock()
		o.next += len(items)
		switch {
		case len(items) > 0:
			return items, nil
		case end != nil:
			return nil, end
		}
		select {
		case <-news:
		case <-timer.C:
			return nil, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (o *outflow) Close() {
	o.once.Do(func() {
		o.log.mu.Lock()
		defer o.log.mu.Unlock()
		o.log.open--
	})
}

// listen returns a listener on loopback.
func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return l
}

// serve serves streams until the test ends, and returns where.
func serve(t testing.TB, s *Server) string {
	t.Helper()
	l := listen(t)
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	t.Cleanup(func() {
		assert.NoError(t, s.Close())
		assert.ErrorIs(t, <-ended, net.ErrClosed)
	})
	return l.Addr().String()
}

// serveLog serves a log in the clear.
func serveLog(t testing.TB, l *log) string {
	return serve(t, NewServer(Config{Streams: l, Secret: secret, Node: boot}, nil))
}

// opener returns an Opener of the node that asks.
func opener() *Opener { return &Opener{Secret: secret, Node: asker} }

// open opens a source until the test ends.
func open(t testing.TB, address string, from *cluster.Position) cluster.Source {
	t.Helper()
	s, err := opener().Open(t.Context(), cluster.Opening{Address: address, Boot: boot, Key: demo, From: from})
	require.NoError(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

// isSign reports whether an item says nothing, but that the node is there.
func isSign(it cluster.Item) bool {
	return it.Tag.Type == 0 && !it.Reset && !it.First && it.Lost == 0
}

// read reads n items that say something, whose data is copied.
func read(t testing.TB, s cluster.Source, n int) (items []cluster.Item) {
	t.Helper()
	for len(items) < n {
		it, err := s.Next()
		require.NoError(t, err, "after %d items", len(items))
		if isSign(it) {
			continue
		}
		it.Tag.Data = slices.Clone(it.Tag.Data)
		items = append(items, it)
	}
	return items
}

// readEnd reads to the end, and returns why.
func readEnd(s cluster.Source) error {
	for {
		if _, err := s.Next(); err != nil {
			return err
		}
	}
}

// packet makes a packet of video, with the data that it is to have.
func packet(p cluster.Position, ms int64, data string) cluster.Item {
	return cluster.Item{Tag: flv.Tag{Type: flv.TypeVideo, Timestamp: uint32(ms), Data: []byte(data)}, At: p, Time: ms}
}

// refusedWith checks a refusal's reason.
func refusedWith(t testing.TB, err error, reason hub.Reason, words string) {
	t.Helper()
	var r *hub.Refusal
	if assert.True(t, errors.As(err, &r), "%v", err) {
		assert.Equal(t, reason, r.Reason, r.Detail)
		assert.Contains(t, r.Detail, words)
		assert.NotContains(t, err.Error(), secret)
	}
}

// eventually waits for a condition.
func eventually(t testing.TB, f func() bool) {
	t.Helper()
	require.Eventually(t, f, 20*time.Second, 2*time.Millisecond)
}
