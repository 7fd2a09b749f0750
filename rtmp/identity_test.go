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
		// Whole URLs as names.
		{app: "live", name: "rtmp://127.0.0.1:1935/live/x", key: "live/x"},
		{app: "live", name: "rtmps://host/live/x?t=1&t=2", key: "live/x", query: "t=1&t=2"},
		{app: "live?u=2", name: "RTMP://[::1]:1935//live//x.flv?t=a://b/c", key: "live/x", query: "t=a://b/c&u=2"},
		{app: "live", name: "h2+x-1.0://user:p%40ss@host/live/x", key: "live/x"},
		{app: "live", name: "rtmp%3A%2F%2Fhost%2Flive%2Fx", key: "live/x"},
		{app: "live", name: "rtmp:///live/x", key: "live/x"},
		{app: "live", name: `rtmp://h\o"st/live/x`, key: "live/x"},
		{app: "live", name: "rtmp://host/live/mp4:x.mp4", key: "live/x.mp4"},
		{app: "live", name: "rtmp://host/mp4:x.mp4", key: "live/x.mp4"},
		{app: "live", name: "mp4:rtmp://host/live/x", key: "live/x"},
		{app: "live/_definst_", name: "rtmp://host/live/_definst_/x", key: "live/x"},
		{app: "live/_definst_", name: "rtmp://host/live/x", key: "live/x"},
		{app: "live", name: "rtmp://host/live/_definst_/mp4:a/x", key: "live/a/x"},
		{app: "live/a", name: "rtmp://host/live/a/b/c", key: "live/a/b/c"},
		{app: "live%20on", name: "rtmp://host/live on/%E4%BD%A0", key: "live on/你"},
		{app: "live", name: "rtmp://host/other/x", key: "live/other/x"},
		{app: "live", name: "rtmp://host/x", key: "live/x"},
		{app: "live", name: "rtmp://live/x", key: "live/x"}, // a host, not the app
		{app: "live", name: "rtmp://host/live/live/x", key: "live/live/x"},
		{app: "live", name: "rtmp://host/live/rtmp://host/live/x", key: "live/rtmp:/host/live/x"},
		{app: "live/a", name: "rtmp://host/live/a", key: "live/a"},
		{app: "live/a/b/c", name: "rtmp://host/live/a/b/c?t=1", key: "live/a/b/c", query: "t=1"},
		{app: "live", name: "rtmp://host/live", err: errNoName},
		{app: "live", name: "rtmp://host/live?k=v/x", err: errNoName},
		{app: "live", name: "rtmp://host/live/.flv", key: "live/.flv"},
		{app: "live", name: "rtmp://host/live/mp4:", err: errNoName},
		{app: "live", name: "rtmp://", err: errNoPath},
		{app: "live/a", name: "rtmp://host", err: errNoPath},
		{app: "live/a", name: "rtmp://host:1935//?t=1", err: errNoPath},
		{app: "live/a", name: "rtmp://host/_definst_", err: errNoPath},
		{app: "live", name: "rtmp://host/live/..", err: errNotRelative},
		{app: "live", name: "rtmp://host/live/mp4:..", err: errNotRelative},
		{app: "live", name: "rtmp://host/live/../x", err: errNotRelative},
		{app: "live", name: "rtmp://host/live/a%00", err: errBadName},
		{app: "live", name: "rtmp://host/live/" + long + "n", err: errTooLong},
		{app: long, name: "rtmp://" + long + "/" + long + "/" + long, key: long + "/" + long},
		// No URLs.
		{app: "live", name: "://host/live/x", key: "live/:/host/live/x"},
		{app: "live", name: "1a://host/x", key: "live/1a:/host/x"},
		{app: "live", name: "a b://host/x", key: "live/a b:/host/x"},
		{app: "live", name: "a:/b", key: "live/a:/b"},
		{app: "live", name: "x/rtmp://host/live/x", key: "live/x/rtmp:/host/live/x"},
		// Names that repeat the app.
		{app: "live", name: "live/x", key: "live/x"},
		{app: "live", name: "/live/x?t=1", key: "live/x", query: "t=1"},
		{app: "live", name: "live%2Fx", key: "live/x"},
		{app: "live/a", name: "live/a/x", key: "live/a/x"},
		{app: "live/a", name: "live/a/b/x", key: "live/a/b/x"},
		{app: "live?k=v", name: "live/x", tcURL: "rtmp://h/live?k=v", key: "live/x", query: "k=v"},
		{app: "live/_definst_", name: "live/x", key: "live/x"},
		{app: "live", name: "mp4:live/x", key: "live/x"},
		{app: "live", name: "live/mp4:x", key: "live/x"},
		{app: "live", name: "live/live/x", key: "live/live/x"}, // once
		{app: "live", name: "live/live", key: "live/live"},
		{app: "live/live", name: "x", key: "live/live/x"}, // as ffmpeg divides /live/live/x
		// And those that do not.
		{app: "live", name: "live", key: "live/live"},
		{app: "live", name: "live/", key: "live/live"},
		{app: "live", name: "live.flv", key: "live/live"},
		{app: "live", name: "liver/x", key: "live/liver/x"},
		{app: "live", name: "LIVE/x", key: "live/LIVE/x"},
		{app: "live/a", name: "live/x", key: "live/a/live/x"},
		{app: "live/a", name: "a/x", key: "live/a/a/x"},
		{app: "live/a", name: "live/a", key: "live/a/live/a"},
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
		{app: "live", name: `a\b`, key: `live/a\b`}, // for the Handler to refuse
		{app: "live", name: "a%23b", key: "live/a#b"},
		{app: "live", name: "a%3ftoken=x", err: errBadName}, // a secret in the name
		{app: "live", name: "a%00", err: errBadName},
		{app: "live", name: "a\r\nb", err: errBadName},
		{app: "live", name: "a%7f", err: errBadName},
		{app: "live", name: "a\u0085b", err: errBadName},
		{app: "live", name: "a%252e", err: errBadName},
		{app: "live", name: "a\xff", err: errBadName},
		{app: "live", name: "a\u202eb", key: "live/a\u202eb"},
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
	f.Add("live", "rtmp://127.0.0.1:1935/live/mp4:x?t=1", "rtmp://127.0.0.1:1935/live")
	f.Add("live/a", "live/a/x.flv", "rtmp://h/live/a")
	f.Add("live/a", "rtmp%3a//h/live/a", "")
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
		if strings.ContainsAny(key, "?%") || strings.ContainsFunc(key, unicode.IsControl) {
			t.Fatalf("%q", key)
		}
		// What is canonical stays so, and is the same stream however the name repeats
		// where it is. Prefixes and suffixes of containers are taken off once.
		if trimPrefix(a) != a || trimPrefix(n) != n || n != ".flv" && strings.HasSuffix(n, ".flv") {
			return
		}
		repeats := [][2]string{{a, n}, {a, key}, {a, "rtmp://host/" + key}, {key, "rtmp://host/" + key}}
		if n != a {
			repeats = append(repeats, [2]string{a, "rtmp://host/" + n})
		}
		for _, again := range repeats {
			a2, n2, _, err := canonical(again[0], again[1], tcURL)
			if err != nil || a2 != a || n2 != n {
				t.Fatalf("%q is %q %q %v instead of %q %q", again, a2, n2, err, a, n)
			}
		}
	})
}
