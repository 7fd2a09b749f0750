//go:build unix

package main

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/web/admin"
)

// Each way in which a viewer's picture is black, with a real client in that state over the whole
// server.

func TestWhyItWaits(t *testing.T) {
	t.Parallel()
	r := startWhy(t)
	frames := stream200k.frames(time.Second)

	t.Run("permission", func(t *testing.T) {
		r := r.in(t)
		r.watch("hang.flv")
		s := r.why("hang", "waits_permission")
		assert.Equal(t, "asking", s.State)
		assert.WithinDuration(t, time.Now(), time.Time(*s.Why.Since), patience)
		assert.Empty(t, s.Why.Told)
	})
	t.Run("publisher", func(t *testing.T) {
		r := r.in(t)
		r.play("nobody")
		s := r.why("nobody", "waits_publisher")
		assert.Equal(t, s.Since, *s.Why.Since)
		assert.Nil(t, s.Why.Expected)
		assert.Contains(t, s.Why.Sentence, "nobody publishes")
	})
	t.Run("grace", func(t *testing.T) {
		r := r.in(t)
		p := r.publish("back", madeHeader()...)
		r.watch("back.flv")
		r.why("back", "waits_track")
		require.NoError(t, p.Close())
		s := r.why("back", "waits_publisher")
		assert.Regexp(t, `which left [\d.]+ s ago; the stream is held for .* s more`, s.Why.Sentence)
		assert.WithinDuration(t, time.Now(), time.Time(*s.Why.Since), patience)
	})
	t.Run("announced track", func(t *testing.T) {
		r := r.in(t)
		tags := append([]flv.Tag{declared("videocodecid", "audiocodecid")}, madeHeader()[2])
		r.watch("late.flv")
		r.why("late", "waits_publisher")
		r.publish("late", append(tags, only(frames, flv.TypeAudio)...)...)
		s := r.whyWhere("late", "waits_track", func(w *admin.Why) bool { return w.Expected != nil })
		assert.Contains(t, s.Why.Sentence, "H.264 video")
		assert.Equal(t, 4*time.Second, time.Time(*s.Why.Expected).Sub(time.Time(*s.Why.Since)).Round(time.Second))
		s = r.whyWhere("late", "no_video", func(w *admin.Why) bool { return len(w.Got) > 0 }) // when it has not come
		assert.Equal(t, []string{"audio aac"}, s.Why.Told)
		assert.Equal(t, []string{"audio aac"}, s.Why.Got)
	})
	t.Run("codec header", func(t *testing.T) {
		r := r.in(t)
		r.publish("bare", append([]flv.Tag{declared("videocodecid")}, frames...)...)
		r.watch("bare.flv")
		s := r.why("bare", "waits_codec_header")
		assert.Equal(t, "codec header", s.Waits)
		assert.Contains(t, s.Why.Sentence, "H.264 video and AAC audio")
	})
	t.Run("first key frame", func(t *testing.T) {
		r := r.in(t)
		r.publish("middle", append(madeHeader(), only(frames, flv.TypeVideo)[1:]...)...)
		r.watch("middle.flv")
		s := r.why("middle", "waits_key_frame")
		assert.Nil(t, s.Why.Expected)
		assert.Contains(t, s.Why.Sentence, "first key frame")
	})
}

// in returns the rig for a subtest.
func (r *whyRig) in(t *testing.T) *whyRig {
	mine := *r
	mine.t = t
	return &mine
}

// A GOP that outgrew its bound leaves nobody anything to start with, and the next key frame is
// expected as the last one came.
func TestWhyGOPIsCut(t *testing.T) {
	t.Parallel()
	r := startWhy(t, "SLUICE_GOP_MAX_BYTES=64KiB")
	m := madeStream{gop: 3 * time.Second, video: 2_000_000, audio: 48_000, key: 20_000}
	r.live("long", m)
	until(t, "a key frame was given up", func() bool {
		streams := r.hub.Streams()
		return len(streams) == 1 && streams[0].GOPCuts > 1
	})
	r.watch("long.flv")
	s := r.why("long", "waits_key_frame")
	assert.Regexp(t, `SLUICE_GOP_MAX_BYTES allows; by the interval so far, 3\.0 s, one (is|was) due`, s.Why.Sentence)
	assert.NotNil(t, s.Why.Expected)
	assert.Equal(t, "key frame", s.Waits)
}

// Viewers that have what they chose.
func TestWhyAsTheyChose(t *testing.T) {
	t.Parallel()
	r := startWhy(t)
	m := stream200k
	m.gop = 8 * time.Second
	r.live("chosen", m)

	t.Run("ok", func(t *testing.T) {
		r := r.in(t)
		r.watch("chosen.flv")
		s := r.why("chosen", "ok")
		assert.Equal(t, []string{"video h264", "audio aac"}, s.Why.Told)
		assert.Equal(t, s.Why.Told, s.Why.Got)
		assert.NotNil(t, s.Why.Unacknowledged)
		assert.WithinDuration(t, time.Now(), time.Time(*s.Why.Written), patience)
		assert.WithinDuration(t, time.Now(), time.Time(*s.Why.Acknowledged), patience)
		assert.Less(t, s.Why.BehindMS, int64(1000))
	})
	r.gone("chosen")
	t.Run("ok over WebSocket", func(t *testing.T) {
		r := r.in(t)
		r.takes(askSocket(t, r.at, nil, "chosen"))
		s := r.why("chosen", "ok")
		assert.Equal(t, "ws-flv", s.Protocol)
		assert.NotNil(t, s.Why.Unacknowledged)
		assert.NotNil(t, s.Why.Written)
	})
	r.gone("chosen")
	t.Run("only audio", func(t *testing.T) {
		r := r.in(t)
		r.watch("chosen.flv?onlyaudio=1")
		s := r.whyWhere("chosen", "only_audio", func(w *admin.Why) bool { return len(w.Got) > 0 })
		assert.Equal(t, []string{"audio aac"}, s.Why.Told)
		assert.Equal(t, []string{"audio aac"}, s.Why.Got)
	})
	r.gone("chosen")
	t.Run("RTMP", func(t *testing.T) {
		r := r.in(t)
		c := r.play("chosen")
		r.why("chosen", "ok")
		require.NoError(t, c.command(1, "pause", 0.0, nil, true, 0.0))
		s := r.why("chosen", "paused")
		assert.True(t, s.Paused)
		assert.Empty(t, s.Why.Got)
		assert.NotEmpty(t, s.Why.Told)
		require.NoError(t, c.command(1, "pause", 0.0, nil, false, 0.0))
		r.why("chosen", "ok")
		require.NoError(t, c.command(1, "receiveVideo", 0.0, nil, false))
		s = r.why("chosen", "video_off")
		assert.Equal(t, []string{"audio aac"}, s.Why.Got)
		assert.Equal(t, []string{"video h264", "audio aac"}, s.Why.Told)
		until(t, "some pictures were left out", func() bool { return r.viewers("chosen")[0].Bytes > s.Bytes+2000 })
		require.NoError(t, c.command(1, "receiveVideo", 0.0, nil, true))
		s = r.why("chosen", "skipped_to_key_frame")
		assert.Equal(t, []string{"audio aac"}, s.Why.Got)
		r.why("chosen", "ok")
	})
}

// gone waits until a stream has no viewer.
func (r *whyRig) gone(name string) {
	r.t.Helper()
	until(r.t, "nobody watches "+name, func() bool { return len(r.viewers(name)) == 0 })
}

// A connection that takes nothing: first nothing is acknowledged, then nothing more is taken.
func TestWhyConnectionIsSlow(t *testing.T) {
	t.Parallel()
	r := startWhy(t)
	t.Run("unacknowledged", func(t *testing.T) {
		r := r.in(t)
		r.live("thin", madeStream{gop: 2 * time.Second, video: 60_000, audio: 8_000, key: 4_000})
		r.get("thin.flv")
		s := r.why("thin", "unacknowledged")
		assert.Positive(t, *s.Why.Unacknowledged)
		assert.NotNil(t, s.Why.Since)
	})
	t.Run("congested", func(t *testing.T) {
		r := r.in(t)
		r.live("thick", madeStream{gop: 2 * time.Second, video: 4_000_000, audio: 48_000, key: 100_000})
		r.get("thick.flv")
		s := r.why("thick", "congested")
		assert.Positive(t, *s.Why.Unacknowledged)
		assert.Positive(t, s.Why.Unwritten)
		assert.Positive(t, s.Why.BehindMS)
		assert.WithinDuration(t, time.Now(), time.Time(*s.Why.Since), patience)
	})
}

// A publisher that sends nothing, and one that is gone.
func TestWhyPublisherIsSilent(t *testing.T) {
	t.Parallel()
	r := startWhy(t)
	p := r.publish("still", append(madeHeader(), stream200k.frames(time.Second)...)...)
	r.watch("still.flv")
	s := r.why("still", "publisher_silent")
	assert.GreaterOrEqual(t, time.Since(time.Time(*s.Why.Since)), 2*time.Second)
	assert.Equal(t, []string{"video h264", "audio aac"}, s.Why.Told)
	require.NoError(t, p.Close())
	s = r.why("still", "publisher_left")
	assert.WithinDuration(t, time.Now(), time.Time(*s.Why.Since), patience)
}

// HEVC, as ffmpeg sent it, to browsers as they call themselves.
func TestWhyCodecIsNotPlayed(t *testing.T) {
	t.Parallel()
	r := startWhy(t)
	raw, err := os.ReadFile("../../testdata/captures/ffmpeg7-hevc-aac.c2s")
	require.NoError(t, err)
	_, tags := replayToRecorder(t, raw)
	r.publish("hevc", tags...)
	t.Run("Firefox", func(t *testing.T) {
		r := r.in(t)
		r.watch("hevc.flv", "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0")
		s := r.why("hevc", "unplayable_codec")
		assert.Equal(t, "hevc", s.Why.Codec)
		assert.Contains(t, s.Why.Sentence, "Firefox 128 probably")
		assert.Contains(t, s.Why.Told, "video hevc")
	})
	r.gone("hevc")
	t.Run("Safari", func(t *testing.T) {
		r := r.in(t)
		r.watch("hevc.flv", "User-Agent: Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Safari/605.1.15")
		s := r.why("hevc", "publisher_silent")
		assert.Empty(t, s.Why.Codec)
	})
}
