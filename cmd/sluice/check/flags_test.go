package check

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFlags(t *testing.T) {
	empty := t.TempDir() + "/empty"
	require.NoError(t, os.WriteFile(empty, []byte("\n"), 0o600))
	for _, c := range []struct {
		args []string
		want string // in the error; empty for none
	}{
		{[]string{"rtmp://host"}, ""},
		{[]string{"rtmps://host:444/", "https://host/prefix/", "http://[::1]:8080"}, ""},
		{[]string{"-health"}, ""},
		{[]string{"-health", "https://host"}, ""},
		{[]string{"-stream-key", "x", "-name", "sluice-check-0123456789abcdef0123456789abcdef", "rtmp://h"}, ""},
		{nil, "it needs URLs"},
		{[]string{"http://host:8080"}, "to publish to"},
		{[]string{"rtmp://host/live"}, "-app says"},
		{[]string{"rtmp://host?token=S3CRET"}, "without user name and query"},
		{[]string{"rtmp://me:S3CRET@host"}, "without user name"},
		{[]string{"rtmp://%zzS3CRET"}, "cannot be read"},
		{[]string{"S3CRET"}, "is a base"},
		{[]string{"ws://host"}, "is a base"},
		{[]string{"rtmp://"}, "is a base"},
		{[]string{"rtmp://host", "-json"}, "flags stand before"},
		{[]string{"-app", "", "rtmp://host"}, "-app is"},
		{[]string{"-app", "a//b", "rtmp://host"}, "-app is"},
		{[]string{"-name", "x", "rtmp://host"}, "go together"},
		{[]string{"-stream-key", "S3CRET", "rtmp://host"}, "go together"},
		{[]string{"-stream-key", "S3CRET", "-name", "cam1", "rtmp://host"}, "-name is sluice-check- and 32"},
		{[]string{"-key", "@/nowhere/at/all", "rtmp://host"}, "no such file"},
		{[]string{"-key", "@" + empty, "rtmp://host"}, "is empty"},
		{[]string{"-ca", empty, "rtmp://host"}, "no certificate"},
		{[]string{"-skip", "hls", "rtmp://host"}, `no protocol "hls"`},
		{[]string{"-health", "rtmp://host"}, "-health takes one URL"},
		{[]string{"-health", "http://a", "http://b"}, "-health takes one URL"},
		{[]string{"-speed"}, "flag provided but not defined"},
	} {
		_, err := parseFlags(c.args)
		if c.want == "" {
			assert.NoError(t, err, "%v", c.args)
			continue
		}
		require.ErrorContains(t, err, c.want, "%v", c.args)
		assert.NotContains(t, err.Error(), "S3CRET")
	}
	many := []string{}
	for range maxBases + 1 {
		many = append(many, "rtmp://h")
	}
	_, err := parseFlags(many)
	require.ErrorContains(t, err, "at the most")
}

// The ways to a stream, and what is shown in them.
func TestWays(t *testing.T) {
	o, err := parseFlags([]string{
		"-app", "a/b", "-key", "p&k", "-watch-key", "wk", "-token", "tok",
		"rtmp://host", "rtmp://host/", "rtmps://host:1936", "http://host:8080/sub", "https://[2001:db8::1]",
	})
	require.NoError(t, err)
	o.name = "n"
	ways, err := o.ways()
	require.NoError(t, err)
	var got [][5]string
	for _, w := range ways {
		got = append(got, [5]string{w.protocol, w.shown, w.address, w.publish, w.watch})
	}
	const shown = "?key=wk&token=tok"
	assert.Equal(t, [][5]string{
		{"rtmp", "rtmp://host", "host:1935", "rtmp://host/a/b/n?key=p%26k&token=tok", "rtmp://host/a/b/n" + shown},
		{"rtmps", "rtmps://host:1936", "host:1936", "rtmps://host:1936/a/b/n?key=p%26k&token=tok", "rtmps://host:1936/a/b/n" + shown},
		{"http", "http://host:8080/sub", "host:8080", "", "http://host:8080/sub/a/b/n.flv" + shown},
		{"ws", "ws://host:8080/sub", "host:8080", "", "ws://host:8080/sub/a/b/n.flv" + shown},
		{"https", "https://[2001:db8::1]", "[2001:db8::1]:443", "", "https://[2001:db8::1]/a/b/n.flv" + shown},
		{"wss", "wss://[2001:db8::1]", "[2001:db8::1]:443", "", "wss://[2001:db8::1]/a/b/n.flv" + shown},
	}, got)
	o.streamKey = "s3cret"
	ways, err = o.ways()
	require.NoError(t, err)
	assert.Equal(t, "rtmp://host/a/b/s3cret", ways[0].publish)
}
