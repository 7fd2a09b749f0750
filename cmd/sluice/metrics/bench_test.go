package metrics

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/flv/amf"
	"sluice/hub"
	"sluice/hub/fanout"
)

// What one scrape costs with 10,000 viewers, of few streams or of many, and how much of it is reading
// the figures.
func BenchmarkScrape(b *testing.B) {
	const viewers = 10_000
	for _, streams := range []int{0, 1, 100, 5000} {
		b.Run(fmt.Sprintf("streams=%d", streams), func(b *testing.B) {
			h, pool := hub.New(hub.Config{}), fanout.New(fanout.Config{})
			defer func() {
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				require.NoError(b, h.Shutdown(ctx))
				pool.Close()
			}()
			for n := range streams {
				key := hub.Key{App: "live", Name: fmt.Sprint(n)}
				p, err := h.Publish(h.NewSession(hub.RolePublish, key, hub.Client{Protocol: "rtmp"}), hub.PublishOptions{})
				require.NoError(b, err)
				defer p.Close()
				for _, t := range []flv.Tag{
					{Type: flv.TypeScript, Data: amf.AppendAMF0(nil, "onMetaData", amf.ECMAArray{{Name: "videocodecid", Value: 7.0}})},
					{Type: flv.TypeVideo, Data: []byte{0x17, 0, 0, 0, 0}}, {Type: flv.TypeVideo, Data: []byte{0x17, 1, 0, 0, 0}},
					{Type: flv.TypeAudio, Data: []byte{0xaf, 0, 0x12, 0x10}}, {Type: flv.TypeAudio, Data: []byte{0xaf, 1}},
				} {
					require.NoError(b, p.Write(t))
				}
				for i := range viewers / streams {
					who := h.NewSession(hub.RoleWatch, key, hub.Client{Protocol: []string{"http-flv", "ws-flv", "rtmp"}[i%3]})
					v, err := h.Watch(who, hub.WatchOptions{})
					require.NoError(b, err)
					defer v.Close()
					started, err := v.TryStart()
					require.NoError(b, err)
					require.True(b, started)
				}
			}
			m := New(Config{Hub: h, Pool: pool, Methods: map[hub.Role][]string{hub.RoleWatch: {"key"}}}).Handler()
			r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
			r.Header.Set("Accept-Encoding", "gzip")
			b.ReportAllocs()
			for b.Loop() {
				w := httptest.NewRecorder()
				m.ServeHTTP(w, r)
				require.Equal(b, http.StatusOK, w.Code)
			}
		})
	}
}
