package rtmp

import (
	"net/url"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCanonical(t *testing.T) {
	long := strings.Repeat("n", maxNameLength)
	for _, tt := range []struct {
		app, name, tcURL string
		key              string // empty: err
		query            string
		err              error
	}{
		{app: "live", name: "a", key: "live/a"},
		{app: "live", name: "a?t=1", key: "live/a", query: "t=1"},
		// One URL as ffmpeg, rtmpdump and OBS divide it.
		{app: "live/a", name: "b/c", key: "live/a/b/c"},
		{app: "live/a/b", name: "c", key: "live/a/b/c"},
		{app: "live/a/b/c", name: "", key: "live/a/b/c"},
		{app: "live?k=v", name: "x", tcURL: "rtmp://h/live?k=v", key: "live/x", query: "k=v"},
		{app: "live/", name: "/x/", key: "live/x"},
		{app: "/live//", name: "x", key: "live/x"},
		{app: "live/_definst_", name: "x", key: "live/x"},
		{app: "live", name: "_definst_/x", key: "live/x"},
		{app: "live", name: "a%20b", key: "live/a b"},
		{app: "live", name: "a b", key: "live/a b"},
		{app: "live", name: "a%2fb", key: "live/a/b"},
		{app: "live", name: "%E4%BD%A0", key: "live/你"},
		{app: "live", name: "x.flv", key: "live/x"},
		{app: "live", name: "x.flv?t=1", key: "live/x", query: "t=1"},
		{app: "live", name: ".flv", key: "live/.flv"},
		{app: "live", name: "mp4:x.mp4", key: "live/x.mp4"},
		{app: "live", name: "flv:x", key: "live/x"},
		// Name before app before tcUrl; a plus stays; escapes decoded.
		{app: "live?a=2&b=2", name: "x?a=1&a=%31+&e", tcURL: "rtmp://h/live?a=3&b=3&c=3", key: "live/x", query: "a=1&a=1%2B&b=2&c=3&e="},
		{app: "live", name: "x?t=%zz", key: "live/x", query: "t=%25zz"},
		{app: long, name: long, key: long + "/" + long},
		{app: "live", name: "", err: errNoName},
		{app: "", name: "", err: errNoApp},
		{app: "", name: "x", err: errNoName},
		{app: "live", name: "..", err: errNotRelative},
		{app: "live", name: "%2e%2e/x", err: errNotRelative},
		{app: "live/../x", name: "x", err: errNotRelative},
		{app: "live", name: `a\b`, err: errBadName},
		{app: "live", name: "a%00", err: errBadName},
		{app: "live", name: "a\r\nb", err: errBadName},
		{app: "live", name: "a%252e", err: errBadName},
		{app: "live", name: "a\xff", err: errBadName},
		{app: "live", name: "a\u202eb", err: errBadName},
		{app: "live", name: "%zz", err: errBadName},
		{app: "live", name: long + "n", err: errTooLong},
		{app: long + "/n", name: "x", err: errTooLong},
		{app: "live", name: "x?" + strings.Repeat("n", maxArgument), err: errTooLong},
	} {
		app, name, query, err := canonical(tt.app, tt.name, tt.tcURL)
		if tt.err != nil {
			assert.ErrorIs(t, err, tt.err, "%q %q", tt.app, tt.name)
			continue
		}
		require.NoError(t, err, "%q %q", tt.app, tt.name)
		r := Request{App: app, Name: name}
		assert.Equal(t, tt.key, r.Key())
		assert.NotContains(t, name, "/")
		want, err := url.ParseQuery(tt.query)
		require.NoError(t, err)
		assert.Equal(t, want, query, "%q %q", tt.app, tt.name)
	}
}

func TestQueryIsBounded(t *testing.T) {
	var q strings.Builder
	for i := range 10 * maxQueryValues {
		q.WriteString("k" + strings.Repeat("x", i) + "=1&")
	}
	values := make(url.Values)
	addQuery(values, q.String())
	assert.Len(t, values, maxQueryValues)
}

func FuzzCanonical(f *testing.F) {
	f.Add("live/a?x=1", "b%2fc?y=2&y=3", "rtmp://h/live?z=1")
	f.Add("live/_definst_", "mp4:%2e%2e.flv", "")
	f.Add("\x00", "a\\b", "?")
	f.Fuzz(func(t *testing.T, app, name, tcURL string) {
		a, n, _, err := canonical(app, name, tcURL)
		if err != nil {
			return
		}
		key := a + "/" + n
		if a == "" || n == "" || len(a) > maxNameLength || len(n) > maxNameLength || !utf8.ValidString(key) {
			t.Fatalf("%q", key)
		}
		for s := range strings.SplitSeq(key, "/") {
			if s == "" || s == "." || s == ".." || s == definst {
				t.Fatalf("segment %q of %q", s, key)
			}
		}
		if strings.ContainsAny(key, "\\?#%\"<>|*") || strings.ContainsFunc(key, unicode.IsControl) {
			t.Fatalf("%q", key)
		}
	})
}
