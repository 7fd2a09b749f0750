package relay

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub"
)

// nowhere is a Sink that counts.
type nowhere struct {
	ended chan struct{}
	tags  *atomic.Int64
}

func (nowhere) Shape() flv.Shape            { return flv.Shape{} }
func (nowhere) Takes(flv.Codec) bool        { return true }
func (nowhere) Unacknowledged() (int, bool) { return 0, true }
func (nowhere) Moved() <-chan Move          { return nil }
func (s nowhere) Ended() <-chan struct{}    { return s.ended }
func (nowhere) Err() error                  { return nil }
func (nowhere) Remote() string              { return "nowhere" }
func (nowhere) Close() error                { return nil }
func (nowhere) Abort()                      {}

func (s nowhere) WriteTags(tags []flv.Tag) error {
	s.tags.Add(int64(len(tags)))
	return nil
}

// pushNowhere pushes a stream to so many targets, until stop is called. write writes one packet.
func pushNowhere(t testing.TB, targets int) (written *atomic.Int64, write func(key bool), stop func()) {
	h := hub.New(hub.Config{})
	p, err := h.Publish(h.NewSession(hub.RolePublish, pushKey, hub.Client{}), hub.PublishOptions{})
	require.NoError(t, err)
	written = new(atomic.Int64)
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for range targets {
		push := newPush(pushConfig{
			Hub: h, Key: pushKey, Hold: time.Minute,
			Send: func(context.Context, Sending) (Sink, error) { return nowhere{make(chan struct{}), written}, nil },
		})
		all.Go(func() { push.run(ctx) })
	}
	at, body := uint32(0), make([]byte, 2600)
	write = func(key bool) {
		copy(body, []byte{0x27, 1, 0, 0, 0})
		if key {
			body[0] = 0x17
		}
		at += 20
		require.NoError(t, p.Write(flv.Tag{Type: flv.TypeVideo, Timestamp: at, Data: body}))
	}
	require.NoError(t, p.Write(flv.Tag{Type: flv.TypeVideo, Data: append([]byte{0x17, 0, 0, 0, 0}, "header"...)}))
	return written, write, func() {
		cancel()
		all.Wait()
		p.Close()
		require.NoError(t, h.Shutdown(context.Background()))
	}
}

// A packet to 20 targets, from the publisher to the last of them.
func BenchmarkPush(b *testing.B) {
	const targets = 20
	written, write, stop := pushNowhere(b, targets)
	defer stop()
	n := 0
	next := func() {
		write(n%100 == 0)
		n++
	}
	for range 200 {
		next()
		time.Sleep(time.Millisecond)
	}
	b.ReportAllocs()
	for b.Loop() {
		want := written.Load() + targets
		next()
		for written.Load() < want {
			runtime.Gosched()
		}
	}
}

// A push that has nothing to do takes a few KB.
func TestPushMemory(t *testing.T) {
	const targets = 500
	memory := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	before := memory()
	written, write, stop := pushNowhere(t, targets)
	defer stop()
	write(true)
	for written.Load() < targets*3 { // metadata, header and picture
		time.Sleep(10 * time.Millisecond)
		write(false)
	}
	each := uint64(0)
	assert.Eventually(t, func() bool { // batches go from push to push, and with the collections of garbage
		each = (max(memory(), before) - before) / targets
		return each < 32<<10
	}, 30*time.Second, 50*time.Millisecond, "%d bytes each", each)
	t.Logf("%d bytes each", each)
}
