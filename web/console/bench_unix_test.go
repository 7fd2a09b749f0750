//go:build unix

package console

import (
	"net/http/httptest"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// cpu is the time of the processors that this process has used.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkRefresh is what one refresh of a page costs a server with 300 streams and 20,000
// sessions: each of the requests that the page makes, once.
func BenchmarkRefresh(b *testing.B) {
	r := newRig(b)
	r.populate(300, 19_700)
	for _, page := range []struct {
		name     string
		requests []string
	}{
		{"overview", []string{"info", "series", "streams?limit=1000", "recordings?state=recording&limit=20"}},
		{"streams", []string{"streams?limit=100"}},
		{"stream", []string{"streams?stream=live%2Fchannel-007&limit=1", "series?stream=live%2Fchannel-007", "sessions?stream=live%2Fchannel-007&limit=10&sort=-lag", "sessions?stream=live%2Fchannel-007&role=publish&limit=1", "recordings?stream=live%2Fchannel-007&limit=10"}},
		{"sessions", []string{"sessions?limit=50"}},
		{"sessions by lag", []string{"sessions?sort=-lag&limit=50"}},
		{"sessions by subject", []string{"sessions?sort=subject&limit=50&cursor=10000"}},
		{"sessions searched", []string{"sessions?search=viewer-97&limit=50"}},
	} {
		b.Run(page.name, func(b *testing.B) {
			b.ReportAllocs()
			before := cpu(b)
			defer func() { b.ReportMetric(float64(cpu(b)-before)/float64(b.N)/1e6, "cpu-ms/op") }()
			for b.Loop() {
				for _, path := range page.requests {
					q := httptest.NewRequest("GET", "/api/v1/"+path, nil)
					q.Header.Set("Authorization", "Bearer "+token)
					w := httptest.NewRecorder()
					r.api.ServeHTTP(w, q)
					if w.Code != 200 && (w.Code != 404 || path[:6] != "series") {
						b.Fatal(path, w.Code, w.Body)
					}
				}
			}
		})
	}
}
