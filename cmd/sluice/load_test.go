//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/rtmp"
)

// The load of TestEveryViewerGetsEverything can be set from outside, as in
//
//	LOAD_VIEWERS=1000 LOAD_SECONDS=30 go test -run EveryViewer -v ./cmd/sluice
const (
	loadViewersEnv = "LOAD_VIEWERS"
	loadSecondsEnv = "LOAD_SECONDS"
)

// Every viewer of one stream, whenever it joined, gets the headers, the current
// GOP, and from there on every frame in order up to the proper end. What that
// costs the server is logged.
func TestEveryViewerGetsEverything(t *testing.T) {
	viewers, seconds := envNumber(t, loadViewersEnv, 200), envNumber(t, loadSecondsEnv, 3)
	var files syscall.Rlimit // of this process; the server has the same
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files))
	require.Greater(t, files.Cur, uint64(viewers+100), "open files, for %d viewers", viewers)
	alone := os.Getenv(loadViewersEnv) != "" // for figures
	for _, protocol := range protocols {
		t.Run(protocol.name, func(t *testing.T) {
			if !alone {
				t.Parallel()
			}
			l := load{join: protocol.join, viewers: viewers, duration: time.Duration(seconds) * time.Second}
			l.run(t)
		})
	}
}

func envNumber(t *testing.T, name string, def int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return def
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err, name)
	return n
}

// load is one stream with its viewers. The publisher's clock is the only one:
//
//	0          firstGOP            + duration/3           + duration
//	├─ publish ─┼─ ... and viewers join ─┼─ ... and all watch ─┤ unpublish
type load struct {
	join     joinFunc
	viewers  int
	duration time.Duration // for which everybody watches

	frames    []flv.Tag
	keys      []int        // which of the frames are key frames
	published atomic.Int32 // how many of them

	running sync.WaitGroup
	errs    []error // how each viewer ended, nil if well
	tags    atomic.Int64
}

// newLoad returns a stream for viewers that check what they get of it.
func newLoad(d time.Duration) *load {
	l := &load{frames: stream200k.frames(d)}
	for i, frame := range l.frames {
		if isKeyFrame(frame) {
			l.keys = append(l.keys, i)
		}
	}
	return l
}

// firstGOP is how long the stream has been live when the first viewer joins.
const firstGOP = 2500 * time.Millisecond

// maxHurry is how far behind its clock the publisher may be before it sets it
// back. It has to stay well below the hub's MaxLag.
const maxHurry = time.Second

func (l *load) run(t *testing.T) {
	p := startProcess(t, "SLUICE_PUBLISHER_GRACE=0", "SLUICE_LOG_LEVEL=warn")
	joining := l.duration / 3
	l.frames = stream200k.frames(firstGOP + joining + l.duration)
	for i, frame := range l.frames {
		if isKeyFrame(frame) {
			l.keys = append(l.keys, i)
		}
	}
	l.errs = make([]error, l.viewers)

	publisher, err := new(rtmp.Client).Publish(t.Context(), "rtmp://"+p.rtmp+"/live/load")
	require.NoError(t, err)
	defer publisher.Close()
	for _, tag := range madeHeader() {
		require.NoError(t, publisher.WriteTag(tag))
	}
	var empty, full usage
	joined := 0
	clock := time.NewTimer(0)
	defer clock.Stop()
	for began, i := time.Now(), 0; i < len(l.frames); i++ {
		at := time.Duration(l.frames[i].Timestamp) * time.Millisecond
		wait := time.Until(began.Add(at))
		clock.Reset(wait)
		<-clock.C
		if wait < -maxHurry {
			// This machine stood still. Hurrying after the clock would make the
			// viewers late, as the hub sees it, through no fault of theirs.
			began = began.Add(-wait)
			t.Logf("the publisher was held up for %v", -wait)
		}
		if at >= firstGOP && joined == 0 {
			empty, _ = p.usage()
		}
		for ; joined < l.viewers && at-firstGOP >= joining*time.Duration(joined)/time.Duration(l.viewers); joined++ {
			l.running.Go(l.viewer(t.Context(), p, joined))
		}
		if at >= firstGOP+joining && full.at.IsZero() {
			full, _ = p.usage()
		}
		require.NoError(t, publisher.WriteTag(l.frames[i]))
		l.published.Add(1)
	}
	end, ok := p.usage()
	require.NoError(t, publisher.Close())
	l.running.Wait()

	missed := 0
	for i, err := range l.errs {
		if err != nil {
			if missed++; missed <= 3 {
				t.Errorf("viewer %d: %v", i, err)
			}
		}
	}
	assert.Zero(t, missed, "of %d viewers did not get everything", l.viewers)
	if ok {
		seconds := end.at.Sub(full.at).Seconds()
		each := func(n int64) float64 { return float64(n) / float64(l.viewers) }
		t.Logf("%d viewers, %d frames in order; %.1f s with all of them: server %.2f cores, "+
			"%.1f writes/s for each viewer; memory %.1f KB for each (RSS; Pss %.1f KB), %.1f MB without viewers",
			l.viewers, l.tags.Load(), seconds, (end.cpu-full.cpu).Seconds()/seconds,
			each(end.writes-full.writes)/seconds, each(end.rss-empty.rss)/1024, each(end.pss-empty.pss)/1024,
			float64(empty.rss)/(1<<20))
	}
}

// viewer returns what viewer i does.
func (l *load) viewer(ctx context.Context, p *process, i int) func() {
	published := int(l.published.Load())
	return func() {
		v, err := l.join(ctx, p, "load")
		if err == nil {
			err = l.check(v.next, published)
			v.close()
		}
		l.errs[i] = err
	}
}

// check reads a viewer's stream to its end and says what was wrong with it. So
// many frames had been published before it joined.
func (l *load) check(next func() (flv.Tag, error), published int) error {
	first, err := l.start(next, published)
	if err != nil {
		return err
	}
	base := l.frames[first].Timestamp
	for i := first; ; {
		i++
		tag, err := next()
		switch {
		case errors.Is(err, io.EOF) && i == len(l.frames):
			l.tags.Add(int64(i - first))
			return nil
		case err != nil:
			return fmt.Errorf("after %d of %d frames from %d on: %w", i-first, len(l.frames)-first, first, err)
		case i == len(l.frames):
			return fmt.Errorf("a tag of type %d after the last frame", tag.Type)
		}
		want := l.frames[i]
		if tag.Type != want.Type || tag.Timestamp != want.Timestamp-base || !bytes.Equal(tag.Data, want.Data) {
			return fmt.Errorf("not frame %d: type %d at %d ms, %d bytes", i, tag.Type, tag.Timestamp, len(tag.Data))
		}
	}
}

// start reads up to the first frame and returns which one it was: the newest key
// frame there was, or, since what was published last may still have been under
// way, the one before.
func (l *load) start(next func() (flv.Tag, error), published int) (first int, err error) {
	header := madeHeader()
	for _, want := range header {
		tag, err := next()
		if err != nil {
			return 0, fmt.Errorf("in the headers: %w", err)
		}
		// the hub writes metadata of its own
		if tag.Type != want.Type || tag.Timestamp != 0 || tag.Type != flv.TypeScript && !bytes.Equal(tag.Data, want.Data) {
			return 0, fmt.Errorf("type %d at %d ms in place of a header of type %d", tag.Type, tag.Timestamp, want.Type)
		}
	}
	tag, err := next()
	if err != nil {
		return 0, fmt.Errorf("before the first frame: %w", err)
	}
	for k, i := range l.keys {
		if !bytes.Equal(l.frames[i].Data, tag.Data) {
			continue
		}
		if tag.Timestamp != 0 {
			return 0, fmt.Errorf("begins at %d ms", tag.Timestamp)
		}
		if k+2 < len(l.keys) && l.keys[k+2] < published {
			return 0, fmt.Errorf("begins with frame %d, when %d were published", i, published)
		}
		return i, nil
	}
	return 0, fmt.Errorf("begins with no key frame but type %d, %d bytes", tag.Type, len(tag.Data))
}
