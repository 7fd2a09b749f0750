package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/rtmp"
)

// A clock is a live stream whose pictures say which they are: in a strip at the top
// stand the bits of their number, white for 1. It is published over and over by the
// test itself, which so knows at every moment what the newest picture is.
const (
	clockSeconds = 16
	clockGOP     = 4 * rate // the longest that encoders are usually set to
	clockFrames  = clockSeconds * rate
	bitWidth     = 20 // of a bit in the picture, in pixels
	clockWidth   = 16 * bitWidth
)

// makeClock has ffmpeg encode one round of the clock, with B-frames and sound.
func makeClock(t *testing.T) (tags []flv.Tag) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "clock.flv")
	input := func(format string, args ...any) []string {
		return []string{"-f", "lavfi", "-i", fmt.Sprintf(format, args...)}
	}
	args := []string{"-hide_banner", "-nostdin", "-loglevel", "error"}
	args = append(args, input("testsrc2=size=%dx180:rate=%d:duration=%d", clockWidth, rate, clockSeconds)...)
	args = append(args, input("color=size=%dx16:rate=%d:duration=%d,format=gray,geq=lum='if(mod(floor(N/pow(2,floor(X/%d))),2),235,16)'",
		clockWidth, rate, clockSeconds, bitWidth)...)
	args = append(args, input("sine=frequency=440:sample_rate=44100:duration=%d", clockSeconds)...)
	run(t, "ffmpeg", append(args, "-filter_complex", "[0][1]overlay,format=yuv420p[v]", "-map", "[v]", "-map", "2",
		"-c:v", "libx264", "-preset", "veryfast", "-g", fmt.Sprint(clockGOP), "-bf", "2",
		"-x264-params", "b-adapt=0:scenecut=0", "-c:a", "aac", "-b:a", "64k", "-f", "flv", path)...)
	file, err := os.Open(path)
	require.NoError(t, err)
	defer file.Close()
	for in := flv.NewReader(bufio.NewReader(file)); ; {
		tag, err := in.Next()
		if err != nil {
			break
		}
		tags = append(tags, tag)
	}
	return tags
}

// clock is such a stream being published.
type clock struct {
	mu   sync.Mutex
	sent []time.Time // when each picture was, all rounds one after another
}

// publishClock publishes a clock until the test ends.
func (s *server) publishClock(key string) *clock {
	s.t.Helper()
	tags := makeClock(s.t)
	ctx, cancel := context.WithCancel(context.Background())
	publisher, err := new(rtmp.Client).Publish(ctx, s.rtmpURL(key))
	require.NoError(s.t, err)
	c := &clock{}
	done := make(chan error, 1)
	go func() { done <- c.run(ctx, publisher, tags) }()
	s.t.Cleanup(func() {
		cancel()
		require.ErrorIs(s.t, <-done, context.Canceled)
		publisher.Close()
	})
	return c
}

func (c *clock) run(ctx context.Context, publisher *rtmp.Publisher, tags []flv.Tag) error {
	began := time.Now()
	for round := 0; ; round++ {
		for _, tag := range tags {
			if round > 0 && tag.Timestamp == 0 && !framed(tag) {
				continue // headers
			}
			tag.Timestamp += uint32(round * clockSeconds * 1000)
			wait := time.NewTimer(time.Until(began.Add(time.Duration(tag.Timestamp) * time.Millisecond)))
			select {
			case <-ctx.Done():
				wait.Stop()
				return ctx.Err()
			case <-wait.C:
			}
			if err := publisher.WriteTag(tag); err != nil {
				return errors.Join(err, ctx.Err())
			}
			if tag.Type == flv.TypeVideo && framed(tag) {
				c.mu.Lock()
				c.sent = append(c.sent, time.Now())
				c.mu.Unlock()
			}
		}
	}
}

func framed(tag flv.Tag) bool {
	p, err := tag.Packet()
	return err == nil && p.Kind == flv.KindFrame
}

// phase returns how many pictures of the present GOP were sent.
func (c *clock) phase() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return (len(c.sent)-1)%clockGOP + 1
}

// behind returns how much older picture n was than the newest one sent at a moment.
// It counts in the order of decoding, so B-frames are part of what it returns.
func (c *clock) behind(n int, at time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	newest := len(c.sent) - 1
	for newest > 0 && c.sent[newest].After(at) {
		newest--
	}
	return time.Duration((newest-n%clockFrames+clockFrames)%clockFrames) * time.Second / rate
}
