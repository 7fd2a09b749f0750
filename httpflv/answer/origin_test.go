package answer

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// origins reads a list.
func origins(t testing.TB, text string) (list Origins) {
	t.Helper()
	require.NoError(t, list.UnmarshalText([]byte(text)), text)
	return list
}

func TestOriginsAllow(t *testing.T) {
	for _, tt := range []struct {
		list            string
		allowed, denied string // origins, separated by spaces
	}{
		{list: "", allowed: "https://a.example http://b null nonsense"},
		{list: " \n\t", allowed: "https://a.example"},
		{
			list:    "https://a.example",
			allowed: "https://a.example HTTPS://A.Example https://a.example:443 https://a.example:0443",
			denied: "http://a.example https://a.example:80 https://a.example:8443 https://b.a.example https://aa.example " +
				"https://a.example.evil https://evila.example https://a.example/ https://a.example/x https://x@a.example " +
				"https://a.example#x https://a.example?x https:a.example //a.example a.example null https:// https://a.example. " +
				"https://a.example:x https://a.example: https://a.example:443x https://*",
		},
		{list: "HTTP://A.Example:80", allowed: "http://a.example http://a.example:80", denied: "https://a.example http://a.example:443"},
		{
			list:    "https://a.example:8443;\nhttp://b-1_2.example ; ;null\r\n",
			allowed: "https://a.example:8443 http://b-1_2.example null NULL",
			denied:  "https://a.example http://b-1_2.example:8443",
		},
		{
			list:    "https://*.example.com",
			allowed: "https://a.example.com https://A.EXAMPLE.com:443 https://xn--4ca.example.com",
			denied: "https://example.com https://a.b.example.com http://a.example.com https://a.example.com:8443 " +
				"https://.example.com https://a.example.com.evil https://evilexample.com https://a/.example.com https://a%2f.example.com",
		},
		{list: "https://*.*.example", allowed: "https://a.b.example", denied: "https://b.example https://a.b.c.example"},
		{
			list:    "http://127.0.0.1:3000;http://[::1]:3000;http://[2001:DB8:0::1];http://192.168.1.*",
			allowed: "http://127.0.0.1:3000 http://[::1]:3000 http://[0:0:0:0:0:0:0:1]:3000 http://[2001:db8::1]:80 http://192.168.1.7",
			denied:  "http://localhost:3000 http://[::2]:3000 http://[::1] http://::1:3000 http://[::1%25eth0]:3000 http://192.168.2.7",
		},
		{list: "chrome-extension://abcdef;capacitor://localhost", allowed: "chrome-extension://abcdef capacitor://localhost", denied: "chrome-extension://x http://localhost"},
	} {
		list := origins(t, tt.list)
		for from := range strings.FieldsSeq(tt.allowed) {
			assert.True(t, list.Allows(from, "server.example"), "%q allows %q", tt.list, from)
		}
		for from := range strings.FieldsSeq(tt.denied) {
			assert.False(t, list.Allows(from, "server.example"), "%q allows %q", tt.list, from)
		}
	}
}

// The server's own pages are those of the host that the request names.
func TestOriginsAllowOwnPages(t *testing.T) {
	list := origins(t, "https://a.example")
	for from, host := range map[string]string{
		"http://server.example":       "server.example",
		"https://server.example":      "Server.Example",
		"http://server.example:80":    "server.example",
		"https://server.example:443":  "server.example:443",
		"http://server.example:8080":  "server.example:8080",
		"https://server.example:8080": "server.example:8080", // a proxy has the certificate
		"http://[::1]:8080":           "[0::1]:8080",
		"http://127.0.0.1:8080":       "127.0.0.1:8080",
	} {
		assert.True(t, list.Allows(from, host), "%q of %q", from, host)
	}
	for from, host := range map[string]string{
		"http://server.example":      "server.example:8080",
		"http://server.example:8080": "server.example",
		"https://server.example":     "server.example:80",
		"http://evil.example":        "server.example",
		"http://server":              "server.example",
		"null":                       "null",
		"http://x":                   "",
		"http://":                    "",
		"app://server.example":       "server.example",
		"http://y/x":                 "y/x",
		"http://*.example":           "a.example",
	} {
		assert.False(t, list.Allows(from, host), "%q of %q", from, host)
	}
}

func TestBadOrigins(t *testing.T) {
	for entry, want := range map[string]string{
		"example.com":                              "scheme://host",
		"*":                                        "scheme://host",
		"http:example.com":                         "scheme://host",
		"1http://example.com":                      "scheme://host",
		"!https://example.com":                     "scheme://host",
		"https://a.example https://b":              "separated by ;",
		"https://a.example,https://b":              "separated by ;",
		"https://a.example/":                       "no path",
		"https://a.example/live":                   "no path",
		"https://a.example?x=1":                    "no path",
		"https://user@a.example":                   "no path",
		"wss://a.example":                          "that of a page",
		"https://":                                 "the host",
		"https://*":                                "the host",
		"https://*example.com":                     "the host",
		"https://a*.example.com":                   "the host",
		"https://**.example.com":                   "the host",
		"https://a..example":                       "the host",
		"https://a.example.":                       "the host",
		"https://ünï.example":                      "ASCII",
		"https://a%2eexample":                      "the host",
		"https://[::1":                             "the host",
		"https://[1.2.3.4]":                        "the host",
		"https://[fe80::1%eth0]":                   "the host",
		"https://::1":                              "the host",
		"https://a.example:":                       "the port",
		"https://a.example:0":                      "the port",
		"https://a.example:65536":                  "the port",
		"https://a.example:http":                   "the port",
		"https://a.example:*":                      "the port",
		"https://\x00.example":                     "the host",
		"https://" + string('\u212a') + ".example": "ASCII",
	} {
		list := Origins{{scheme: "before"}}
		err := list.UnmarshalText([]byte("https://good.example;" + entry + "\nhttps://good.example"))
		require.ErrorContains(t, err, want, entry)
		assert.ErrorContains(t, err, strings.Trim(strings.TrimSpace(entry[:min(len(entry), 4)]), "\x00"), "it is named")
		assert.Equal(t, Origins{{scheme: "before"}}, list)
	}
	for _, nothing := range []string{";", " ; \n;"} {
		assert.Error(t, new(Origins).UnmarshalText([]byte(nothing)), "this is no list, and not any origin")
	}
}

// FuzzOrigin: what an origin is read as does not depend on its form, and no other
// origin passes for it.
func FuzzOrigin(f *testing.F) {
	for _, text := range []string{"null", "https://a.example", "http://[::1]:80", "https://*.example.com:8443", "x-y.z+1://a_b"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		o, err := parseOrigin(text)
		if err != nil {
			return
		}
		again := o.scheme
		if o.scheme != nullOrigin {
			again += "://" + o.host
		}
		if o.port != "" {
			again += ":" + o.port
		}
		same, err := parseOrigin(again)
		require.NoError(t, err, again)
		require.Equal(t, o, same)
		require.True(t, o.matches(same))
		require.False(t, origins(t, "https://elsewhere.example").Allows(text, "server.example"))
		require.Equal(t, -1, strings.IndexFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }), "it is sent back: %q", text)
	})
}

// cross is the part of an answer that browsers look at.
func cross(header http.Header) map[string]string {
	got := map[string]string{}
	for name, values := range header {
		if strings.HasPrefix(name, "Access-Control-") || name == "Vary" {
			got[name] = strings.Join(values, " | ")
		}
	}
	return got
}

// Without a list everything is as it was.
func TestAnyOrigin(t *testing.T) {
	header := http.Header{}
	r := httptest.NewRequest(http.MethodGet, "/live/demo.flv", nil)
	r.Header.Set("Origin", "https://a.example")
	assert.True(t, Origins(nil).Answer(header, r))
	assert.Equal(t, map[string]string{"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "*"}, cross(header))
}
