package demo

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"sluice/flv"
)

// TestMain fails the package if goroutines are left when its tests have ended.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What the loop relies on.
func TestClip(t *testing.T) {
	assert.InEpsilon(t, 206_000/8*period.Seconds(), float64(len(clipFile)), 0.01, "figures are about a stream of 206 kbit/s")
	c, err := parseClip(clipFile)
	require.NoError(t, err)

	var types []flv.Type
	for _, tag := range c.header {
		types = append(types, tag.Type)
		assert.Zero(t, tag.Timestamp)
	}
	require.Equal(t, []flv.Type{flv.TypeScript, flv.TypeVideo, flv.TypeAudio}, types)
	assert.NotContains(t, string(c.header[0].Data), "duration")
	assert.NotContains(t, string(c.header[0].Data), "filesize")

	var pictures, sounds, last uint32
	for i, tag := range c.frames {
		assert.GreaterOrEqual(t, tag.Timestamp, last, "tag %d goes back in time", i)
		last = tag.Timestamp
		switch tag.Type {
		case flv.TypeVideo:
			assert.Equal(t, pictures*40, tag.Timestamp)
			head := byte(0x27) // inter frame, AVC
			if pictures%50 == 0 {
				head = 0x17 // key frame
			}
			assert.Equal(t, []byte{head, 1, 0, 0, 0}, tag.Data[:5], "picture %d: frame type, NALUs, no composition time", pictures)
			pictures++
		case flv.TypeAudio:
			assert.InDelta(t, float64(sounds)*1024/48, float64(tag.Timestamp), 1)
			assert.Equal(t, []byte{0xAF, 1}, tag.Data[:2], "frame %d: AAC, raw", sounds)
			sounds++
		default:
			t.Errorf("tag %d has type %d", i, tag.Type)
		}
	}
	assert.Equal(t, flv.TypeVideo, c.frames[0].Type, "a key frame comes first")
	assert.EqualValues(t, period.Milliseconds(), pictures*40)
	assert.EqualValues(t, period.Milliseconds()*48, sounds*1024)
}

func TestClipIsMalformed(t *testing.T) {
	for n := range 2000 {
		_, err := parseClip(clipFile[:n])
		if err == nil { // cut exactly between two tags
			continue
		}
		assert.ErrorContains(t, err, "demo clip")
	}
	_, err := parseClip([]byte("GIF89a, not FLV at all"))
	assert.ErrorContains(t, err, "demo clip")
}

// sinkFunc is a Session of one function; nil as the tag stands for Close.
type sinkFunc func(*flv.Tag) error

func (f sinkFunc) WriteTag(t flv.Tag) error { return f(&t) }
func (f sinkFunc) Close() error             { return f(nil) }

func TestPlayIsInRealTimeAndContinuous(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		start := time.Now()
		stop := errors.New("enough")
		last := map[flv.Type]uint32{}
		count := map[flv.Type]int{}
		const loops = 3
		err := Play(ctx, sinkFunc(func(tag *flv.Tag) error {
			count[tag.Type]++
			if count[tag.Type] > 1+200*loops && tag.Type == flv.TypeVideo {
				cancel(stop)
				return nil
			}
			assert.Equal(t, time.Duration(tag.Timestamp)*time.Millisecond, time.Since(start))
			if count[tag.Type] > 2 { // the codec header and the first frame are at 0
				step := float64(tag.Timestamp - last[tag.Type])
				if tag.Type == flv.TypeVideo {
					assert.Equal(t, 40., step)
				} else {
					assert.InDelta(t, 1024./48, step, 1)
				}
			}
			last[tag.Type] = tag.Timestamp
			return nil
		}))
		assert.ErrorIs(t, err, stop)
		assert.Equal(t, 1, count[flv.TypeScript])
		assert.GreaterOrEqual(t, count[flv.TypeAudio], 1+375*loops)
		assert.Equal(t, loops*period, time.Since(start))
	})
}

func TestPlayEndsWithItsSink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		for n := range 10 {
			left := n
			err := Play(t.Context(), sinkFunc(func(*flv.Tag) error {
				if left--; left < 0 {
					return broken
				}
				return nil
			}))
			assert.ErrorIs(t, err, broken)
		}
	})
}

func TestPlayEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 12345678*time.Microsecond)
		defer cancel()
		start := time.Now()
		err := Play(ctx, sinkFunc(func(*flv.Tag) error { return nil }))
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, 12345678*time.Microsecond, time.Since(start))
	})
}

// After a stall the timestamps go on without a hole and the pace is the old one.
func TestPlayDoesNotHurryAfterAStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour+16*time.Second)
		defer cancel()
		start, stalled := time.Now(), false
		var lastVideo uint32
		Play(ctx, sinkFunc(func(tag *flv.Tag) error {
			if tag.Type == flv.TypeVideo {
				assert.LessOrEqual(t, tag.Timestamp-lastVideo, uint32(40))
				lastVideo = tag.Timestamp
			}
			if tag.Timestamp >= 5000 && !stalled {
				stalled = true
				time.Sleep(time.Hour)
			}
			if stalled {
				late := time.Since(start) - time.Duration(tag.Timestamp)*time.Millisecond
				assert.InDelta(t, time.Hour, late, float64(50*time.Millisecond))
			}
			return nil
		}))
		assert.Greater(t, lastVideo, uint32(15_000))
	})
}

func TestRunReconnectsWithBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		start := time.Now()
		var out bytes.Buffer
		var dials []time.Duration
		closed := 0
		session := func(lasts time.Duration) (Session, error) {
			began := time.Now()
			return sinkFunc(func(tag *flv.Tag) error {
				if tag == nil {
					closed++
				} else if time.Since(began) >= lasts {
					return errors.New("reset by peer")
				}
				return nil
			}), nil
		}
		Run(ctx, func(context.Context) (Session, error) {
			dials = append(dials, time.Since(start))
			switch n := len(dials); {
			case n == 8:
				return session(20 * time.Second) // long enough to count as stable
			case n == 9:
				return session(time.Second)
			case n == 10:
				time.AfterFunc(30*time.Second, cancel)
				return session(time.Hour)
			default:
				return nil, errors.New("connection refused")
			}
		}, slog.New(slog.NewTextHandler(&out, nil)))

		assert.Equal(t, []time.Duration{ // ms; 5000 is the longest wait
			0, 250, 750, 1750, 3750, 7750, 12750, 17750,
			17750 + 20_000 + 250, // after a stable session: the first wait again
			38_000 + 1_000 + 500, // after a short one: twice as long
		}, inMilliseconds(dials))
		assert.Equal(t, 3, closed, "each session is closed once")
		assert.Equal(t, 9, strings.Count(out.String(), "level=WARN"), "the end of the context is no failure")
		assert.Equal(t, 69500*time.Millisecond, time.Since(start))
	})
}

// inMilliseconds returns ds as plain numbers of milliseconds.
func inMilliseconds(ds []time.Duration) (ms []time.Duration) {
	for _, d := range ds {
		ms = append(ms, d/time.Millisecond)
	}
	return ms
}

func TestRunEndsWhileItWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		start := time.Now()
		Run(ctx, func(context.Context) (Session, error) { return nil, errors.New("no") }, slog.New(slog.DiscardHandler))
		assert.Equal(t, 2*time.Second, time.Since(start))
	})
}
