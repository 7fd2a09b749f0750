package relay

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

func TestParseRules(t *testing.T) {
	type said struct{ about, urls string }
	for _, c := range []struct {
		kind Kind
		text string
		want []said
	}{
		{Pull, "", nil},
		{Pull, " ;\n; ", nil},
		{Pull, "live/a rtmp://h/app/k", []said{{"live/a", "rtmp://h/app/k"}}},
		{Pull, "live/a%20b  HTTP://u:p@h:8080/x.flv?a=%3B  wss://h/y.flv;\r\nlive/b rtmps://h/a/b/c\n",
			[]said{{"live/a%20b", "http://u:p@h:8080/x.flv?a=%3B wss://h/y.flv"}, {"live/b", "rtmps://h/a/b/c"}}},
		{Pull, "live/%61 http://h/x.flv?t=1%3B2 ws://h/y.flv", []said{{"live/a", "http://h/x.flv?t=1%3B2 ws://h/y.flv"}}},
		{Origin, "live/* http://o/{app}/{name}.flv?{query} rtmp://o2/{app}/{name}; ** http://o3/{name}.flv",
			[]said{{"live/*", "http://o/{app}/{name}.flv?{query} rtmp://o2/{app}/{name}"}, {"**", "http://o3/{name}.flv"}}},
		{Push, "live/** rtmp://a/app/key\nlive/** rtmp://b/app/key;live/x rtmps://c/app/{name}",
			[]said{{"live/**", "rtmp://a/app/key"}, {"live/**", "rtmp://b/app/key"}, {"live/x", "rtmps://c/app/{name}"}}},
	} {
		rules, err := ParseRules(c.kind, c.text)
		require.NoError(t, err, c.text)
		var got []said
		for _, r := range rules {
			assert.Equal(t, c.kind, r.Kind)
			var urls []string
			for _, u := range r.URLs {
				urls = append(urls, u.Secret())
			}
			got = append(got, said{r.About(), strings.Join(urls, " ")})
			again, err := NewRule(c.kind, r.About(), urls)
			require.NoError(t, err)
			assert.True(t, r.Equal(again), "it is read as it is told")
		}
		assert.Equal(t, c.want, got, c.text)
	}
}

// What is wrong is told with the number of its entry, and nothing of it is repeated.
func TestBadRules(t *testing.T) {
	for _, c := range []struct {
		kind Kind
		text string
		want string
	}{
		{Pull, "live/a", "entry 1: must be APP/NAME URL [URL …]"},
		{Pull, "rtmp://h/app/geheim", "entry 1: must be"},
		{Pull, "rtmp://h/app/geheim live/a", "entry 1: the stream is none"},
		{Pull, "live/* rtmp://h/app/geheim", "entry 1: a pull is of one stream"},
		{Pull, "!live/a rtmp://h/app/geheim", "entry 1: the stream is none"},
		{Pull, "live/a?geheim rtmp://h/app/x", "entry 1: the stream is none"},
		{Pull, "live/sluice-check-0123456789abcdef0123456789abcdef rtmp://h/app/geheim", "entry 1: the stream is none"},
		{Pull, "live/a rtmp://h/a/b;live/b ftp://geheim/x", "entry 2: the URL must begin with rtmp://, rtmps://"},
		{Pull, "live/a rtmp://h/a/b http://geheim@/x", "entry 1: URL 2 is malformed"},
		{Pull, "live/a rtmp://h/geheim/{name}", "entry 1: the URL of a pull has a { or }"},
		{Pull, "live/a rtmp://h/a/b rtmp://h/a/b", "entry 1: URL 2 stands there twice"},
		{Pull, "live/a rtmp://h/a/geheim\nlive/%61 rtmp://h/a/b", "entry 2: the stream is pulled already, in entry 1"},
		{Pull, "live/a" + strings.Repeat(" rtmp://h/a/geheim", MaxURLs+1), "more than 16 URLs"},
		{Pull, "live/a rtmp://h/a/geheim" + strings.Repeat("x", MaxURL), "the URL is longer than 2048 bytes"},
		{Origin, "**", "entry 1: must be PATTERN URL [URL …]"},
		{Origin, "live rtmp://h/a/geheim", "entry 1: the pattern is none"},
		{Origin, "** http://{name}.geheim/x", "in path and query only"},
		{Origin, "** http://h/{geheim}", "entry 1: the URL may have nothing in braces but {app}, {name}, {query}"},
		{Push, "** rtmp://h:65536/a/geheim", "entry 1: the URL has a port that is none"},
		{Push, "** rtmp://h:0/a/geheim", "entry 1: the URL has a port that is none"},
		{Origin, "** rtmp://h/a/b;** rtmp://h/a/c", "entry 2: the pattern has its origin already, in entry 1"},
		{Push, "**", "entry 1: must be PATTERN URL"},
		{Push, "** rtmp://h/a/geheim rtmp://h/a/b", "a push has one URL"},
		{Push, "** http://h/a/geheim", "must begin with rtmp://, rtmps://"},
		{Push, "** rtmp://h/{query}", "nothing in braces but {app}, {name}"},
		{Push, "** rtmp://h/a/b;live/** rtmp://h/a/b\n** rtmp://h/a/b", "entry 3: the same is pushed already, in entry 1"},
		{Push, strings.Repeat("x", 1<<20+1), "longer"},
	} {
		_, err := ParseRules(c.kind, c.text)
		require.ErrorContains(t, err, c.want, c.text)
		assert.NotContains(t, err.Error(), "geheim", c.text)
	}
}

func TestRuleMatches(t *testing.T) {
	check := "sluice-check-0123456789abcdef0123456789abcdef"
	for _, c := range []struct {
		kind Kind
		text string
		fits string
		not  string
	}{
		{Pull, "live/a rtmp://h/a/b", "live/a", "live/b"},
		{Origin, "live/** rtmp://h/a/b", "live/b", "vod/b"},
		{Push, "** rtmp://h/a/b", "vod/b", "live/" + check},
	} {
		rules, err := ParseRules(c.kind, c.text)
		require.NoError(t, err)
		for stream, want := range map[string]bool{c.fits: true, c.not: false} {
			key, err := hub.NewKey("", stream)
			require.NoError(t, err)
			assert.Equal(t, want, rules[0].Matches(key), stream)
		}
	}
}

// Two rules that cannot both be are known by it.
func TestRulesCollide(t *testing.T) {
	rule := func(kind Kind, about, u string) Rule {
		r, err := NewRule(kind, about, []string{u})
		require.NoError(t, err)
		return r
	}
	a := rule(Pull, "live/a", "rtmp://h/a/b")
	assert.True(t, a.collides(rule(Pull, "live/a", "rtmp://h/a/c")))
	assert.False(t, a.Equal(rule(Pull, "live/a", "rtmp://h/a/c")))
	assert.False(t, a.collides(rule(Pull, "live/b", "rtmp://h/a/b")))
	p := rule(Push, "live/a", "rtmp://h/a/b")
	assert.False(t, p.collides(a))
	assert.False(t, p.collides(rule(Push, "live/a", "rtmp://h/a/c")))
	assert.True(t, p.Equal(rule(Push, "live/%61", "rtmp://h/a/b")))
}

// Many rules are looked at as often as there are, and not as often as that squared.
func BenchmarkRelays(b *testing.B) {
	r := &Relay{cfg: Config{Logger: slog.New(slog.DiscardHandler)}, pulls: map[hub.Key]*pull{}}
	var rules []Rule
	for i := range MaxRules {
		n, err := NewRule(Pull, fmt.Sprintf("live/%d", i), []string{"rtmp://host/live/a"})
		require.NoError(b, err)
		by := &rule{Rule: n}
		rules, r.rules = append(rules, n), append(r.rules, by)
		r.pulls[n.Key] = newPull(r, by, n.Key, nil)
	}
	b.Run("told", func(b *testing.B) {
		for b.Loop() {
			require.Len(b, r.Relays(), MaxRules)
		}
	})
	b.Run("loaded", func(b *testing.B) {
		for b.Loop() {
			r.Load(rules)
		}
	})
}
