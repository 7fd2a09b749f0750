package bench

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	pubURL   = "rtmp://h/live/a"
	watchURL = "http://h/live/a.flv"
)

func TestFlags(t *testing.T) {
	o, err := parseFlags([]string{"-publish", "rtmp://h/live/%d?key=k", "-publishers", "5", "-bitrate", "2M", "-publish-interval", "0",
		"-watch", "http://h/live/%d.flv", "-watch=ws://h/live/%d.flv", "-viewers", "50", "-pid", "1,2", "-pid", "3"})
	require.NoError(t, err)
	assert.Equal(t, 5, o.streams)
	assert.Equal(t, 2e6, o.bitrate)
	assert.Zero(t, o.publishInterval)
	assert.Equal(t, []int{1, 2, 3}, o.pids)
	assert.Equal(t, httpFLV, o.watch[0].protocol)
	assert.Equal(t, wsFLV, o.watch[1].protocol)

	o, err = parseFlags([]string{"-watch", watchURL})
	require.NoError(t, err)
	assert.EqualValues(t, automatic, o.publishInterval)
	assert.Equal(t, 20*time.Second, o.duration)
	assert.Equal(t, 3, o.check)
}

func TestFlagMistakes(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"", "nothing to do"},
		{"x", "belong to no flag"},
		{"-watch", "needs an argument"},
		{"-viewer 5", "not defined: -viewer"},
		{"-publish http://h/live/a", "must be an rtmp:// or rtmps:// URL"},
		{"-publish " + pubURL + " -publishers 2", "with %d"},
		{"-publish " + pubURL + " -publishers 0", "-publishers must be"},
		{"-publish " + pubURL + " -publish-interval 2s", "from 0 to 1s"},
		{"-publish " + pubURL + " -bitrate fast", "bits per second"},
		{"-publish " + pubURL + " -bitrate -1", "bits per second"},
		{"-publish " + pubURL + " -bitrate NaN", "bits per second"},
		{"-publish " + pubURL + " -churn 5", "need -watch"},
		{"-publish " + pubURL + " -streams 2", "more than -publishers"},
		{"-watch ftp://h/a.flv", `scheme "ftp"`},
		{"-watch wsss://h/a.flv", `scheme "wsss"`},
		{"-watch " + watchURL + " -ca /nowhere", "no such file"},
		{"-watch " + watchURL + " -ca /dev/null", "no certificate"},
		{"-watch nothing", "malformed URL"},
		{"-watch http://h/%s.flv", "%d"},
		{"-watch http://h/%d/%d.flv", "%d"},
		{"-watch 50%:" + watchURL + " -watch " + watchURL, "needs one for each"},
		{"-watch 50%:" + watchURL + " -watch 40%:" + watchURL, "add up to 90%, not 100%"},
		{"-watch 20%:" + watchURL, "add up to 20%"},
		{"-watch 0%:" + watchURL, "from 1 to 99"},
		{"-watch half%:" + watchURL, "from 1 to 99"},
		{"-watch 5.5%:" + watchURL, "from 1 to 99"},
		{"-watch 50%:nothing", "malformed URL"},
		{"-watch " + watchURL + " -viewers -1", "-viewers must be"},
		{"-watch " + watchURL + " -duration 0s", "-duration must be"},
		{"-watch " + watchURL + " -duration 5", "-duration"},
		{"-watch " + watchURL + " -join-rate 0", "-join-rate must be"},
		{"-watch " + watchURL + " -churn NaN", "-churn must"},
		{"-watch " + watchURL + " -rounds 0", "-rounds must be"},
		{"-watch " + watchURL + " -pid me", "number of a process"},
		{"-watch " + watchURL + " -pid 1,", "number of a process"},
		{"-watch " + watchURL + " -floor", "-interval"},
		{"-watch " + watchURL + " -floor -interval 100ms", "-floor needs -watch, -viewers and -pid"},
		{"-record /tmp", "-record needs -publish"},
		{"-record /tmp -publish " + pubURL + " -pid 1", "without -pid"},
		{"-record /tmp -publish " + pubURL + " -make /tmp", "one at a time"},
		{"-play " + watchURL, "-play needs -pid"},
		{"-play ftp://h/a", `scheme "ftp"`},
		{"-play " + watchURL + " -pid 1 -players 0", "-players must be"},
		{"-watch " + watchURL + " -stills " + watchURL, "-stills needs -pid"},
		{"-stills " + watchURL + " -pid 1", "and -publish or -watch"},
		{"-watch " + watchURL + " -pid 1 -stills rtmp://h/a/b", "-stills must be an http:// or https:// URL"},
		{"-watch " + watchURL + " -pid 1 -stills " + watchURL + " -still-streams 0", "-still-streams must be"},
		{"-watch " + watchURL + " -pid 1 -stills " + watchURL + " -still-every 0s", "-still-every must be"},
		{"-watch " + watchURL + " -pid 1 -stills " + watchURL + " -play " + watchURL, "one at a time"},
		{"-play " + watchURL + " -pid 1 -seek " + pubURL, "one at a time"},
		{"-seek " + watchURL, "-seek must be an rtmp:// or rtmps:// URL"},
		{"-seek " + pubURL + " -seeks 0", "-seeks must be"},
		{"-seek " + pubURL + " -watch " + watchURL, "without -publish and -watch"},
		{"-make /tmp -length 0s", "-length must be"},
		{"-make /tmp -length 2000h", "-length must be"},
		{"-ways plain,ssl -publish " + pubURL, "some of plain, tls, nginx, edge and chain"},
		{"-ways tls,tls -publish " + pubURL, "each once"},
		{"-ways tls -publish " + pubURL, "-ways needs -publish and -watch"},
		{"-ways tls -watch " + watchURL, "-ways needs -publish and -watch"},
		{"-ways tls -publish " + pubURL + " -watch " + watchURL + " -pid 1", "without -pid"},
		{"-ways tls -publish " + pubURL + " -watch " + watchURL + " -record /tmp", "one at a time"},
		{"-null -interval 100ms", "needs a -bitrate"},
		{"-null -bitrate 1M", "-interval"},
		{"-null -bitrate 1M -interval 1s -watch " + watchURL, "without -publish and -watch"},
	} {
		t.Run(c.args, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			code := Run(t.Context(), strings.Fields(c.args), &stdout, &stderr)
			assert.Equal(t, exitUsage, code)
			assert.Empty(t, stdout.String())
			assert.Contains(t, stderr.String(), c.want)
			assert.Equal(t, 1, strings.Count(stderr.String(), "\n"), "one line: %s", stderr.String())
		})
	}
}

// Stream keys go in queries and, with some services, in the user's part.
func TestSecretsAreNotRepeated(t *testing.T) {
	for _, args := range []string{
		"-publish ftp://u:secret@h/live/a?key=secret",
		"-publish=ftp://h/live/a?key=secret",
		"-watch http://[::1/a?key=secret",
		"-watch http://h:80port/a?key=secret",
		"-watch http://h/%s?key=secret",
	} {
		var stderr bytes.Buffer
		assert.Equal(t, exitUsage, Run(t.Context(), strings.Fields(args), &stderr, &stderr))
		assert.NotContains(t, stderr.String(), "secret", args)
	}
	for url, shown := range map[string]string{
		"rtmp://u:secret@h:1/live/s%d?key=secret": "rtmp://h:1/live/s%d",
		"http://h/live/a.flv?key=a@b://c":         "http://h/live/a.flv",
		"ws://h/live/a@b.flv":                     "ws://h/live/a@b.flv",
	} {
		target, err := parseTarget(url)
		require.NoError(t, err)
		assert.Equal(t, shown, target.String())
	}
}

func TestTargets(t *testing.T) {
	for pattern, want := range map[string]string{
		"rtmp://h/live/a":       "rtmp://h/live/a",
		"rtmp://h/live/s%d":     "rtmp://h/live/s7",
		"rtmp://h/live/s%03d?x": "rtmp://h/live/s007?x",
		"http://h/a%%20b%d.flv": "http://h/a%20b7.flv",
	} {
		target, err := parseTarget(pattern)
		require.NoError(t, err)
		assert.Equal(t, want, target.at(7))
		assert.Equal(t, strings.Contains(want, "7"), target.numbered())
	}
}

func TestHelpNamesEveryFlag(t *testing.T) {
	var stdout, stderr bytes.Buffer
	assert.Equal(t, exitOK, Run(t.Context(), []string{"-h"}, &stdout, &stderr))
	assert.Empty(t, stderr.String())
	for _, name := range []string{"publish", "watch", "viewers", "churn", "stalled", "pid", "null", "floor", "record", "play", "players", "stills", "still-streams", "still-every", "seek", "make", "ways", "nginx", "ca", "insecure", "resume", "json"} {
		assert.Contains(t, stdout.String(), "\n  -"+name)
	}
}

func TestRates(t *testing.T) {
	for text, want := range map[string]float64{"206000": 206000, "206k": 206e3, "2M": 2e6, "1.5M": 1.5e6, "1G": 1e9} {
		rate, err := parseRate(text)
		require.NoError(t, err)
		assert.Equal(t, want, rate)
	}
	for _, text := range []string{"", "k", "-5", "0", "5 M", "1e20", "Inf", "5m"} {
		_, err := parseRate(text)
		assert.Error(t, err, text)
	}
}

// As many viewers check as asked for, on all URLs, and not all on one stream.
func TestCheckNumbers(t *testing.T) {
	for n := range 40 {
		for checks := range 8 {
			for urls := 1; urls < 4; urls++ {
				for streams := 1; streams < 6; streams++ {
					m, err := newMix(make([]int, urls))
					require.NoError(t, err)
					o := options{watch: make([]watched, urls), mix: m, streams: streams, viewers: n, check: checks}
					numbers := o.checkNumbers()
					require.Len(t, numbers, min(n, checks))
					seenURLs, seenStreams := map[int]bool{}, map[int]bool{}
					for i := range numbers {
						require.Less(t, i, n)
						watch, stream := o.place(i)
						seenURLs[watch], seenStreams[stream] = true, true
					}
					if n >= 35 { // whole blocks of all URLs for all streams
						require.Len(t, seenURLs, min(checks, urls), "%+v", o)
						require.Len(t, seenStreams, min(checks, streams), "%+v", o)
					}
				}
			}
		}
	}
}
