package hook

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestJWKSFetch(t *testing.T) {
	release := make(chan struct{})
	const document = `{"keys":[]}`
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/keys":
			if user, password, _ := r.BasicAuth(); user+":"+password != "u:s3cret" || r.URL.RawQuery != "k=s3cret" {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			w.Write([]byte(document))
		case "/exact":
			w.Write(bytes.Repeat([]byte(" "), maxKeys))
		case "/huge":
			for piece := bytes.Repeat([]byte(" "), 32<<10); ; {
				if _, err := w.Write(piece); err != nil {
					return
				}
			}
		case "/redirect":
			http.Redirect(w, r, "/keys", http.StatusFound)
		case "/hang":
			w.(http.Flusher).Flush()
			<-release
		case "/short":
			w.Header().Set("Content-Length", "10")
		}
	}))
	defer srv.Close()
	defer close(release)
	at := func(path string) string {
		return strings.Replace(srv.URL, "http://", "http://u:s3cret@", 1) + path + "?k=s3cret"
	}
	for path, want := range map[string]string{
		"/keys": "", "/exact": "", "/huge": "of 1048576 bytes or less", "/redirect": "302", "/short": "broke off", "/hang": "in time",
	} {
		fetch, err := JWKSFetch(fixed(at(path)))
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		if path != "/hang" {
			ctx = t.Context()
		}
		got, err := fetch(ctx)
		cancel()
		if want != "" {
			require.ErrorIs(t, err, ErrUnanswered, path)
			assert.ErrorContains(t, err, want)
			assert.NotContains(t, err.Error(), "s3cret")
			continue
		}
		require.NoError(t, err, path)
		if path == "/keys" {
			assert.Equal(t, document, string(got))
		}
	}
	fetch, err := JWKSFetch(fixed("http://u:s3cret@127.0.0.1:1/?s3cret"))
	require.NoError(t, err)
	_, err = fetch(t.Context())
	require.ErrorIs(t, err, ErrUnanswered)
	assert.NotContains(t, err.Error(), "s3cret")
}
