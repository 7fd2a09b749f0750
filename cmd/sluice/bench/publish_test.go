package bench

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
)

// noted is a sink that notes what is written when.
type noted struct {
	mu     sync.Mutex
	start  time.Time
	writes []time.Duration
	tags   []flv.Tag
	closed int
	fail   error
}

func (s *noted) WriteTags(tags []flv.Tag) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return s.fail
	}
	s.writes = append(s.writes, time.Since(s.start))
	s.tags = append(s.tags, tags...)
	return nil
}

func (s *noted) Close() error {
	s.closed++
	return nil
}

// publishFor publishes n streams for a time on a fake clock.
func publishFor(t *testing.T, n int, interval, d time.Duration, change func(*publishers)) (*publishers, []*noted) {
	l := builtIn(t)
	ps := &publishers{loop: l, interval: interval}
	var sinks []*noted
	for i := range n {
		s := &noted{start: time.Now()}
		sinks = append(sinks, s)
		ps.list = append(ps.list, &publication{number: i, loop: l, sink: s, times: new(sendTimes)})
	}
	if change != nil {
		change(ps)
	}
	ps.measuring.Store(true)
	ps.run(t.Context())
	time.Sleep(d)
	synctest.Wait()
	ps.close()
	return ps, sinks
}

func TestPublishersKeepTime(t *testing.T) {
	for _, c := range []struct {
		streams  int
		interval time.Duration
	}{{1, 0}, {4, 0}, {40, 0}, {1, 100 * time.Millisecond}, {40, 100 * time.Millisecond}} {
		t.Run(fmt.Sprint(c.streams, c.interval), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const lasts = 20 * time.Second
				ps, sinks := publishFor(t, c.streams, c.interval, lasts, nil)
				assert.Zero(t, ps.lag.most)
				assert.Empty(t, ps.ended)
				for i, s := range sinks {
					start := ps.loop.gop * time.Duration(i) / time.Duration(c.streams)
					assert.Equal(t, start, ps.list[i].start.Sub(s.start), "spread over the GOP")
					assert.Equal(t, 1, s.closed)
					assert.InDelta(t, float64(ps.loop.framesBefore(lasts-start)), float64(len(s.tags)), 10)
					for n, tag := range s.tags {
						want := ps.loop.tag(int64(n))
						require.True(t, tag.Timestamp == want.Timestamp && bytes.Equal(tag.Data, want.Data), "frame %d", n)
					}
					last, ok := ps.list[i].sentAt(int64(len(s.tags) - 1))
					assert.True(t, ok)
					assert.Equal(t, moment(s.start.Add(s.writes[len(s.writes)-1])), last)
					if c.interval == 0 {
						continue
					}
					assert.InDelta(t, float64((lasts-start)/c.interval), float64(len(s.writes)), 1)
					phase := s.writes[0] % c.interval
					for _, at := range s.writes {
						require.Equal(t, phase, at%c.interval)
					}
				}
			})
		})
	}
}

func TestPublisherThatIsEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ps, sinks := publishFor(t, 3, 0, 10*time.Second, func(ps *publishers) {
			ps.list[0].sink = nil // could not begin
			ps.list[1].sink.(*noted).fail = errors.New("gone")
		})
		assert.Equal(t, tally{"gone": 1}, ps.ended)
		assert.Empty(t, sinks[0].tags)
		assert.Zero(t, sinks[0].closed)
		assert.Greater(t, len(sinks[2].tags), 500, "the others go on")
		assert.Zero(t, ps.list[0].bytesBefore(time.Now(), allTracks))
		assert.Positive(t, ps.list[2].bytesBefore(time.Now(), allTracks))
	})
}

func TestSendTimesAreForgotten(t *testing.T) {
	p := &publication{times: new(sendTimes)}
	_, ok := p.sentAt(0)
	assert.False(t, ok, "not sent yet")
	p.sent.Store(int64(len(p.times)) + 1000)
	_, ok = p.sentAt(500)
	assert.False(t, ok, "overwritten")
	_, ok = p.sentAt(int64(len(p.times)))
	assert.True(t, ok)
	_, ok = (&publication{}).sentAt(0)
	assert.False(t, ok, "nobody asked")
}

func TestAutomaticInterval(t *testing.T) {
	l := builtIn(t)
	assert.Zero(t, automaticInterval(l, 1))
	assert.Zero(t, automaticInterval(l, 100))
	assert.Equal(t, gatheredWrite, automaticInterval(l, 2000))
}
