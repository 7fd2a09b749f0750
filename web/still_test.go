package web

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
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

// studio publishes streams of pictures to a hub, and counts how often stills are taken of them.
type studio struct {
	*hub.Hub
	t     *testing.T
	taken atomic.Int64
}

// newStudio returns one with the handler that serves its stills.
func newStudio(t *testing.T, c StillsConfig) (*studio, http.Handler) {
	cam := &studio{Hub: hub.New(hub.Config{PublisherGrace: -1}), t: t}
	c.Take = func(key hub.Key, have hub.StillMark) (hub.Still, error) {
		cam.taken.Add(1)
		return cam.Still(key, have)
	}
	return cam, Handler(Config{Logger: quiet, assets: files(t, true), Stills: c})
}

// avcC is a codec header of H.264, 176x144.
const avcC = "\x01\x42\xc0\x0a\xff\xe1\x00\x16\x67\x42\xc0\x0a\xd9\x02\xc4\xec\x04\x40\x00\x00\x03\x00\x40\x00\x00\x07\x83\xc4\x89\x92\x01\x00\x04\x68\xcb\x8f\x20"

// stream publishes a stream with a picture for each of these texts, all of them key frames.
func (c *studio) stream(name string, pictures ...string) *hub.Publisher {
	p, err := c.Publish(c.NewSession(hub.RolePublish, hub.Key{App: "live", Name: name}, hub.Client{}), hub.PublishOptions{})
	require.NoError(c.t, err)
	c.t.Cleanup(p.Close)
	require.NoError(c.t, p.Write(flv.Tag{Type: flv.TypeVideo, Data: []byte("\x17\x00\x00\x00\x00" + avcC)}))
	for i, picture := range pictures {
		shoot(c.t, p, i, picture)
	}
	return p
}

// shoot publishes a further picture.
func shoot(t *testing.T, p *hub.Publisher, i int, picture string) {
	require.NoError(t, p.Write(flv.Tag{Type: flv.TypeVideo, Timestamp: uint32(40 * i), Data: []byte("\x17\x01\x00\x00\x00" + picture)}))
}

// still asks for one of live/NAME.
func still(t *testing.T, h http.Handler, name string) string {
	t.Helper()
	r := ask(h, "GET", "/api/v1/still?stream=live/"+name)
	require.Equal(t, 200, r.StatusCode, name)
	return body(t, r)
}

// The answer is an MP4 file which caches may keep for a second, of which clients may have parts,
// and which they need not fetch again.
func TestStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cam, h := newStudio(t, StillsConfig{})
		cam.stream("cam", "PICTURE")
		r := ask(h, "GET", "/api/v1/still?stream=live/cam")
		assert.Equal(t, 200, r.StatusCode)
		assert.Equal(t, "video/mp4", r.Header.Get("Content-Type"))
		assert.Equal(t, "public, max-age=1", r.Header.Get("Cache-Control"))
		assert.Equal(t, "bytes", r.Header.Get("Accept-Ranges"))
		assert.Equal(t, "nosniff", r.Header.Get("X-Content-Type-Options"))
		text := body(t, r)
		assert.Equal(t, fmt.Sprint(len(text)), r.Header.Get("Content-Length"))
		assert.Equal(t, "ftyp", text[4:8])
		assert.True(t, strings.HasSuffix(text, "PICTURE"))
		etag := r.Header.Get("ETag")
		assert.Regexp(t, `^"[0-9a-f]{24}"$`, etag)

		r = ask(h, "HEAD", "/api/v1/still?stream=live/cam")
		assert.Equal(t, []any{200, etag, fmt.Sprint(len(text))}, []any{r.StatusCode, r.Header.Get("ETag"), r.Header.Get("Content-Length")})
		assert.Empty(t, body(t, r))
		r = ask(h, "GET", "/api/v1/still?stream=live/cam", "If-None-Match", etag)
		assert.Equal(t, []any{304, etag, ""}, []any{r.StatusCode, r.Header.Get("ETag"), body(t, r)})
		r = ask(h, "GET", "/api/v1/still?stream=live/cam", "Range", "bytes=-7")
		assert.Equal(t, []any{206, "PICTURE"}, []any{r.StatusCode, body(t, r)})
		r = ask(h, "GET", "/api/v1/still?stream=live/cam", "Range", "bytes=1000000-")
		assert.Equal(t, 416, r.StatusCode)
		assert.Equal(t, int64(1), cam.taken.Load())

		cam.stream("same", "PICTURE")
		cam.stream("other", "picture")
		assert.Equal(t, etag, ask(h, "GET", "/api/v1/still?stream=live/same").Header.Get("ETag"))
		assert.NotEqual(t, etag, ask(h, "GET", "/api/v1/still?stream=live/other").Header.Get("ETag"))
	})
}

// Whoever gets none is told why, and leaves nothing behind.
func TestNoStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cam, h := newStudio(t, StillsConfig{})
		cam.stream("fresh")
		cam.stream("huge", strings.Repeat("x", hub.MaxStill))
		p := cam.stream("broken", "P")
		require.NoError(t, p.Write(flv.Tag{Type: flv.TypeVideo, Timestamp: 40, Data: []byte("\x17\x00\x00\x00\x00nonsense")}))
		shoot(t, p, 2, "P")
		p = cam.stream("vp6")
		require.NoError(t, p.Write(flv.Tag{Type: flv.TypeVideo, Data: []byte("\x14\x00picture")}))
		sound, err := cam.Publish(cam.NewSession(hub.RolePublish, hub.Key{App: "live", Name: "sound"}, hub.Client{}), hub.PublishOptions{})
		require.NoError(t, err)
		defer sound.Close()
		for i := range 2 {
			require.NoError(t, sound.Write(flv.Tag{Type: flv.TypeAudio, Timestamp: uint32(2000 * i), Data: []byte("\x2fsound")}))
			time.Sleep(2 * time.Second)
		}
		streams := len(cam.Streams())
		for query, want := range map[string]struct {
			status int
			reason string
		}{
			"":                   {400, "needs an app and a name"},
			"?stream=cam":        {400, "needs an app and a name"},
			"?stream=live/..":    {400, `segment \"..\"`},
			"?stream=live/a%00b": {400, "not allowed"},
			"?stream=live/%ff":   {400, "not valid UTF-8"},
			"?stream=live/" + strings.Repeat("x", 300):            {400, "longer than 255 bytes"},
			"?stream=live/cam&key=" + strings.Repeat("x", 5000):   {400, "the query is too long"},
			"?stream=live/nobody":                                 {404, "nobody publishes live/nobody now"},
			"?stream=live/" + strings.Repeat("x", 250):            {404, "nobody publishes"},
			"?stream=live/" + "%E6%91%84%E5%83%8F%E6%9C%BA%20(1)": {404, "nobody publishes live/摄像机 (1) now"},
			"?stream=live/fresh":                                  {404, "no key frame of live/fresh has come yet"},
			"?stream=live/sound":                                  {404, "live/sound has no picture"},
			"?stream=live/huge":                                   {404, "larger than 4194304 bytes"},
			"?stream=live/broken":                                 {404, "no still can be made of the key frames of live/broken"},
			"?stream=live/vp6":                                    {404, "no still can be made of"},
		} {
			r := ask(h, "GET", "/api/v1/still"+query)
			assert.Equal(t, want.status, r.StatusCode, "%.50s", query)
			assert.Equal(t, "no-store", r.Header.Get("Cache-Control"), "%.50s", query)
			assert.Contains(t, body(t, r), want.reason, "%.50s", query)
		}
		assert.Len(t, cam.Streams(), streams)
		r := ask(h, "POST", "/api/v1/still?stream=live/fresh")
		assert.Equal(t, []any{405, "GET, HEAD"}, []any{r.StatusCode, r.Header.Get("Allow")})
		r = ask(Handler(Config{Logger: quiet, assets: files(t, true)}), "GET", "/api/v1/still?stream=live/fresh")
		assert.Equal(t, 404, r.StatusCode)
	})
}

// All who ask within a second get the same, which is made once; after that it is looked at
// again, and made again if it is another. What cannot be made is not tried again either.
func TestStillIsMadeOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cam, h := newStudio(t, StillsConfig{})
		p := cam.stream("cam", "ONE")
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() { assert.True(t, strings.HasSuffix(still(t, h, "cam"), "ONE")) })
		}
		all.Wait()
		assert.Equal(t, int64(1), cam.taken.Load())
		shoot(t, p, 1, "TWO")
		time.Sleep(stillMaxAge - 1)
		assert.True(t, strings.HasSuffix(still(t, h, "cam"), "ONE"))
		assert.Equal(t, int64(1), cam.taken.Load())
		time.Sleep(time.Nanosecond)
		assert.True(t, strings.HasSuffix(still(t, h, "cam"), "TWO"))
		time.Sleep(stillMaxAge)
		assert.True(t, strings.HasSuffix(still(t, h, "cam"), "TWO"))
		assert.True(t, strings.HasSuffix(still(t, h, "cam"), "TWO"))
		assert.Equal(t, int64(3), cam.taken.Load())

		// The stream ends, and what is published under its name afterwards is another one.
		p.Close()
		time.Sleep(stillMaxAge)
		assert.Equal(t, 404, ask(h, "GET", "/api/v1/still?stream=live/cam").StatusCode)
		p = cam.stream("cam", "NEW")
		assert.True(t, strings.HasSuffix(still(t, h, "cam"), "NEW"))
		p.Close()
	})
}

// bounded is a cache of stills without a hub: each is of a size, and of one moment.
func bounded(size int) *stillCache {
	config := flv.Tag{Type: flv.TypeVideo, Data: []byte("\x17\x00\x00\x00\x00" + avcC)}
	picture := append([]byte("\x17\x01\x00\x00\x00"), bytes.Repeat([]byte("x"), size)...)
	return newStillCache(func(hub.Key, hub.StillMark) (hub.Still, error) {
		return hub.Still{Config: config, Frames: []flv.Tag{{Type: flv.TypeVideo, Data: picture}}}, nil
	})
}

func cam(i int) hub.Key { return hub.Key{App: "live", Name: fmt.Sprint("cam", i)} }

// Stills are kept for those who ask again, and not for long.
func TestStillsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := bounded(1000)
		get := func(i int) func() {
			still, release, err := s.get(cam(i))
			require.NoError(t, err)
			require.NotEmpty(t, still.body)
			return release
		}
		kept := func() (n int, bytes, held int64) {
			s.mu.Lock()
			defer s.mu.Unlock()
			assert.Len(t, s.made, s.asked.Len())
			assert.Equal(t, s.asked.Len() > 0, s.sweep != nil)
			return s.asked.Len(), s.bytes, s.held
		}
		for i := range 3 {
			get(i)()
		}
		sending := get(0)
		time.Sleep(20 * time.Second)
		get(2)()
		n, bytes, held := kept()
		assert.Equal(t, 3, n)
		assert.Equal(t, bytes, held)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		n, bytes, held = kept()
		assert.Equal(t, 1, n, "two were not asked for")
		assert.Greater(t, held, bytes, "one of them is sent")
		sending()
		_, bytes, held = kept()
		assert.Equal(t, bytes, held)
		time.Sleep(20 * time.Second)
		synctest.Wait()
		n, bytes, held = kept()
		assert.Equal(t, []int64{0, 0, 0}, []int64{int64(n), bytes, held})
		get(1)() // and again from nothing
		time.Sleep(stillKept)
		synctest.Wait()
		n, _, _ = kept()
		assert.Zero(t, n)
	})
}

// Neither their number nor their size is for clients to choose, nor how much of them is being
// sent to those who take nothing.
func TestStillsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		many := bounded(10)
		for i := range maxStills + 10 {
			_, release, err := many.get(cam(i))
			require.NoError(t, err)
			release()
		}
		assert.Len(t, many.made, maxStills)
		assert.Equal(t, maxStills, many.asked.Len())
		assert.NotContains(t, many.made, cam(9), "the first went first")
		assert.Contains(t, many.made, cam(10))

		large := bounded(hub.MaxStill - 5)
		var sending []func()
		refused := 0
		for i := range 100 {
			_, release, err := large.get(cam(i))
			if err != nil {
				refusal, ok := errors.AsType[*hub.Refusal](err)
				require.True(t, ok)
				assert.Equal(t, hub.ReasonTooMany, refusal.Reason)
				refused++
				continue
			}
			sending = append(sending, release)
			assert.LessOrEqual(t, large.bytes, int64(maxStillBytes))
		}
		assert.LessOrEqual(t, large.held, int64(maxHeldStills+hub.MaxStill+stillHead))
		assert.Equal(t, 100, refused+len(sending))
		assert.GreaterOrEqual(t, len(sending), maxHeldStills/(hub.MaxStill+stillHead))
		assert.NotZero(t, refused)
		for _, release := range sending {
			release()
			release() // which means nothing
		}
		assert.Equal(t, large.held, large.bytes)
		_, release, err := large.get(cam(200))
		require.NoError(t, err)
		release()
	})
}

// Where there is a policy, it is asked each time, before anybody is told whether there is such a
// stream; and caches on the way keep nothing.
func TestStillNeedsPermission(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		cam, h := newStudio(t, StillsConfig{Private: true, Permit: func(r *http.Request, key hub.Key) (hub.Key, error) {
			asked++
			switch r.URL.Query().Get("key") {
			case "right":
				return key, nil
			case "else":
				return hub.Key{App: "live", Name: "other"}, nil
			case "left":
				return key, &hub.Refusal{Reason: hub.ReasonClientLeft}
			}
			return key, &hub.Refusal{Reason: hub.ReasonDenied, Detail: "permission is needed"}
		}})
		cam.stream("cam", "CAM")
		cam.stream("other", "OTHER")
		for i := range 2 {
			r := ask(h, "GET", "/api/v1/still?stream=live/cam&key=right")
			assert.Equal(t, []any{200, "private, max-age=1"}, []any{r.StatusCode, r.Header.Get("Cache-Control")})
			assert.True(t, strings.HasSuffix(body(t, r), "CAM"))
			for _, name := range []string{"cam", "nobody"} {
				r = ask(h, "GET", "/api/v1/still?stream=live/"+name)
				assert.Equal(t, 403, r.StatusCode)
				assert.Equal(t, `{"error":"denied","reason":"permission is needed"}`+"\n", body(t, r))
			}
			assert.True(t, strings.HasSuffix(body(t, ask(h, "GET", "/api/v1/still?stream=live/cam&key=else")), "OTHER"))
			assert.Equal(t, 4*(i+1), asked)
		}
		assert.PanicsWithValue(t, http.ErrAbortHandler, func() { ask(h, "GET", "/api/v1/still?stream=live/cam&key=left") })
	})
}

// Streams begin and end and change while a hundred ask for their stills.
func TestStillsWhileStreamsEnd(t *testing.T) {
	cam, h := newStudio(t, StillsConfig{})
	s := httptest.NewServer(h)
	defer s.Close()
	over := make(chan struct{})
	var publishers, clients sync.WaitGroup
	for i := range 4 {
		publishers.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-over:
					return
				default:
				}
				p, err := cam.Publish(cam.NewSession(hub.RolePublish, hub.Key{App: "live", Name: fmt.Sprint(i)}, hub.Client{}), hub.PublishOptions{})
				if !assert.NoError(t, err) {
					return
				}
				assert.NoError(t, p.Write(flv.Tag{Type: flv.TypeVideo, Data: []byte("\x17\x00\x00\x00\x00" + avcC)}))
				assert.NoError(t, p.Write(flv.Tag{Type: flv.TypeVideo, Data: []byte("\x17\x01\x00\x00\x00" + strings.Repeat("x", 1+n*1237%50_000))}))
				time.Sleep(time.Millisecond)
				p.Close()
			}
		})
	}
	for i := range 100 {
		clients.Go(func() {
			for range 10 {
				r, err := s.Client().Get(fmt.Sprintf("%s/api/v1/still?stream=live/%d", s.URL, i%5))
				if !assert.NoError(t, err) {
					return
				}
				got, err := io.ReadAll(r.Body)
				r.Body.Close()
				assert.NoError(t, err)
				assert.True(t, r.StatusCode == 404 || r.StatusCode == 200 && bytes.HasSuffix(got, []byte("x")), r.StatusCode)
			}
		})
	}
	clients.Wait()
	close(over)
	publishers.Wait()
	require.NoError(t, cam.Shutdown(t.Context()))
}

// One still of 50 KB for a client: made anew, and as nearly all get it.
func BenchmarkStill(b *testing.B) {
	s := bounded(50_000)
	b.Run("made", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			still, err := s.make(cam(0))
			require.NoError(b, err)
			require.NotEmpty(b, still.body)
			s.mu.Lock()
			s.dropLocked(still)
			s.mu.Unlock()
		}
	})
	b.Run("kept", func(b *testing.B) {
		h := Handler(Config{Logger: quiet, Stills: StillsConfig{Take: s.take}})
		b.ReportAllocs()
		for b.Loop() {
			require.Equal(b, 200, ask(h, "GET", "/api/v1/still?stream=live/cam").StatusCode)
		}
	})
}
