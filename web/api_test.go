package web

import (
	"encoding/json"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub"
)

func TestStreamsOfNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := Handler(Config{Logger: quiet, assets: files(t, true)})
		r := ask(h, "GET", "/api/v1/streams")
		assert.Equal(t, 200, r.StatusCode)
		assert.Equal(t, "application/json", r.Header.Get("Content-Type"))
		assert.Equal(t, "no-store", r.Header.Get("Cache-Control"))
		assert.Empty(t, r.Header.Get("ETag"))
		assert.JSONEq(t, `{"version":"devel","now":"2000-01-01T00:00:00Z","rtmp_port":1935,"streams":[]}`, body(t, r))
	})
}

// The form of the answer is a promise to programs: this is it, to the letter.
func TestStreamsForm(t *testing.T) {
	now := time.Date(2026, 11, 21, 10, 30, 0, 123456789, time.FixedZone("", 3600))
	infos := []hub.StreamInfo{{
		App: "live", Name: "demo", State: "live", Protocol: "rtmp",
		Publisher: "192.0.2.7:50123", Since: now.Add(-61234 * time.Millisecond),
		Video:   &flv.VideoFormat{Codec: flv.CodecH264, Profile: "High", Width: 1280, Height: 720, FrameRate: 30},
		Audio:   &flv.AudioFormat{Codec: flv.CodecAAC, Profile: "LC", SampleRate: 48000, Channels: 2},
		Bitrate: 2_400_000, Back: 61500 * time.Millisecond, Viewers: 3, ViewersByProtocol: map[string]int{"http-flv": 1, "ws-flv": 2},
		BytesIn: 18370200, BytesOut: 55110600, Dropped: 4, Muted: true,
		Further: []hub.Track{
			{Number: 1, Video: &flv.VideoFormat{Codec: flv.CodecAV1, Profile: "Main", Width: 640, Height: 360, FrameRate: math.Inf(1)}},
			{Number: 2, Audio: &flv.AudioFormat{Codec: flv.CodecOpus, SampleRate: 48000, Channels: 6}},
		},
	}, {
		App: "live", Name: "later", State: "grace", Viewers: 1,
	}, {
		App: "live", Name: "made up", State: "waiting", Viewers: 1,
	}}
	h := Handler(Config{
		RTMP: []string{"rtmp://:19350"}, Version: "1.2.0", Logger: quiet, assets: files(t, true),
		Now:     func() time.Time { return now },
		Streams: func() []Stream { return FromHub(infos, now) },
	})
	text := body(t, ask(h, "GET", "/api/v1/streams"))
	assert.JSONEq(t, `{
		"version": "1.2.0", "now": "2026-11-21T09:30:00.123Z", "rtmp_port": 19350,
		"streams": [{
			"app": "live", "name": "demo", "key": "live/demo",
			"state": "live", "protocol": "rtmp", "uptime_ms": 61234,
			"video": {"codec": "H.264", "profile": "High", "width": 1280, "height": 720, "fps": 30},
			"audio": {"codec": "AAC", "profile": "LC", "sample_rate": 48000, "channels": 2, "muted": true},
			"bitrate": 2400000, "back_ms": 61500, "viewers": {"total": 3, "by_protocol": {"http-flv": 1, "ws-flv": 2}},
			"bytes_in": 18370200, "bytes_out": 55110600, "dropped": 4,
			"tracks": [
				{"track": 1, "video": {"codec": "AV1", "profile": "Main", "width": 640, "height": 360, "fps": 0}},
				{"track": 2, "audio": {"codec": "Opus", "sample_rate": 48000, "channels": 6}}
			]
		}, {
			"app": "live", "name": "later", "key": "live/later", "state": "grace", "uptime_ms": 0,
			"video": null, "audio": null, "bitrate": 0, "back_ms": 0, "viewers": {"total": 1, "by_protocol": {}},
			"bytes_in": 0, "bytes_out": 0, "dropped": 0
		}]
	}`, text)
	assert.NotContains(t, text, "192.0.2.7", "where a publisher sits is nobody's business")
}

func TestStreamsOfOneKey(t *testing.T) {
	h := Handler(Config{Logger: quiet, assets: files(t, true), Streams: func() []Stream {
		return []Stream{{App: "a", Name: "x"}, {App: "a/b", Name: "x"}}
	}})
	for query, want := range map[string][]string{
		"": {"a/x", "a/b/x"}, "?stream=a/b/x": {"a/b/x"}, "?stream=a%2Fx": {"a/x"}, "?stream=a": {}, "?stream=": {},
	} {
		var got Streams
		require.NoError(t, json.Unmarshal([]byte(body(t, ask(h, "GET", "/api/v1/streams"+query))), &got))
		keys := []string{}
		for _, s := range got.Streams {
			keys = append(keys, s.Key)
		}
		assert.Equal(t, want, keys, query)
	}
}

// However many pages ask, the hub is asked now and then.
func TestStreamsAreTakenOncePerMaxAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int64
		h := Handler(Config{Logger: quiet, assets: files(t, true), Streams: func() []Stream {
			calls.Add(1)
			time.Sleep(10 * time.Millisecond)
			return nil
		}})
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() { ask(h, "GET", "/api/v1/streams") })
		}
		wg.Wait()
		assert.EqualValues(t, 1, calls.Load())
		time.Sleep(maxAge - 11*time.Millisecond)
		ask(h, "GET", "/api/v1/streams?stream=a/b")
		assert.EqualValues(t, 1, calls.Load())
		time.Sleep(2 * time.Millisecond)
		ask(h, "GET", "/api/v1/streams")
		assert.EqualValues(t, 2, calls.Load())
	})
}

// A clock that is set back must not freeze the figures.
func TestStreamsSurviveAClockSetBack(t *testing.T) {
	now, calls := time.Now(), 0
	h := Handler(Config{Logger: quiet, assets: files(t, true),
		Now:     func() time.Time { return now },
		Streams: func() []Stream { calls++; return nil },
	})
	ask(h, "GET", "/api/v1/streams")
	now = now.Round(0).Add(-time.Hour)
	ask(h, "GET", "/api/v1/streams")
	assert.Equal(t, 2, calls)
}

func TestStreamsWithANumberThatJSONLacks(t *testing.T) {
	format := &Video{Codec: "H.264", FPS: math.NaN()}
	h := Handler(Config{Logger: quiet, assets: files(t, true), Streams: func() []Stream {
		return []Stream{{App: "a", Name: "x", Video: format}, {App: "a", Name: "y"}}
	}})
	r := ask(h, "GET", "/api/v1/streams")
	assert.Equal(t, 200, r.StatusCode)
	assert.Contains(t, body(t, r), `"fps":0`)
	assert.True(t, math.IsNaN(format.FPS), "what the hub gave is left alone")
}

// What needs permission is nobody's business: not that it is there, nor how many watch it.
func TestStreamsThatArePrivate(t *testing.T) {
	l := &librarian{}
	h := Handler(Config{
		Logger: quiet, assets: files(t, true), Private: true, Recordings: l.config(),
		Streams: func() []Stream { t.Error("there is nothing to ask for"); return nil },
	})
	for _, query := range []string{"", "?stream=live/demo"} {
		var got Streams
		require.NoError(t, json.Unmarshal([]byte(body(t, ask(h, "GET", "/api/v1/streams"+query))), &got))
		assert.True(t, got.Private, query)
		assert.Equal(t, []Stream{}, got.Streams, query)
		r := ask(h, "GET", "/api/v1/recordings"+query)
		assert.Equal(t, 200, r.StatusCode, query)
		assert.JSONEq(t, `{"recordings":[],"private":true}`, body(t, r), query)
	}
	assert.Equal(t, 400, ask(h, "GET", "/api/v1/recordings?limit=x").StatusCode)
	// Whoever may watch a recording finds it; the policy is asked.
	assert.Equal(t, 200, ask(h, "GET", "/api/v1/recordings/live/demo/latest").StatusCode)
	assert.Equal(t, hub.Key{App: "live", Name: "demo"}, l.key)
}

// Self-tests are not streams that visitors look for.
func TestStreamsOfSelfTests(t *testing.T) {
	name := hub.CheckName([16]byte{1})
	h := Handler(Config{Logger: quiet, assets: files(t, true), Streams: func() []Stream {
		return []Stream{{App: "live", Name: name, State: "live"}, {App: "live", Name: "demo", State: "live"}}
	}})
	assert.NotContains(t, body(t, ask(h, "GET", "/api/v1/streams")), name)
	assert.Contains(t, body(t, ask(h, "GET", "/api/v1/streams?stream=live/"+name)), `"streams":[]`)
}

// Names that only viewers know are shown to nobody, asked for or not.
func TestStreamsThatAreOnlyWaitedFor(t *testing.T) {
	h := Handler(Config{Logger: quiet, assets: files(t, true), Streams: func() []Stream {
		return []Stream{{App: "live", Name: "secret", State: "waiting"}, {App: "live", Name: "demo", State: "live"}}
	}})
	assert.NotContains(t, body(t, ask(h, "GET", "/api/v1/streams")), "secret")
	assert.Contains(t, body(t, ask(h, "GET", "/api/v1/streams?stream=live/secret")), `"streams":[]`)
}
