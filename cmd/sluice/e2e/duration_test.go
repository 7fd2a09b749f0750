package e2e

import (
	"bufio"
	"context"
	"crypto/sha256"
	"net/http"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
)

// follower watches a stream and knows at every moment where its live edge is.
type follower struct {
	mu     sync.Mutex
	newest int              // timestamp of the newest frame, in ms
	shown  map[[32]byte]int // timestamps of pictures, by content
}

// follow starts to watch a stream over HTTP.
func follow(s *server, key string) *follower {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.flvURL("http", key), nil)
	require.NoError(s.t, err)
	answer, err := client.Do(r)
	require.NoError(s.t, err)
	require.Equal(s.t, http.StatusOK, answer.StatusCode)
	f := &follower{shown: map[[32]byte]int{}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer answer.Body.Close()
		for in := flv.NewReader(bufio.NewReader(answer.Body)); ; {
			tag, err := in.Next()
			if err != nil {
				return
			}
			f.note(tag)
		}
	}()
	s.t.Cleanup(func() {
		cancel()
		<-done
	})
	return f
}

func (f *follower) note(tag flv.Tag) {
	p, err := tag.Packet()
	if err != nil || p.Kind != flv.KindFrame {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.newest = max(f.newest, int(tag.Timestamp))
	if tag.Type == flv.TypeVideo {
		f.shown[sha256.Sum256(tag.Data)] = int(tag.Timestamp)
	}
}

// edge returns the timestamp of the newest frame, in ms.
func (f *follower) edge() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.newest
}

// span returns when a recording begins and ends on the follower's clock, in ms: at its
// first picture and its last. It waits until the follower has that, too.
func (f *follower) span(t *testing.T, r recording) (from, to int) {
	t.Helper()
	var pictures []flv.Tag
	for _, tag := range r.frames() {
		if tag.Type == flv.TypeVideo {
			pictures = append(pictures, tag)
		}
	}
	require.NotEmpty(t, pictures, "pictures of %s", r.path)
	at := func(picture flv.Tag) (at int, ok bool) {
		f.mu.Lock()
		defer f.mu.Unlock()
		at, ok = f.shown[sha256.Sum256(picture.Data)]
		return at, ok
	}
	until(t, "the stream has come to the last picture of "+r.path, func() (ok bool) {
		to, ok = at(pictures[len(pictures)-1])
		return ok
	})
	from, ok := at(pictures[0])
	require.True(t, ok, "the first picture of %s is one of the stream", r.path)
	return from, to
}

// Some seconds recorded from a stream that has been live for more than an hour, by
// its own clock, is a file of those seconds and of that part of a GOP which comes
// first so that there is a picture at once.
//
// The seconds are those of the stream, which another viewer follows: where the
// machine is too busy for ffmpeg to publish at the pace of real time, they are
// longer than the clock's.
func TestRecordingHasItsLength(t *testing.T) {
	t.Parallel()
	const seconds = 12
	s := serve(t)
	s.publish("live/x", source{size: "320x180", offset: "5024"})
	f := follow(s, "live/x")
	until(t, "the stream has been live for a while", func() bool { return f.edge() > 5300 })

	asked, began := f.edge(), time.Now()
	timed := s.pull(curlPull("curl", "", "--max-time", strconv.Itoa(seconds)), "live/x")
	pulls := []*pull{s.pull(curlPlain, "live/x"), s.pull(ffmpegHTTP, "live/x"), s.pull(ffmpegRTMP, "live/x"), s.pull(rtmpdump, "live/x")}
	assert.Equal(t, 28, timed.wait(), "curl's code for the end of its time")
	trim(t, timed.path)
	byClock := f.edge()
	t.Logf("the clock went on by %v, the stream by %d ms", time.Since(began), byClock-asked)
	check(t, f, timed.path, asked, byClock)

	until(t, "the others have their time", func() bool { return f.edge() >= asked+seconds*1000 })
	ended := map[*pull]int{}
	for _, p := range pulls {
		ended[p] = f.edge()
		p.stop()
	}
	for _, p := range pulls {
		check(t, f, p.path, asked, ended[p])
	}
}

// A player that asks for three seconds gets three seconds, and ends by itself.
func TestPlayDuration(t *testing.T) {
	t.Parallel()
	s := serve(t)
	s.publish("live/x", both)
	path := filepath.Join(t.TempDir(), "three.flv")
	run(t, "rtmpdump", "--quiet", "--live", "--stop", "3", "-r", s.rtmpURL("live/x"), "-o", path)
	assert.InDelta(t, 3, checkRecording(t, path, both).duration(t), 0.1)
	s.watched("live/x", 0)
}

// check checks the length of a recording that was asked for and ended at these
// times of the stream, in ms. The follower may not have had all by then that there was.
func check(t *testing.T, f *follower, path string, asked, ended int) {
	t.Helper()
	const near = 500
	const last = 0.25 // s, for which the last picture is shown, and by which B-frames are shown later than they are sent
	duration := checkRecording(t, path, both).duration(t)
	from, to := f.span(t, read(t, path))
	t.Logf("%s: %.3f s, of which %d ms from before", path, duration, asked-from) // negative if a key frame came while the client connected
	assert.LessOrEqual(t, asked-from, gop*1000/rate+near, "what comes first is part of one GOP")
	assert.GreaterOrEqual(t, to, ended-near, "end of %s", path)
	assert.InDelta(t, float64(to-from)/1000, duration, last, "seconds recorded, of %s", path)
}
