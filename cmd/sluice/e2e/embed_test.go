package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A page of a listed origin shows a stream in a frame, with its permission, although only
// another origin's pages may fetch streams; the same page under another name shows nothing.
func TestEmbedInAnotherSite(t *testing.T) {
	t.Parallel()
	address := ""
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<!doctype html><title>Site</title><iframe src="%s" width="640" height="360" onload="window.framed = true"
			allow="autoplay; fullscreen; picture-in-picture"></iframe>`, address)
	}))
	t.Cleanup(site.Close)
	at, err := url.Parse(site.URL)
	require.NoError(t, err)
	s := serve(t, "SLUICE_EMBED_ORIGINS=http://127.0.0.1:"+at.Port(), "SLUICE_ALLOW_ORIGINS=https://a.example",
		"SLUICE_WATCH_AUTH=key", "SLUICE_WATCH_KEYS=live/* letMeWatchThis")
	address = "http://" + s.http + "/embed/live/x?start=live&amp;key=letMeWatchThis"
	b := browse(t)
	s.publish("live/x", both)

	b.open("http://localhost:" + at.Port() + "/")
	b.until("window.framed", "document.title")
	until(t, "the browser says why", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		before := len(b.complaints)
		b.complaints = slices.DeleteFunc(b.complaints, func(text string) bool { return strings.Contains(text, "frame-ancestors") })
		return len(b.complaints) < before
	})
	assert.Zero(t, s.stream("live/x").Viewers.Total)

	b.open("http://127.0.0.1:" + at.Port() + "/")
	s.watched("live/x", 1)
}
