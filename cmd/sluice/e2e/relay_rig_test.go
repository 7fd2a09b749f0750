package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
)

// Nothing is waited for at the end of a stream: what is published ends everywhere when it ends here.
var endsAtOnce = []string{"SLUICE_PUBLISHER_GRACE=0", "SLUICE_PUSH_HOLD=0"}

// relayRule is what the operators' API tells of a relay.
type relayRule struct {
	ID, Kind    string
	Connections []relayConnection
}

type relayConnection struct {
	Stream, URL, State, Remote, Node, Detail, Error string
	Bytes, Dropped, Tries, Breaks, Joined, Cuts     int
}

// relays returns what the server tells of its relays.
func (s *server) relays() []relayRule {
	s.t.Helper()
	var list struct{ Relays []relayRule }
	s.operate(http.MethodGet, "/api/v1/relays", "", http.StatusOK, &list)
	return list.Relays
}

// connection returns what becomes of a stream, by the first rule that relays it; the zero value has no state.
func (s *server) connection(key string) relayConnection {
	s.t.Helper()
	for _, rule := range s.relays() {
		for _, c := range rule.Connections {
			if c.Stream == key {
				return c
			}
		}
	}
	return relayConnection{}
}

// relayed waits until a relay of a stream is as the test wants it.
func (s *server) relayed(key, what string, ok func(relayConnection) bool) relayConnection {
	s.t.Helper()
	var c relayConnection
	until(s.t, fmt.Sprintf("the relay of %s is %s", key, what), func() bool {
		c = s.connection(key)
		return ok(c)
	})
	return c
}

// pushes has the server push a stream to one more server.
func (s *server) pushes(key, url string) {
	s.t.Helper()
	body, err := json.Marshal(map[string]string{"kind": "push", "stream": key, "url": url})
	require.NoError(s.t, err)
	s.operate(http.MethodPost, "/api/v1/relays", string(body), http.StatusCreated, nil)
}

// operate asks the operators' API.
func (s *server) operate(method, path, body string, status int, into any) {
	s.t.Helper()
	said := s.operatorsAnswer(method, path, body, status)
	if into != nil {
		require.NoError(s.t, json.Unmarshal(said, into))
	}
}

// operatorsAnswer returns what the operators' address answers.
func (s *server) operatorsAnswer(method, path, body string, status int) []byte {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, "http://"+s.operators+path, strings.NewReader(body))
	require.NoError(s.t, err)
	r.Header.Set("Authorization", "Bearer "+operatorToken)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	answer, err := client.Do(r)
	require.NoError(s.t, err)
	defer answer.Body.Close()
	require.Equal(s.t, status, answer.StatusCode)
	said, err := io.ReadAll(answer.Body)
	require.NoError(s.t, err)
	return said
}

// freeAddress returns a HOST:PORT that nobody listened at just now, for a program that cannot say
// which it took, or is to come back to where it was.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

// ffmpegListens has ffmpeg take what one publisher sends, as a server would, and record it.
func ffmpegListens(t *testing.T, by string) (url string, p *pull) {
	t.Helper()
	url = "rtmp://" + freeAddress(t) + "/live/key"
	path := filepath.Join(t.TempDir(), "listen.flv")
	return url, &pull{start(t, by, "-hide_banner", "-nostdin", "-loglevel", "error", "-listen", "1", "-copyts", "-f", "flv", "-i", url,
		"-c", "copy", "-flush_packets", "1", "-f", "flv", path), path}
}

// rtmpModule is what Debian's nginx needs for its rtmp block.
const rtmpModule = "/usr/lib/nginx/modules/ngx_rtmp_module.so"

// startNginx runs nginx-rtmp with these applications, and returns "rtmp://HOST:PORT".
func startNginx(t *testing.T, applications string) string {
	t.Helper()
	path := need(t, "nginx", "/usr/sbin/nginx") // Debian has servers where not everybody looks
	if _, err := os.Stat(rtmpModule); err != nil {
		leaveOut(t, "%v; apt-get install libnginx-mod-rtmp", err)
	}
	user := ""
	if os.Getuid() == 0 {
		user = "user root;"
	}
	dir, address := t.TempDir(), freeAddress(t)
	conf := fmt.Sprintf("%s daemon off; master_process off; pid %s/pid; error_log stderr; load_module %s;\nevents {}\nrtmp { server { listen %s;\n%s\n} }\n",
		user, dir, rtmpModule, address, applications)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "nginx.conf"), []byte(conf), 0o600))
	p := start(t, path, "-p", dir, "-e", "stderr", "-c", "nginx.conf")
	listens(t, p, address)
	return "rtmp://" + address
}

// listens waits until a program listens.
func listens(t *testing.T, p *process, address string) {
	t.Helper()
	until(t, p.what+" listens", func() bool {
		require.True(t, p.running(), "%s ended: %s", p.what, p.said.String())
		nc, err := net.Dial("tcp", address)
		if err == nil {
			nc.Close()
		}
		return err == nil
	})
}

// isEndOf checks that a recording is the end of another one: each frame of each track with all of its
// bytes, in order, at the same distance from the others. It returns how many frames there were. least is
// how long it must be, in ms, and lacks how many frames of a track may be missing at the very end.
func isEndOf(t *testing.T, got, want string, least, lacks int) (frames int) {
	t.Helper()
	tracks := func(path string) (all [2][]moment) {
		for _, tag := range read(t, path).frames() {
			track := map[flv.Type]int{flv.TypeVideo: 0, flv.TypeAudio: 1}[tag.Type]
			all[track] = append(all[track], moment{int(tag.Timestamp), string(tag.Data)})
		}
		return all
	}
	assert.GreaterOrEqual(t, read(t, got).length(), least, got)
	return areEndOf(t, got, tracks(got), tracks(want), lacks, 0)
}

// showsEndOf is isEndOf for what was taken apart on its way: the pictures are the same, and the bytes of
// sound; their times are rounded anew.
func showsEndOf(t *testing.T, got, want string, least, lacks int) (frames int) {
	t.Helper()
	tracks := func(path string) (all [2][]moment) {
		for i, options := range [][]string{{"0:v", "-fps_mode", "passthrough", "-enc_time_base", "1:1000"}, {"0:a", "-c", "copy"}} {
			args := append([]string{"-nostdin", "-v", "error", "-copyts", "-i", path, "-map"}, options...)
			for line := range strings.Lines(string(run(t, "ffmpeg", append(args, "-f", "framehash", "-hash", "md5", "-")...))) {
				var m moment
				var stream, dts, duration, size int
				if n, _ := fmt.Sscanf(line, "%d, %d, %d, %d, %d, %s", &stream, &dts, &m.at, &duration, &size, &m.is); n == 6 {
					all[i] = append(all[i], m)
				}
			}
		}
		return all
	}
	assert.GreaterOrEqual(t, read(t, got).length(), least, got)
	return areEndOf(t, got, tracks(got), tracks(want), lacks, 1)
}

// moment is a frame: when it is, in ms, and its bytes or what stands for them.
type moment struct {
	at int
	is string
}

// areEndOf is isEndOf; rounded is by how much times may differ, in ms.
func areEndOf(t *testing.T, what string, has, had [2][]moment, lacks, rounded int) (frames int) {
	t.Helper()
	var moved []int
	for track, is := range has {
		was := had[track]
		from := len(was) - len(is)
		if lacks > 0 && len(is) > lacks { // and those just before may be out of order
			from = slices.IndexFunc(was, func(m moment) bool { return m.is == is[0].is })
			assert.LessOrEqual(t, len(was)-from-len(is), lacks, "frames missing at the end of %s, track %d", what, track)
			is = is[:len(is)-lacks]
		}
		if !assert.True(t, from >= 0 && from+len(is) <= len(was), "frames of %s, track %d: %d from %d on of %d", what, track, len(is), from, len(was)) {
			continue
		}
		was = was[from : from+len(is)]
		different := 0
		for i := range is {
			if is[i].is != was[i].is {
				different++
			}
			moved = append(moved, is[i].at-was[i].at)
		}
		assert.Zero(t, different, "frames of %s that differ, of %d of track %d", what, len(is), track)
		frames += len(is)
	}
	if assert.NotEmpty(t, moved, what) {
		assert.LessOrEqual(t, slices.Max(moved)-slices.Min(moved), rounded, "times of %s have moved", what)
	}
	return frames
}
