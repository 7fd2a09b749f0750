package pattern

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestList(t *testing.T) {
	for _, tt := range []struct{ list, in, out string }{
		{"", "", "live/a"},
		{"**", "live/a a/b/c/d", ""},
		{"live/*", "live/a live/ä", "live/a/b live live2/a LIVE/a"},
		{"live/**", "live/a live/a/b live", "other/a"},
		{"**/cam", "live/cam a/b/c/cam cam", "live/cam2 live/cam/x"},
		{"*/*/x", "a/b/x", "a/x a/b/c/x"},
		{"a/**/b/**/c", "a/b/c a/x/b/c a/b/b/x/y/c a/b/c/c", "a/c a/b a/c/b"},
		{"**/**/x", "a/x a/b/x x", "a/y"},
		{"live/a;live/b\nlive/c", "live/a live/b live/c", "live/d"},
		{"**; !live/private/** ;live/private/open", "live/a live/private/open", "live/private/x live/private"},
		{"live/a%20b;live/%3B%25%2A%21", "live/a+b live/;%*!", "live/a"},
		{"live/!a", "live/!a", "live/a"},
	} {
		var l List
		require.NoError(t, l.UnmarshalText([]byte(tt.list)), tt.list)
		for _, stream := range strings.Fields(tt.in) {
			assert.True(t, l.Matches(strings.ReplaceAll(stream, "+", " ")), "%q means %q", tt.list, stream)
		}
		for _, stream := range strings.Fields(tt.out) {
			assert.False(t, l.Matches(stream), "%q means %q", tt.list, stream)
		}
	}
}

func TestBadLists(t *testing.T) {
	for list, want := range map[string]string{
		"live":                         "APP/NAME",
		"*":                            "APP/NAME",
		"live/":                        "APP/NAME",
		"/live/a":                      "APP/NAME",
		"live//a":                      "APP/NAME",
		"!":                            "APP/NAME",
		"live/cam*":                    "whole segment",
		"live/***":                     "whole segment",
		"live/%zz":                     "hexadecimal",
		"live/a%2Fb":                   "no segment",
		"live/%00":                     "no segment",
		"live/%ff":                     "no segment",
		"live/a b":                     "separated by ;",
		"live/a, live/b":               "separated by ;",
		"!live/a;**":                   "begin with **",
		strings.Repeat("a/", 70) + "b": "segments",
		strings.Repeat("x", MaxText+1): "longer",
	} {
		l := List{{}}
		require.ErrorContains(t, l.UnmarshalText([]byte(list)), want)
		assert.Len(t, l, 1, "it is left alone")
	}
}

// What is said of a pattern's streams is true, so that lists can be kept by it.
func TestWhatPatternsFit(t *testing.T) {
	for field, want := range map[string][2]string{
		"live/a":        {"live/a", "live"},
		"!live/a%20b/c": {"live/a b/c", "live"},
		"live/*":        {"", "live"},
		"live/**/a":     {"", "live"},
		"*/a":           {"", ""},
		"**":            {"", ""},
	} {
		p, err := Parse(field)
		require.NoError(t, err)
		stream, exact := p.Exact()
		first, fixed := p.First()
		assert.Equal(t, want, [2]string{stream, first}, field)
		assert.Equal(t, want[0] != "", exact, field)
		assert.Equal(t, want[1] != "", fixed, field)
		assert.Equal(t, strings.HasPrefix(field, "!"), p.Out(), field)
	}
	_, ok := Pattern{}.First()
	assert.False(t, ok)
	_, ok = Pattern{}.Exact()
	assert.False(t, ok)
}

// A pattern is written as it is read.
func TestPatternIsWritten(t *testing.T) {
	for field, want := range map[string]string{
		"live/a": "live/a", "!live/*": "!live/*", "a/**/**/b": "a/**/b", "%21a/b%20%3b%2a%25": "%21a/b%20%3B%2A%25",
		"live/%61": "live/a", "!%21a/b": "!%21a/b", "a/%E2%80%83": "a/%E2%80%83", "a/%C2%A0%0B": "a/%C2%A0%0B",
	} {
		p, err := Parse(field)
		require.NoError(t, err)
		assert.Equal(t, want, p.String())
		again, err := Parse(p.String())
		require.NoError(t, err)
		assert.Equal(t, p, again)
	}
	p := Literal("!live/a b;*%")
	assert.Equal(t, "%21live/a%20b%3B%2A%25", p.String())
	assert.True(t, p.Matches("!live/a b;*%"))
}

// FuzzMatches: a pattern means the same streams as the regular expression that says what it
// says, and takes no time that grows faster than its input.
func FuzzMatches(f *testing.F) {
	f.Add("a/**/b", "a/x/y/b")
	f.Add("!**/*", "x/y")
	f.Add("a%20/**", "a /b")
	f.Fuzz(func(t *testing.T, field, stream string) {
		p, err := Parse(field)
		if err != nil || strings.ContainsRune(stream, '\n') {
			return
		}
		again, err := Parse(p.String())
		require.NoError(t, err)
		require.Equal(t, p, again, "%s", p)
		list, err := Entries(p.String())
		require.NoError(t, err)
		require.Equal(t, [][]string{{p.String()}}, list, "it is one field")
		expr := ""
		for _, s := range p.segments {
			switch s.kind {
			case literal:
				expr += "/" + regexp.QuoteMeta(s.text)
			case one:
				expr += "/[^/]*"
			case many:
				expr += "(/[^/]*)*"
			}
		}
		re, err := regexp.Compile("^" + expr + "$")
		require.NoError(t, err)
		require.Equal(t, re.MatchString("/"+stream), p.Matches(stream), "%s: %q", expr, stream)
	})
}
