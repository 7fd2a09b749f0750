package web

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What the page and the API say of RTMP: what the server listens on, or what it was told of how
// the world reaches it.
func TestRTMPAddresses(t *testing.T) {
	a := files(t, true)
	for name, c := range map[string]struct {
		config      Config
		page        string
		rtmp, rtmps int
		public      string
	}{
		"nothing said":  {Config{}, "rtmp://:1935", 1935, 0, "null"},
		"both":          {Config{RTMP: []string{"rtmp://:19350", "rtmps://:1936"}}, "rtmp://:19350 rtmps://:1936", 19350, 1936, "null"},
		"rtmps only":    {Config{RTMP: []string{"rtmps://:443"}}, "rtmps://:443", 0, 443, "null"},
		"none":          {Config{RTMP: []string{}}, "", 0, 0, "null"},
		"public":        {Config{RTMP: []string{"rtmp://:19350"}, Public: Public{RTMP: []string{"rtmps://live.example.com"}}}, "rtmps://live.example.com", 0, 443, `{"rtmp":["rtmps://live.example.com"]}`},
		"public, both":  {Config{Public: Public{RTMP: []string{"rtmp://[2001:db8::1]", "rtmps://a.example:444"}}}, "rtmp://[2001:db8::1] rtmps://a.example:444", 1935, 444, `{"rtmp":["rtmp://[2001:db8::1]","rtmps://a.example:444"]}`},
		"public origin": {Config{Public: Public{HTTP: "https://live.example.com"}}, "rtmp://:1935", 1935, 0, `{"http":"https://live.example.com"}`},
	} {
		t.Run(name, func(t *testing.T) {
			c.config.assets, c.config.Logger = a, quiet
			h := Handler(c.config)
			assert.Equal(t, c.page == "", strings.Contains(body(t, ask(h, "GET", "/")), "nobody can publish"))
			for _, path := range []string{"/", "/?stream=live/demo", "/embed/live/demo"} {
				page := body(t, ask(h, "GET", path))
				assert.Contains(t, page, `data-rtmp="`+c.page+`" data-origin="`+c.config.Public.HTTP+`"`, path)
				if path == "/" {
					assert.Equal(t, map[bool]int{true: 2}[c.rtmps != 0], strings.Count(page, "trusts the certificate"), "wherever it tells how")
				}
			}
			var got struct {
				RTMP   int             `json:"rtmp_port"`
				RTMPS  int             `json:"rtmps_port"`
				Public json.RawMessage `json:"public"`
			}
			require.NoError(t, json.Unmarshal([]byte(body(t, ask(h, "GET", "/api/v1/streams"))), &got))
			assert.Equal(t, c.rtmp, got.RTMP)
			assert.Equal(t, c.rtmps, got.RTMPS)
			if got.Public == nil {
				got.Public = []byte("null")
			}
			assert.JSONEq(t, c.public, string(got.Public))
		})
	}
}
