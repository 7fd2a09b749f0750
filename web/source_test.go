package web

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sluice/flv"
)

// clip has ffmpeg make four seconds of picture and sound, once for all tests.
var clip = sync.OnceValues(func() ([]flv.Tag, error) {
	out, err := exec.Command("ffmpeg", "-v", "error",
		"-f", "lavfi", "-i", "testsrc2=size=640x360:rate=30", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000",
		"-t", "4", "-c:v", "libx264", "-preset", "veryfast", "-profile:v", "main", "-pix_fmt", "yuv420p",
		"-g", "30", "-bf", "2", "-flags", "+cgop", "-c:a", "aac", "-ac", "2", "-f", "flv", "-").Output()
	if err != nil {
		return nil, err
	}
	var tags []flv.Tag
	for r := flv.NewReader(bytes.NewReader(out)); ; {
		tag, err := r.Next()
		if errors.Is(err, io.EOF) {
			return tags, nil
		}
		if err != nil {
			return nil, err
		}
		tags = append(tags, tag)
	}
})

const clipLength = 4000 // ms

// source is a server for the page with one live stream, live/demo, which plays
// the clip over and over, as the gateway would over WebSocket and HTTP.
type source struct {
	*httptest.Server
	headers []byte    // FLV header and codec headers
	media   []flv.Tag // of one round
	began   time.Time
	wg      sync.WaitGroup

	mu      sync.Mutex
	streams []Stream
	live    chan struct{} // closed while the stream is live
	kill    chan struct{} // closed to end all viewers
	code    uint16        // with which
	reason  string
	refuse  uint16 // newcomers are refused with this code; 0: they are not
	served  map[string]int
	asked   string                                // the query of the last viewer
	viewers int                                   // now
	joined  []time.Time                           // when viewers did
	away    bool                                  // the publisher is gone, its viewers are held
	sends   func(tag flv.Tag, at, since int) bool // which tags go out, if not all (sendOnly)
	proxy   bool                                  // something on the way does not pass WebSockets
	paced   bool                                  // who looks back gets no more than pace ahead

	recorded recorder
	stills   http.HandlerFunc // answers /api/v1/still, if there are stills
	nonsense atomic.Value     // string: what the API answers instead, if it is not empty
}

const pace = 2000 // ms

const abrupt = 1006 // the connection breaks, without a close frame

func newSource(t *testing.T, live bool) *source { return newSourceOf(t, live, Config{}) }

// newSourceOf is newSource with a page of its own kind.
func newSourceOf(t *testing.T, live bool, c Config) *source {
	return newSourceOn(t, live, c, httptest.NewServer)
}

// newSourceOn is newSourceOf on a server of its own kind.
func newSourceOn(t *testing.T, live bool, c Config, start func(http.Handler) *httptest.Server) *source {
	tags, err := clip()
	require.NoError(t, err, "ffmpeg makes the clip")
	s := &source{
		headers: flv.AppendHeader(nil, true, true),
		began:   time.Now().Add(-10 * clipLength * time.Millisecond), // to look back at
		live:    make(chan struct{}),
		kill:    make(chan struct{}),
		served:  map[string]int{},
	}
	for _, tag := range tags {
		head := tag.Type == flv.TypeScript || len(tag.Data) > 1 && tag.Data[1] == 0
		end := tag.Type == flv.TypeVideo && len(tag.Data) > 1 && tag.Data[1] == 2
		switch {
		case tag.Type == flv.TypeScript: // tells of a duration, which a live stream has not
		case head:
			tag.Timestamp = 0
			s.headers = flv.AppendTag(s.headers, tag)
		case !end && tag.Timestamp < clipLength:
			s.media = append(s.media, tag)
		}
	}
	if live {
		s.publish()
	}
	c.Streams, c.Version = s.infos, "test"
	page := Handler(c)
	s.Server = start(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if text, _ := s.nonsense.Load().(string); text != "" && strings.HasPrefix(r.URL.Path, "/api/") {
			w.Write([]byte(text))
			return
		}
		if s.recorded.serve(w, r) {
			return
		}
		if s.stills != nil && r.URL.Path == "/api/v1/still" {
			s.stills(w, r)
			return
		}
		if strings.HasSuffix(r.URL.Path, ".flv") {
			s.serve(w, r)
			return
		}
		page.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		s.end(abrupt, "")
		s.Server.Close()
		s.wg.Wait()
	})
	return s
}

func (s *source) infos() []Stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	streams := append([]Stream(nil), s.streams...)
	for i := range streams {
		if streams[i].State == "live" && streams[i].BytesIn == 0 {
			streams[i].BytesIn = s.bytesIn()
		}
	}
	return streams
}

// bytesIn is how much the publisher has sent by now.
func (s *source) bytesIn() (n uint64) {
	at := int(time.Since(s.began).Milliseconds())
	for _, tag := range s.media {
		rounds := at / clipLength
		if int(tag.Timestamp) <= at%clipLength {
			rounds++
		}
		n += uint64(rounds * len(tag.Data))
	}
	return n
}

// bitrate is that of the clip, bit/s.
func (s *source) bitrate() int {
	n := 0
	for _, tag := range s.media {
		n += len(tag.Data)
	}
	return n * 8000 / clipLength
}

func (s *source) set(streams ...Stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.streams = streams
}

// demo is the stream that the source serves, as the API tells of it.
func demo() Stream {
	return Stream{
		App: "live", Name: "demo", State: "live", Protocol: "rtmp", UptimeMS: 61000, Bitrate: 2_412_000,
		Video:   &Video{Codec: "H.264", Profile: "Main", Width: 640, Height: 360, FPS: 30},
		Audio:   &Audio{Codec: "AAC", Profile: "LC", SampleRate: 48000, Channels: 2},
		Viewers: Viewers{Total: 3, ByProtocol: map[string]int{"ws-flv": 2, "http-flv": 1}},
	}
}

// publish makes the stream live.
func (s *source) publish() {
	s.set(demo())
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.live:
	default:
		close(s.live)
	}
}

// grace has the publisher drop out, or come back, with its viewers held.
func (s *source) grace(away bool) {
	stream := demo()
	if away {
		stream.State = "grace"
	}
	s.set(stream)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = away
}

func (s *source) watching() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.viewers
}

func (s *source) isAway() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.away
}

// unpublish ends the stream for everyone, as the gateway does after the grace.
func (s *source) unpublish() {
	s.set()
	s.unpublishUntold()
}

// unpublishUntold is unpublish of a server that goes on to list the stream: the page does not wait
// to hear of a publisher.
func (s *source) unpublishUntold() {
	s.mu.Lock()
	s.live = make(chan struct{})
	s.mu.Unlock()
	s.end(1000, "unpublished")
}

// end ends all viewers with a close code, those to come not.
func (s *source) end(code uint16, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.code, s.reason = code, reason
	close(s.kill)
	s.kill = make(chan struct{})
}

func (s *source) turnAway(code uint16, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse, s.reason = code, reason
}

func (s *source) count(over string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.served[over]
}

// lastAsked returns the query of the last viewer.
func (s *source) lastAsked() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// sendOnly has the publisher leave out what sends says no to: a tag's place in the
// stream is at, and the viewer began since, both in ms. nil is for all.
func (s *source) sendOnly(sends func(tag flv.Tag, at, since int) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sends = sends
}

func (s *source) isSent(tag flv.Tag, at, since int) bool {
	s.mu.Lock()
	sends := s.sends
	s.mu.Unlock()
	return sends == nil || sends(tag, at, since)
}

// announce makes the headers those of a stream with one track.
func (s *source) announce(track flv.Type) { s.headers = only(track, s.headers) }

// only returns the headers of a stream with one of its tracks.
func only(track flv.Type, headers []byte) []byte {
	tags, r := []byte(nil), flv.NewReader(bytes.NewReader(headers))
	for tag, err := r.Next(); err == nil; tag, err = r.Next() {
		if tag.Type == track {
			tags = flv.AppendTag(tags, tag)
		}
	}
	return append(flv.AppendHeader(nil, track == flv.TypeAudio, track == flv.TypeVideo), tags...)
}

// joins waits until so many viewers have joined, and returns when each did.
func (s *source) joins(t *testing.T, viewers int) (joined []time.Time) {
	t.Helper()
	require.Eventually(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		joined = append([]time.Time(nil), s.joined...)
		return len(joined) >= viewers
	}, patience, 10*time.Millisecond)
	return joined
}

// play writes what a viewer gets: headers, the GOP, then the rest as time goes.
func (s *source) play(r *http.Request, kill, gone <-chan struct{}, write func([]byte) error) error {
	back, onlyAudio := lookBack(r), r.URL.Query().Get("onlyaudio") == "1"

	now := func() int { return int(time.Since(s.began).Milliseconds()) }
	start := now() - back
	s.mu.Lock()
	if s.paced && back > pace {
		live := now
		now = func() int { return live() - back + pace }
	}
	s.mu.Unlock()
	// The newest key frame by then is the place to begin.
	round, begin := start/clipLength, 0
	for i, tag := range s.media {
		if tag.Type == flv.TypeVideo && tag.Data[0]>>4 == 1 && round*clipLength+int(tag.Timestamp) <= start {
			begin = i
		}
	}
	base := round*clipLength + int(s.media[begin].Timestamp)
	batch := append([]byte(nil), s.headers...)
	if onlyAudio {
		batch = only(flv.TypeAudio, s.headers)
	}
	missing := false
	for i, next := begin, 0; ; {
		for away := s.isAway(); ; i++ {
			if i == len(s.media) {
				i, round = 0, round+1
			}
			tag := s.media[i]
			at := round*clipLength + int(tag.Timestamp)
			if at > now() {
				next = at
				break
			}
			if key := tag.Type == flv.TypeVideo && tag.Data[0]>>4 == 1; away || missing && !key {
				missing = true // and a publisher begins with a key frame
				continue
			}
			missing = false
			if !s.isSent(tag, at, at-base) || onlyAudio && tag.Type == flv.TypeVideo {
				continue
			}
			tag.Timestamp = uint32(at - base)
			batch = flv.AppendTag(batch, tag)
		}
		if len(batch) > 0 {
			if err := write(batch); err != nil {
				return err
			}
		}
		batch = batch[:0]
		select {
		case <-kill:
			return nil
		case <-gone:
			return net.ErrClosed
		case <-time.After(time.Duration(next-now()) * time.Millisecond):
		}
	}
}
