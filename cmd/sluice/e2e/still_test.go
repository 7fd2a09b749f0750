package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// stillURL returns where a still of a stream is.
func (s *server) stillURL(key string) string {
	return "http://" + s.http + "/api/v1/still?stream=" + key
}

// still fetches one and returns the status and the body.
func (s *server) still(url string) (int, []byte) {
	s.t.Helper()
	answer, err := client.Get(url)
	require.NoError(s.t, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	require.NoError(s.t, err)
	return answer.StatusCode, body
}

// A still of what each real encoder sends is an MP4 file of one picture: a recent ffprobe has
// nothing to complain of and decodes it, and Chromium shows it in a plain <video> element on the
// project's page, if it can play the codec at all. Nobody is counted as a viewer for it.
func TestStills(t *testing.T) {
	t.Parallel()
	newer(t, "ffprobe")
	s := serve(t, "SLUICE_PUBLISHER_GRACE=0")
	b := browse(t)
	b.open("http://" + s.http + "/")
	for _, c := range everyCapture {
		s.replay(c.file, func() {
			s.until(c.key, "live", func(st stream) bool { return st.State == "live" })
			status, body := s.still(s.stillURL(c.key))
			if c.video == "" {
				assert.Equal(t, http.StatusNotFound, status, c.file)
				assert.Contains(t, string(body), c.key+" has no picture")
				return
			}
			require.Equal(t, http.StatusOK, status, "%s: %s", c.file, body)
			checkStill(t, c, body)
			b.showsStill(c, s.stillURL(c.key))
			assert.Zero(t, s.stream(c.key).Viewers.Total)
		})
		s.state(c.key, "")
		until(t, "there is none any more", func() bool { // the last one counts for a second
			status, body := s.still(s.stillURL(c.key))
			return status == http.StatusNotFound && strings.Contains(string(body), "nobody publishes "+c.key+" now")
		})
	}
}

// checkStill has ffprobe look at one.
func checkStill(t *testing.T, c capture, still []byte) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "still.mp4")
	require.NoError(t, os.WriteFile(path, still, 0o600))
	p := start(t, newer(t, "ffprobe"), "-v", "warning", "-count_frames", "-show_streams", "-of", "json", "-o", path+".json", path)
	p.done()
	out, err := os.ReadFile(path + ".json")
	require.NoError(t, err)
	var found struct {
		Streams []struct {
			Codec         string `json:"codec_name"`
			Width, Height int
			Frames        string `json:"nb_read_frames"`
		}
	}
	require.NoError(t, json.Unmarshal(out, &found))
	require.Len(t, found.Streams, 1, c.file)
	got := found.Streams[0]
	assert.Equal(t, []any{c.video, c.width, c.height, "1"}, []any{got.Codec, got.Width, got.Height, got.Frames}, c.file)
	assert.Less(t, len(still), 200_000, c.file)
}

// showsStill has a <video> element of the page show a still, and looks at what it shows.
func (b *browser) showsStill(c capture, url string) {
	b.t.Helper()
	if c.video == "hevc" && eval[string](b, `document.createElement('video').canPlayType('`+c.mime+`')`) == "" {
		b.t.Logf("%s left out: this browser does not play %s", c.file, c.mime)
		return
	}
	// Without preload Chromium decodes a picture that is nowhere shown only when it is played.
	eval[bool](b, fmt.Sprintf(`(() => {
		window.still = Object.assign(document.createElement('video'), { muted: true, preload: 'auto', src: %q });
		window.seen = () => { // how far light and dark lie apart; -1 if nothing is shown
			const { videoWidth: width, videoHeight: height } = still;
			const canvas = Object.assign(document.createElement('canvas'), { width, height });
			const context = canvas.getContext('2d');
			context.drawImage(still, 0, 0);
			const { data } = context.getImageData(0, 0, width, height);
			let least = 255, most = 0;
			for (let i = 1; i < data.length; i += 4) {
				least = Math.min(least, data[i]);
				most = Math.max(most, data[i]);
			}
			return data[3] === 255 ? most - least : -1;
		};
		return true;
	})()`, url))
	b.until("still.error || still.readyState >= 2 && seen() >= 0", "{ state: still.readyState, error: still.error?.message }")
	seen := eval[struct {
		Error         string
		Width, Height int
		Spread        float64
	}](b, "({ error: still.error?.message ?? '', width: still.videoWidth, height: still.videoHeight, spread: still.error ? 0 : seen() })")
	assert.Empty(b.t, seen.Error, c.file)
	assert.Equal(b.t, []int{c.width, c.height}, []int{seen.Width, seen.Height}, c.file)
	if c.key != "live/obs" { // which is of one colour at first
		assert.Greater(b.t, seen.Spread, 100.0, c.file)
	}
}

// While ffmpeg publishes, stills follow its key frames, and who may not watch gets none, whichever
// method decides. A page of many that may not counts as one guess, and writes no line and no event
// for each.
func TestStillPermission(t *testing.T) {
	t.Parallel()
	g := guard(t, "SLUICE_WATCH_AUTH=sign key", "SLUICE_WATCH_SECRETS=** "+watchSecret, "SLUICE_WATCH_KEYS=** "+watchKey,
		"SLUICE_AUTH_FAILURES=5/1m")
	publisher := g.publish("live/cam", videoOnly)
	status, body := 0, []byte(nil)
	url := g.stillURL("live/cam") + "&" + sluiceSign(t, g.flvURL("http", "live/cam"))
	until(t, "there is a still", func() bool {
		status, body = g.still(url)
		return status == http.StatusOK
	})
	until(t, "there is another", func() bool {
		_, next := g.still(url)
		return string(next) != string(body)
	})
	status, _ = g.still(g.stillURL("live/cam") + "&key=" + strings.NewReplacer("/", "%2F", ":", "%3A", "=", "%3D", "@", "%40").Replace(watchKey))
	assert.Equal(t, http.StatusOK, status)
	for _, key := range []string{"live/cam", "live/nobody"} {
		status, body = g.still(g.stillURL(key))
		assert.Equal(t, http.StatusForbidden, status)
		assert.Contains(t, string(body), "permission is needed", "and not whether there is one")
	}
	for i := range 60 { // as a page with a list would ask
		status, body = g.still(g.stillURL(fmt.Sprint("live/", i)) + "&key=S3CRET-wrong")
		assert.Equal(t, http.StatusForbidden, status)
		assert.Contains(t, string(body), "the key is wrong")
	}
	status, _ = g.still(url)
	assert.Equal(t, http.StatusOK, status, "the address is not locked out")
	assert.Zero(t, g.told.count("refused"))
	assert.NotContains(t, g.said.String(), "viewer refused")
	publisher.signal(os.Interrupt)
	publisher.wait()
}
