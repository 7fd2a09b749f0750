package cluster

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// What another node says of where clients reach it is an address, or nothing.
func TestReach(t *testing.T) {
	for text, want := range map[string]bool{
		"http://n1": true, "https://n1.example.com:8443": true, "http://10.0.0.1:8080": true, "http://[2001:db8::1]:8080": true,
		"": false, "n1": false, "//n1": false, "http://": false, "http:n1": false, "HTTP://n1": false, "rtmp://n1": false,
		"javascript://n1": false, "http://n1/": false, "http://n1/path": false, "http://n1?query": false, "http://n1?": false,
		"http://n1#": false, "http://me@n1": false, "http://me:secret@n1": false, "http://n1:": false, "http://n1:0": false,
		"http://n1:65536": false, "http://n1:x": false, "http://n 1": false, "http://n1\r\nX: y": false, "http://-": false,
		"http://[fe80::1%25eth0]": false, "http://n\u00e4": false, "http://" + strings.Repeat("n", 300): false,
	} {
		got := reach(text, "http", "https")
		assert.Equal(t, want, got != "", "%q", text)
		if want {
			assert.Equal(t, text, got)
		}
	}
	d := Description{HTTP: "rtmp://n1", RTMP: "rtmps://n1"}
	d.check()
	assert.Equal(t, Description{RTMP: "rtmps://n1"}, d)
}
