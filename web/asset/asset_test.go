package asset

import (
	"net/http/httptest"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTakesGzip(t *testing.T) {
	for accept, want := range map[string]bool{
		"": false, "gzip": true, "gzip;q=0": false, "gzip; q=0.0": false, "gzip;q=1": true, "gzip;q=x": false,
		"deflate": false, "xgzip": false, "identity, gzip": true,
	} {
		assert.Equal(t, want, takesGzip(accept), accept)
	}
}

// Of two folders with the same file the first counts, and any change is another hash.
func TestLoad(t *testing.T) {
	own := fstest.MapFS{"a.js": {Data: []byte("own")}, "index.html": {Data: []byte("page")}}
	shared := fstest.MapFS{"a.js": {Data: []byte("shared")}, "npm/b.css": {Data: []byte("b")}}
	f, err := Load(own, shared)
	require.NoError(t, err)
	assert.False(t, f.Has("index.html"))
	get := func(name string) (string, string, bool) {
		w := httptest.NewRecorder()
		found := f.Serve(w, httptest.NewRequest("GET", "/", nil), name)
		return w.Body.String(), w.Header().Get("Cache-Control"), found
	}
	body, cache, found := get("a.js")
	assert.Equal(t, []any{"own", "no-cache", true}, []any{body, cache, found})
	body, cache, found = get(f.Hash() + "/npm/b.css")
	assert.Equal(t, []any{"b", "public, max-age=31536000, immutable", true}, []any{body, cache, found})
	_, cache, found = get("0123456789abcdef/a.js")
	assert.Equal(t, []any{"no-cache", true}, []any{cache, found}, "of another build")
	_, _, found = get("c.js")
	assert.False(t, found)

	other, err := Load(shared)
	require.NoError(t, err)
	assert.NotEqual(t, f.Hash(), other.Hash())
}
