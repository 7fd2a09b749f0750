//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/rtmp"
)

// recordingService is a running service that records.
type recordingService struct {
	*runningService
	at  *process // where it listens
	dir string   // of the recordings
	log *output
}

// listed is what the API tells of a recording.
type listed struct {
	ID, App, Name, State, URL string
	Duration                  float64 // s
	Bytes                     int64
	Gaps                      int
}

// patience is how long a test waits for what must happen sooner or later.
const patience = time.Minute

// startRecording starts a service that records into a folder of the test, or where the
// variables say. Nobody is late there, however slow the machine is. adjust may be nil.
func startRecording(t *testing.T, adjust func(*config), environ ...string) *recordingService {
	t.Helper()
	cfg, err := loadConfig(append([]string{
		"SLUICE_RTMP_ADDR=127.0.0.1:0", "SLUICE_HTTP_ADDR=127.0.0.1:0", "SLUICE_RECORD_DIR=" + t.TempDir(),
		"SLUICE_RECORD_MIN_FREE=0", "SLUICE_PUBLISHER_GRACE=0", "SLUICE_VIEWER_WAIT=1m", "SLUICE_MAX_LAG=2m",
	}, environ...))
	require.NoError(t, err)
	if adjust != nil {
		adjust(&cfg)
	}
	s := &recordingService{dir: cfg.RecordDir, log: newOutput()}
	cfg.archive, err = openArchive(cfg, newLogger(s.log, "text", 0))
	require.NoError(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the log:\n%s", s.log)
		}
	})
	s.runningService, s.at = startConfigured(t, patience, s.log, cfg)
	return s
}

// until waits until ok says yes.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// publish begins to publish a stream. The publisher must be closed.
func (s *recordingService) publish(t *testing.T, key string) *rtmp.Publisher {
	t.Helper()
	var c rtmp.Client
	p, err := c.Publish(t.Context(), "rtmp://"+s.at.rtmp+"/"+key)
	require.NoError(t, err)
	t.Cleanup(func() { p.Close() })
	return p
}

// writeAll publishes tags as fast as the server takes them.
func writeAll(t *testing.T, p *rtmp.Publisher, tags []flv.Tag) {
	t.Helper()
	for _, tag := range tags {
		require.NoError(t, p.WriteTag(tag))
	}
}

// wrote waits until the tags are written, which are the first of the only recording.
func (s *recordingService) wrote(t *testing.T, tags []flv.Tag) {
	t.Helper()
	until(t, "all is written", func() bool { return s.recorder.Totals().Bytes >= sizeOf(tags) })
}

// sizeOf returns the bytes of tags, as the hub counts.
func sizeOf(tags []flv.Tag) (bytes uint64) {
	for _, tag := range tags {
		bytes += uint64(tag.Size())
	}
	return bytes
}

// cameIn waits until the tags have come into the hub, whose only stream they are published to.
func (s *recordingService) cameIn(t *testing.T, tags []flv.Tag) {
	t.Helper()
	until(t, "everything has come in", func() bool {
		streams := s.hub.Streams()
		return len(streams) == 1 && streams[0].BytesIn >= sizeOf(tags)
	})
}

// get fetches a path, and returns the status and the body.
func (p *process) get(t *testing.T, path string) (int, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+p.http+path, nil)
	require.NoError(t, err)
	req.Close = true
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err, path)
	return res.StatusCode, body
}

// recordings returns what the API lists of a stream, or of all of them with "", the oldest
// first.
func (p *process) recordings(t *testing.T, key string) (all []listed) {
	t.Helper()
	for after := ""; ; {
		query := url.Values{"limit": {"7"}}
		if key != "" {
			query.Set("stream", key)
		}
		if after != "" {
			query.Set("after", after)
		}
		status, body := p.get(t, "/api/v1/recordings?"+query.Encode())
		require.Equal(t, http.StatusOK, status, "%s", body)
		var page struct {
			Recordings []listed
			Next       string
		}
		require.NoError(t, json.Unmarshal(body, &page))
		all = append(all, page.Recordings...)
		if after = page.Next; after == "" {
			break
		}
	}
	slices.Reverse(all)
	return all
}

// finished waits until nothing of a stream is being recorded any more, and there are at
// least so many recordings of it, the oldest first.
func (p *process) finished(t *testing.T, key string, least int) (all []listed) {
	t.Helper()
	until(t, "recordings of "+key+" are finished", func() bool {
		all = p.recordings(t, key)
		return len(all) >= least && !slices.ContainsFunc(all, func(r listed) bool { return r.State == "recording" })
	})
	return all
}

// download returns the tags of a recording.
func (p *process) download(t *testing.T, r listed) []flv.Tag {
	t.Helper()
	status, body := p.get(t, r.URL)
	require.Equal(t, http.StatusOK, status, r.URL)
	assert.Len(t, body, int(r.Bytes), r.URL)
	return walk(t, body, r.URL)
}

// walk returns the tags of a file, which must be whole.
func walk(t *testing.T, file []byte, name string) (tags []flv.Tag) {
	t.Helper()
	in := flv.NewReader(bytes.NewReader(file))
	for {
		tag, err := in.Next()
		if err == io.EOF {
			return tags
		}
		require.NoError(t, err, "%s, behind tag %d", name, len(tags))
		tags = append(tags, tag)
	}
}

// frames returns the tags of a sequence that hold sound or pictures.
func framesOf(t *testing.T, tags []flv.Tag) (frames []flv.Tag) {
	t.Helper()
	for _, tag := range tags {
		if tag.Type == flv.TypeScript || len(tag.Data) == 0 {
			continue
		}
		p, err := tag.Packet()
		require.NoError(t, err)
		if p.Kind == flv.KindFrame {
			frames = append(frames, tag)
		}
	}
	return frames
}

// rebase returns frames with times that begin at 0 with the lowest of them.
func rebase(frames []flv.Tag) []flv.Tag {
	var out []flv.Tag
	lowest := ^uint32(0)
	for _, f := range frames {
		lowest = min(lowest, f.Timestamp)
	}
	for _, f := range frames {
		f.Timestamp -= lowest
		out = append(out, f)
	}
	return out
}

// sameFrames checks that two sequences have the same frames at the same times: nothing
// twice, nothing missing.
func sameFrames(t *testing.T, want, got []flv.Tag, what string) {
	t.Helper()
	for i := range min(len(want), len(got)) {
		a, b := want[i], got[i]
		if a.Type != b.Type || !bytes.Equal(a.Data, b.Data) {
			require.Fail(t, "another frame", "%s: frame %d of %d is of %v, %d bytes, at %d; want %v, %d bytes, at %d",
				what, i, len(want), b.Type, len(b.Data), b.Timestamp, a.Type, len(a.Data), a.Timestamp)
		}
		require.InDelta(t, a.Timestamp, b.Timestamp, 1, "%s: time of frame %d", what, i)
	}
	require.Equal(t, len(want), len(got), "%s: frames", what)
}

// filesIn returns the paths of all files below a folder, relative to it, but those that
// begin with a dot.
func filesIn(t *testing.T, dir string) (names []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if os.IsNotExist(err) { // renamed meanwhile
			return nil
		}
		if err == nil && !e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			name, _ := filepath.Rel(dir, path)
			names = append(names, name)
		}
		return err
	}))
	return names
}

// noParts checks that nothing is left that is not finished.
func noParts(t *testing.T, dir string) {
	t.Helper()
	for _, name := range filesIn(t, dir) {
		assert.NotContains(t, name, ".part")
	}
}
