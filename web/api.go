package web

import (
	"encoding/json"
	"math"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"sluice/httpflv/answer"
	"sluice/hub"
)

// Streams is the answer to GET /api/v1/streams. With ?stream=APP/NAME it has only the
// stream of that key, or an empty list if there is none: that a stream does not exist
// is a fact, not an error. No cache keeps the answer, all requests within [maxAge]
// get the same one, and it contains only what every visitor of the page may know:
// no address of a publisher or a viewer. Programs may read it, and the pages of the origins in
// SLUICE_ALLOW_ORIGINS (Access-Control-Allow-Origin, credentials allowed); without that list no
// page of another origin may.
//
//	{
//	  "version": "1.2.0",
//	  "now": "2026-11-21T09:30:00.123Z",
//	  "rtmp_port": 1935, "rtmps_port": 443,
//	  "public": {"http": "https://live.example.com", "rtmp": ["rtmps://live.example.com"]},
//	  "streams": [{
//	    "app": "live", "name": "demo", "key": "live/demo",
//	    "state": "live", "protocol": "rtmp", "uptime_ms": 61234,
//	    "video": {"codec": "H.264", "profile": "High", "width": 1280, "height": 720, "fps": 30},
//	    "audio": {"codec": "AAC", "profile": "LC", "sample_rate": 48000, "channels": 2},
//	    "tracks": [{"track": 1, "audio": {"codec": "Opus", "sample_rate": 48000, "channels": 2}}],
//	    "bitrate": 2400000, "back_ms": 60000,
//	    "viewers": {"total": 3, "by_protocol": {"http-flv": 1, "ws-flv": 2}},
//	    "bytes_in": 18370200, "bytes_out": 55110600, "dropped": 0
//	  }]
//	}
//
// There is "rtmps_port" only where there is RTMP over TLS, and "public" only where the server was
// told how the world reaches it. Where the streams are nobody's business, the list is empty and
// "private" is true.
//
// Fields may be added; the present ones keep their meaning for all of /api/v1.
type Streams struct {
	Version  string    `json:"version"`   // of the server
	Now      time.Time `json:"now"`       // the server's clock, UTC
	RTMPPort int       `json:"rtmp_port"` // where to publish; 0 for nowhere
	Streams  []Stream  `json:"streams"`   // sorted by key; never null

	RTMPSPort int    `json:"rtmps_port,omitempty"` // where to publish over TLS
	Public    Public `json:"public,omitzero"`      // how the world reaches the server

	// Private says that the list is empty because it is not for the public.
	Private bool `json:"private,omitempty"`
}

// Stream is one stream that is published.
type Stream struct {
	App  string `json:"app"`  // may hold slashes
	Name string `json:"name"` // last part of the URL, without ".flv"
	Key  string `json:"key"`  // App/Name, filled in when empty

	// State is "live"; or "grace", while the publisher is gone and its viewers are held in
	// case it comes back.
	State string `json:"state"`

	Protocol string `json:"protocol,omitempty"` // of the publisher, such as "rtmp"
	UptimeMS int64  `json:"uptime_ms"`          // since this publisher began; 0 without one

	Video *Video `json:"video"` // null: no such track, or not known yet
	Audio *Audio `json:"audio"` // likewise

	// Tracks are the tracks beyond track 0, whose formats are Video and Audio. It is left
	// out if there are none, as in nearly every stream.
	Tracks []Track `json:"tracks,omitempty"`

	Bitrate int64 `json:"bitrate"` // bits per second coming in
	// BackMS is how far behind the live edge a viewer can begin now (?back=SECONDS) without a
	// recording, in ms: what SLUICE_LOG_DURATION keeps of the stream. 0 if nothing is kept.
	BackMS  int64   `json:"back_ms"`
	Viewers Viewers `json:"viewers"`

	BytesIn  uint64 `json:"bytes_in"`
	BytesOut uint64 `json:"bytes_out"`
	Dropped  uint64 `json:"dropped"` // packets that slow viewers skipped
}

// Track is a further track of a stream, with video or audio; ?track=N asks for the tracks
// of one number.
type Track struct {
	Number int    `json:"track"`
	Video  *Video `json:"video,omitempty"`
	Audio  *Audio `json:"audio,omitempty"`
}

// Video is the format of a stream's video track; fields that are not known are zero.
type Video struct {
	Codec   string  `json:"codec"` // "H.264", "HEVC", "AV1", …
	Profile string  `json:"profile,omitempty"`
	Width   int     `json:"width"`
	Height  int     `json:"height"`
	FPS     float64 `json:"fps"`
}

// Audio is the format of a stream's audio track; fields that are not known are zero.
type Audio struct {
	Codec      string `json:"codec"` // "AAC", "Opus", …
	Profile    string `json:"profile,omitempty"`
	SampleRate int    `json:"sample_rate"` // Hz
	Channels   int    `json:"channels"`
	// Muted is true while the publisher sends no sound and viewers get silence instead.
	Muted bool `json:"muted,omitempty"`
}

// Viewers counts the viewers, those that wait included.
type Viewers struct {
	Total      int            `json:"total"`
	ByProtocol map[string]int `json:"by_protocol"` // never null
}

// maxAge is how old an answer may be. It bounds what pages cost the hub: each
// open page asks every second or two, and there may be thousands.
const maxAge = 200 * time.Millisecond

// api answers /api/v1/streams.
type api struct {
	config Config
	flight singleflight.Group
	last   atomic.Pointer[snapshot]
	stills *stillCache // nil if there are none
}

// snapshot is one answer; it is never written again.
type snapshot struct {
	taken   time.Time
	streams Streams
	body    []byte // streams as JSON
}

func (a *api) streams(w http.ResponseWriter, r *http.Request) {
	s, err := a.snapshot()
	var body []byte
	if err == nil {
		body = s.body
		if query := r.URL.Query(); query.Has("stream") {
			body, err = s.only(query.Get("stream"))
		}
	}
	a.sayBody(w, r, body, err)
}

// say answers with v as JSON.
func (a *api) say(w http.ResponseWriter, r *http.Request, v any) {
	body, err := encode(v)
	a.sayBody(w, r, body, err)
}

func (a *api) sayBody(w http.ResponseWriter, r *http.Request, body []byte, err error) {
	if err != nil {
		a.config.Logger.Error("an answer cannot be told as JSON", "error", err)
		a.config.refuse(w, r, http.StatusInternalServerError, "internal error", "the figures cannot be told")
		return
	}
	answer.JSON(w, http.StatusOK, body)
}

// snapshot returns the streams as they were at most maxAge ago.
func (a *api) snapshot() (*snapshot, error) {
	fresh := func() *snapshot {
		s := a.last.Load()
		if s == nil {
			return nil
		}
		if age := a.config.Now().Sub(s.taken); age < 0 || age >= maxAge {
			return nil
		}
		return s
	}
	if s := fresh(); s != nil {
		return s, nil
	}
	s, err, _ := a.flight.Do("", func() (any, error) {
		if s := fresh(); s != nil { // taken since the look above
			return s, nil
		}
		s, err := a.take()
		if err != nil {
			return nil, err
		}
		a.last.Store(s)
		return s, nil
	})
	if err != nil {
		return nil, err
	}
	return s.(*snapshot), nil
}

func (a *api) take() (*snapshot, error) {
	now := a.config.Now()
	s := &snapshot{taken: now, streams: Streams{
		Version:  a.config.Version,
		Now:      now.UTC().Truncate(time.Millisecond),
		RTMPPort: a.config.rtmpPort("rtmp"),
		Streams:  []Stream{},
		Private:  a.config.Private,

		RTMPSPort: a.config.rtmpPort("rtmps"),
		Public:    a.config.Public,
	}}
	if a.config.Streams != nil && !a.config.Private {
		s.streams.Streams = slices.DeleteFunc(append(s.streams.Streams, a.config.Streams()...), isHidden)
	}
	for i := range s.streams.Streams {
		stream := &s.streams.Streams[i]
		if stream.Key == "" {
			stream.Key = stream.App + "/" + stream.Name
		}
		if stream.Viewers.ByProtocol == nil {
			stream.Viewers.ByProtocol = map[string]int{}
		}
		stream.Video = Finite(stream.Video)
		if len(stream.Tracks) > 0 {
			stream.Tracks = slices.Clone(stream.Tracks)
			for i := range stream.Tracks {
				stream.Tracks[i].Video = Finite(stream.Tracks[i].Video)
			}
		}
	}
	var err error
	s.body, err = encode(s.streams)
	return s, err
}

// isHidden reports whether the public is not told of a stream: there are only viewers of it, or it
// is that of a self-test.
func isHidden(s Stream) bool {
	return s.State == "waiting" || hub.Key{App: s.App, Name: s.Name}.IsCheck()
}

// Finite returns v with a frame rate that JSON can express: one publisher's bad value must
// not cost the others their answer. It leaves v itself alone.
func Finite(v *Video) *Video {
	if v == nil || !math.IsNaN(v.FPS) && !math.IsInf(v.FPS, 0) {
		return v
	}
	known := *v
	known.FPS = 0
	return &known
}

// only returns the answer with just the stream of this key.
func (s *snapshot) only(key string) ([]byte, error) {
	few := s.streams
	few.Streams = []Stream{}
	for _, stream := range s.streams.Streams {
		if stream.Key == key {
			few.Streams = append(few.Streams, stream)
		}
	}
	return encode(few)
}

func encode(v any) ([]byte, error) {
	body, err := json.Marshal(v)
	return append(body, '\n'), err
}
