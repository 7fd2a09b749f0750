//go:build unix

package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub"
)

// hostileKeys are apps and names of streams with which somebody may try to get out of the
// folder, or which some file system does not bear.
func hostileKeys() (keys [][2]string) {
	names := []string{
		"con", "NUL", "nul.txt", "COM1", "lpt9.x.y", "aux.flv", "prn ", "com¹",
		"a.flv", "a.part", "a.flv.part", "a.idx", "a.pin", "x.FLV", "latest", ".lock", ".probe", "rec",
		".hidden", "...", "..a", "a..", "a.", " a", "a ", "-", "--help", "~", "~root", "!x", "a:b", "c:", "a::$DATA",
		"%2e%2e", "a%2fb", "a\\b", "..\\..\\x", "a*b", "a?b", "a\"b", "a<b>", "a|b", "a\x00b", "a\nb", "a\r\nX: y", "a\x7fb", "a\xffb", "\xc0\xae\xc0\xae",
		"..", ".", "../x", "../../../x", "/etc/passwd", "//x", "a//b", "a/../../b", "a/./b",
		"Ünïcödé", "日本語のストリーム", "Прямой эфир", "بث مباشر", "שידור", "สด", "라이브", "ไทย่", "𝕊𝕥𝕣𝕖𝕒𝕞", "e\u0301", "é", "ａｂｃ", "İ", "ß",
		"\u202egpj.flv", "\u200b", "\ufeff", "😀", "a\u0300\u0301\u0302\u0303\u0304",
		strings.Repeat("n", 250), strings.Repeat("n", 251), strings.Repeat("日", 83), strings.Repeat("日", 84), strings.Repeat(".", 200), strings.Repeat("a/", 120) + "a",
	}
	for _, name := range names {
		keys = append(keys, [2]string{"live", name})
	}
	for _, app := range []string{"..", ".", "con", "a/..", "a/../b", "%2e%2e", "x.flv", "x.part", ".lock", "Живое", "a b ", "live/..", "rec2", "a\\b", strings.Repeat("日", 80)} {
		keys = append(keys, [2]string{app, "name"})
	}
	return keys
}

// Whatever a stream is called, its recordings stay in the folder; and the API knows them by
// the name under which they were published.
func TestHostileNamesOfRecordings(t *testing.T) {
	outside := t.TempDir()
	dir := filepath.Join(outside, "deep", "in", "here", "recordings")
	s := hostilePublisher{recordingService: startRecording(t, nil, "SLUICE_RECORD_DIR="+dir, "SLUICE_PUBLISHER_GRACE=0")}
	media := append(madeHeader(), stream200k.frames(200*time.Millisecond)...)
	for _, key := range hostileKeys() {
		taken := s.publishRaw(t, key[0], key[1], media)
		name, err := url.PathUnescape(key[1]) // as clients mean it
		if err == nil {
			_, err = hub.NewKey(key[0], name)
		}
		if err == nil && !strings.ContainsAny(name, "/?") { // where it is another one's other name, that is there already
			assert.True(t, taken, "%q is a name", key)
		} else if !strings.ContainsRune(name, '?') && err != nil {
			assert.False(t, taken, "%q is no name", key)
		}
	}
	published := map[hub.Key]bool{}
	for _, stream := range s.hub.Streams() {
		published[hub.Key{App: stream.App, Name: stream.Name}] = true
	}
	require.Greater(t, len(published), 40)
	require.Len(t, s.publishers, len(published))
	until(t, "everything is recorded", func() bool { return s.recorder.Totals().Begun == uint64(len(published)) })
	for _, conn := range s.publishers {
		conn.Close()
	}
	until(t, "everything is finished", func() bool { return s.recorder.Totals().Running == 0 })

	listed := map[hub.Key]bool{}
	for _, r := range s.at.recordings(t, "") {
		key := hub.Key{App: r.App, Name: r.Name}
		listed[key] = true
		assert.Equal(t, "finished", r.State, "%q", key)
		sameFrames(t, media[len(madeHeader()):], framesOf(t, s.at.download(t, r)), r.URL)
		one := s.at.recordings(t, key.String())
		assert.NotEmpty(t, one, "of %q alone", key)
	}
	for key := range published {
		assert.True(t, listed[key], "%q is listed", key)
	}
	for key := range listed {
		assert.True(t, published[key], "%q was published", key)
	}
	for _, name := range filesIn(t, outside) {
		assert.True(t, strings.HasPrefix(name, "deep/in/here/recordings/"), name)
		for segment := range strings.SplitSeq(name, "/") {
			assert.LessOrEqual(t, len(segment), 255)
			assert.NotContains(t, segment, "\\")
		}
	}
	for _, path := range hostilePaths(t, outside, dir) {
		status, body := rawGet(t, s.at, path)
		assert.GreaterOrEqual(t, status, 300, "%q", path)
		assert.NotContains(t, body, "secret", "%q", path)
	}
	assert.NotContains(t, s.log.String(), "level=ERROR")
}

// hostilePublisher publishes under any name.
type hostilePublisher struct {
	*recordingService
	publishers []net.Conn // who still publish
}

// publishRaw publishes media under any name, and reports whether that was taken.
func (s *hostilePublisher) publishRaw(t *testing.T, app, name string, media []flv.Tag) bool {
	t.Helper()
	conn := dialFrom(t, nil, s.at.rtmp)
	c, err := connectRaw(conn, app, true)
	if err != nil {
		return false // the app is refused at once
	}
	c.command(0, "createStream", 2.0, nil)
	c.command(1, "publish", 0.0, nil, name, "live")
	for {
		m, err := c.next()
		if err != nil {
			return false
		}
		if code := m.code(); code == "NetStream.Publish.Start" {
			break
		} else if code != "" {
			return false
		}
	}
	for _, tag := range media {
		n := len(tag.Data)
		b := []byte{3, 0, byte(tag.Timestamp >> 8), byte(tag.Timestamp), byte(n >> 16), byte(n >> 8), byte(n), byte(tag.Type), 1, 0, 0, 0}
		_, err := conn.Write(append(b, tag.Data...))
		require.NoError(t, err)
	}
	s.publishers = append(s.publishers, conn)
	return true
}

// hostilePaths are paths with which somebody may try to read what is no recording. Something
// secret stands beside the folder, and links lead there.
func hostilePaths(t *testing.T, outside, dir string) []string {
	t.Helper()
	clip, err := os.ReadFile("../../testdata/clips/aac.flv")
	require.NoError(t, err)
	secret := append(clip, "secret"...)
	require.NoError(t, os.MkdirAll(filepath.Join(outside, "deep/in/here/secret/x"), 0o700))
	for _, at := range []string{"secret.flv", "deep/in/here/secret.flv", "deep/in/here/secret/x/secret.flv"} {
		require.NoError(t, os.WriteFile(filepath.Join(outside, at), secret, 0o600))
	}
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "live/links"), 0o700))
	require.NoError(t, os.Symlink("../../../secret.flv", filepath.Join(dir, "live/links/relative.flv")))
	require.NoError(t, os.Symlink(filepath.Join(outside, "secret.flv"), filepath.Join(dir, "live/links/absolute.flv")))
	require.NoError(t, os.Symlink("../../secret/x", filepath.Join(dir, "live/away")))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "secret.flv"), secret, 0o600)) // in no stream's folder
	return []string{
		"/rec/../secret.flv", "/rec/../../secret.flv", "/rec/%2e%2e/secret.flv", "/rec/%2e%2e/%2e%2e/secret.flv", "/rec/..%2fsecret.flv",
		"/rec/live/../../secret.flv", "/rec/live/x/..%2f..%2f..%2fsecret.flv", "/rec/live/%2e%2e/%2e%2e/secret/x/secret.flv", "/rec/live/x/%2e%2e%2fsecret.flv",
		"/rec/..%5csecret.flv", "/rec/live/x/..%5c..%5c..%5csecret.flv", "/rec/live/x/%252e%252e%252fsecret.flv", "/rec//etc/passwd", "/rec//etc/passwd.flv",
		"/rec/live/x" + outside + "/secret.flv", "/rec/live/x/" + strings.ReplaceAll(outside+"/secret", "/", "%2f") + ".flv", "/rec/" + outside + "/secret.flv",
		"/rec/live/links/relative.flv", "/rec/live/links/absolute.flv", "/rec/live/links/latest.flv", "/rec/live/links/relative.mp4", "/rec/live/away/secret.flv",
		"/rec/secret.flv", "/rec/./secret.flv", "/rec/%2e/secret.flv", "/rec/live/con%00/secret.flv", "/rec/live/con/%00.flv", "/rec/live/con/a%00.flv", "/rec/live/con/%ff.flv",
		"/rec/", "/rec/live", "/rec/live/", "/rec/live/con", "/rec/live/con/", "/rec/live/con/.flv", "/rec/live/con/..flv", "/rec/live/con/*.flv", "/rec/live/con/.lock", "/rec/.lock/x/y.flv",
		"/rec/live/con/" + strings.Repeat("a", 300) + ".flv", "/rec/live/con/" + strings.Repeat("a/", 3000) + "b.flv", "/rec/live/con/" + strings.Repeat("%2e%2e%2f", 1000) + "secret.flv",
		"/api/v1/recordings/../secret", "/api/v1/recordings/live/links/relative", "/api/v1/recordings/live/%2e%2e/secret",
	}
}

// rawGet sends a path as it is, and returns what comes.
func rawGet(t *testing.T, at *process, path string) (status int, body string) {
	t.Helper()
	conn := dialFrom(t, nil, at.http)
	defer conn.Close()
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", path)
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err, "%q", path)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	require.NoError(t, err, "%q", path)
	return res.StatusCode, string(b)
}
