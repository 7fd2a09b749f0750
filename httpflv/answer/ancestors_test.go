package answer

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAncestors(t *testing.T) {
	for text, want := range map[string]string{
		"":                  "frame-ancestors 'self'",
		" * ":               "frame-ancestors *",
		"https://a.example": "frame-ancestors 'self' https://a.example",
		"HTTPS://A.example:443;\n http://*.b.example:8080 ; http://127.0.0.1:1": "frame-ancestors 'self' https://a.example http://*.b.example:8080 http://127.0.0.1:1",
	} {
		var a Ancestors
		require.NoError(t, a.UnmarshalText([]byte(text)), text)
		assert.Equal(t, want, a.Directive(), text)
		assert.Equal(t, want == "frame-ancestors *", a.Any(), text)
	}
	for text, says := range map[string]string{
		"*; https://a.example":                 `"*": an origin is scheme://host`,
		"null":                                 "have an origin",
		"ftp://a.example":                      "http or https",
		"https://[::1]:8080":                   "no other host",
		"https://a.*.example":                  "no other host",
		"https://*.*.example":                  "no other host",
		"https://a.example; script-src *":      `"script-src *"`,
		"https://a.example/live":               "no path",
		"https://a.example 'unsafe-inline'":    "separated by ;",
		"https://a.example, https://b.example": "separated by ;",
	} {
		var a Ancestors
		assert.ErrorContains(t, a.UnmarshalText([]byte(text)), says, text)
		assert.Empty(t, a, text)
	}
}

// Whatever is accepted is one directive, of sources that stand for themselves.
func FuzzAncestors(f *testing.F) {
	for _, seed := range []string{"*", "https://a.example;http://*.b.example:8080", "null", "https://a'b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var a Ancestors
		if a.UnmarshalText([]byte(text)) != nil {
			return
		}
		assert.Regexp(t, `^frame-ancestors (\*|'self'( https?://[a-z0-9*._-]+(:[0-9]+)?)*)$`, a.Directive())
	})
}
