package relay

import (
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

func TestParseURL(t *testing.T) {
	for text, shown := range map[string]string{
		"rtmp://host/live/key":                      "rtmp://host/live/***",
		"RTMPS://user:pass@host:1936/a/b/key?t=1":   "rtmps://host:1936/a/b/***",
		"rtmp://[::1]:1935/live/{name}?app={app}":   "rtmp://[::1]:1935/live/***",
		"rtmp://a.example/{app}/{name}":             "rtmp://a.example/{app}/***",
		"rtmp://host/live/sec@ret?x=://y@z":         "rtmp://host/live/***",
		"rtmp://user:p%2Fw%40@host/live/key":        "rtmp://host/live/***",
		"rtmp://host/live/key?url=http://other/a/b": "rtmp://host/live/***",
	} {
		u, err := ParseURL(Push, text)
		require.NoError(t, err, text)
		assert.Equal(t, shown, u.String())
		for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
			assert.NotContains(t, fmt.Sprintf(format, u), "key?")
			assert.NotContains(t, fmt.Sprintf(format, struct{ U URL }{u}), "pass")
		}
	}
	for text, why := range map[string]string{
		"":                             "must begin",
		"host/live/key":                "must begin",
		"http://host/live/key":         "must begin",
		"rtmp://":                      "malformed",
		"rtmp:///live/key":             "malformed",
		"rtmp://host":                  "no stream",
		"rtmp://host/key":              "no stream",
		"rtmp://host/live/":            "no stream",
		"rtmp://{app}/live/key":        "must have a host",
		"rtmp://host?a/live":           "must have a host",
		"rtmp://host/live/{query}":     "nothing in braces but {app}, {name}",
		"rtmp://host/live/{stream}":    "nothing in braces but {app}, {name}",
		"rtmp://host/live/key#part":    "fragment",
		"rtmp://ho st/live/key":        "malformed",
		"rtmp://host:port/live/secret": "malformed",
		"rtmp://host/live/%zz":         "malformed",
	} {
		_, err := ParseURL(Push, text)
		if assert.Error(t, err, text) {
			assert.Contains(t, err.Error(), why, text)
			assert.NotContains(t, err.Error(), "secret")
		}
	}
	_, err := ParseURL(Pull, "http://host/{app}/x.flv")
	assert.ErrorContains(t, err, "%7B")
	_, err = ParseURL(Origin, "https://host/x.flv")
	assert.NoError(t, err)
	assert.Empty(t, URL{}.String())
}

func TestExpand(t *testing.T) {
	key := hub.Key{App: "live/stage 1", Name: "a&b=c"}
	query := url.Values{"token": {"x y&z"}, "back": {"5"}, "onlyaudio": {"1"}}
	for text, want := range map[string]string{
		"http://host/{app}/{name}.flv?{query}":     "http://host/live/stage%201/a&b=c.flv?token=x+y%26z",
		"http://host/{app}/{name}.flv?a=1&{query}": "http://host/live/stage%201/a&b=c.flv?a=1&token=x+y%26z",
		"rtmp://host/edge/all?s={app}/{name}":      "rtmp://host/edge/all?s=live%2Fstage+1/a%26b%3Dc",
		"rtmp://host/edge/one":                     "rtmp://host/edge/one",
		"rtmp://host/{app}/{name}":                 "rtmp://host/live/stage%201/a&b=c",
	} {
		u, err := ParseURL(Origin, text)
		require.NoError(t, err, text)
		assert.Equal(t, want, u.Expand(key, query).Secret())
	}
	u, err := ParseURL(Origin, "http://host/{app}/{name}.flv?{query}")
	require.NoError(t, err)
	assert.Equal(t, "http://host/live/a.flv", u.Expand(hub.Key{App: "live", Name: "a"}, nil).Secret())
}

// What a viewer shows is passed on as it is, and says nothing else than it did: it sets no parameter of the
// URL's own, and begins no line, fragment or URL.
func TestExpandHostile(t *testing.T) {
	u, err := ParseURL(Origin, "http://host/{app}/{name}.flv?Token=own&track=all&{query}&n={name}")
	require.NoError(t, err)
	query := url.Values{
		"token": {"x"}, "TOKEN": {"x"}, "track": {"1"}, "n": {"x"}, "a": {"\r\nHost: x", "#&token=y"}, "b\r\n&token=y": {"{name}"}, "{app}": {""},
	}
	key := hub.Key{App: "{query}/a?b#c%2f..", Name: "{query}&token=y"}
	expanded := u.Expand(key, query)
	assert.Equal(t, "http://host/%7Bquery%7D/a%3Fb%23c%252f../%7Bquery%7D&token=y.flv?Token=own&track=all"+
		"&a=%0D%0AHost%3A+x&a=%23%26token%3Dy&b%0D%0A%26token%3Dy=%7Bname%7D&%7Bapp%7D=&n=%7Bquery%7D%26token%3Dy", expanded.Secret())
	parsed, err := url.Parse(expanded.Secret())
	require.NoError(t, err)
	assert.Equal(t, "host", parsed.Host)
	assert.Equal(t, []string{"own"}, parsed.Query()["Token"])
	assert.Empty(t, parsed.Fragment)
	assert.NotContains(t, parsed.Query(), "token")

	u, err = ParseURL(Origin, "http://host/{query}/{name}.flv")
	require.NoError(t, err)
	assert.Equal(t, "http://host/***/***", u.Expand(hub.Key{App: "live", Name: "a"}, url.Values{"token": {"secret"}}).String())
}

func TestURLAddress(t *testing.T) {
	for text, want := range map[string]string{
		"rtmp://Host.example/{app}/{name}?{query}": "host.example:1935",
		"rtmps://u:p%2F@h/a/b":                     "h:443",
		"http://h/{name}.flv":                      "h:80",
		"https://h:8443/a.flv":                     "h:8443",
		"ws://[::1]/a.flv":                         "[::1]:80",
		"WSS://h/a.flv":                            "h:443",
	} {
		u, err := ParseURL(Origin, text)
		require.NoError(t, err, text)
		assert.Equal(t, want, u.Address(), text)
	}
	assert.Empty(t, URL{"::"}.Address())
}

// Servers repeat what they are asked for, and the API shows what they say.
func TestHide(t *testing.T) {
	u, err := ParseURL(Push, "rtmps://me:pass%20word@host/live/k%2Dey-1234?token=abc%3Ddef&t=1")
	require.NoError(t, err)
	for text, want := range map[string]string{
		"Already publishing live/k-ey-1234":                 "Already publishing live/***",
		"no k%2Dey-1234?token=abc%3Ddef&t=1 for me":         "no ***?*** for me",
		"bad token abc=def (abc%3Ddef) of 'pass word', 1":   "bad token *** (***) of '***', 1",
		"NetStream.Publish.BadName, the server is too full": "NetStream.Publish.BadName, the server is too full",
		"": "",
	} {
		assert.Equal(t, want, u.hide(text))
	}
	assert.Equal(t, "no ***", u.failure(Failed(CauseDenied, "no k-ey-1234")).Error())
	assert.Equal(t, CauseDenied, u.failure(Failed(CauseDenied, "no k-ey-1234")).Cause)
}

func TestWithBack(t *testing.T) {
	for query, want := range map[string]string{
		"":                      "back=2.5",
		"a=b":                   "a=b&back=2.5",
		"back=10":               "back=2.5",
		"a=b&back=10&c&back&d=": "a=b&c&d=&back=2.5",
		"backup=1":              "backup=1&back=2.5",
		"a=b%20c":               "a=b%20c&back=2.5",
	} {
		assert.Equal(t, want, WithBack(query, 2500*time.Millisecond), query)
	}
	assert.Equal(t, "a=b", WithBack("a=b&back=10", 0))
}
