package web

import (
	"compress/gzip"
	"io"
	"net/http"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// maxPage is how many bytes the whole page may have as it is transferred, but for the player.
const maxPage = 60_000

// What a page links to, and what a script needs before it runs. What is fetched only when somebody
// wants it (import(…)) does not count.
var (
	linked   = regexp.MustCompile(`<(?:link rel="stylesheet" href|script type="module" src|link rel="icon"[^>]* href)="([^"]+)"`)
	imported = regexp.MustCompile(`\b(?:import|export)\b[^;("']*["']\./([^"']+)["']`)
)

// fetched returns the bytes on the wire and the text of an answer.
func fetched(t *testing.T, h http.Handler, target string) (size int, text string) {
	t.Helper()
	r := ask(h, "GET", target, "Accept-Encoding", "gzip")
	require.Equal(t, 200, r.StatusCode, target)
	sent := body(t, r)
	if r.Header.Get("Content-Encoding") != "gzip" {
		return len(sent), sent
	}
	z, err := gzip.NewReader(strings.NewReader(sent))
	require.NoError(t, err)
	whole, err := io.ReadAll(z)
	require.NoError(t, err)
	return len(sent), string(whole)
}

// Whoever opens a stream, or frames it, fetches no more than that.
func TestPageIsSmall(t *testing.T) {
	h := Handler(Config{Logger: quiet, assets: files(t, true)})
	for _, page := range []string{"/", "/?stream=live/demo", "/embed/live/demo"} {
		sum, text := fetched(t, h, page)
		t.Logf("%s: %d bytes", page, sum)
		seen := map[string]bool{}
		var fetch func(target string)
		fetch = func(target string) {
			if seen[target] {
				return
			}
			seen[target] = true
			size, text := fetched(t, h, target)
			t.Logf("%6d %s", size, path.Base(target))
			sum += size
			if path.Ext(target) == ".js" {
				for _, of := range imported.FindAllStringSubmatch(text, -1) {
					fetch(path.Join(path.Dir(target), of[1]))
				}
			}
		}
		for _, of := range linked.FindAllStringSubmatch(text, -1) {
			fetch(of[1])
		}
		require.Greater(t, len(seen), 8)
		t.Logf("%6d bytes in %d files", sum, len(seen)+1)
		assert.LessOrEqual(t, sum, maxPage, page)
	}
}
