package web

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/flv/amf"
)

// fakeRecording is one recording as the API tells of it.
type fakeRecording struct {
	ID         string    `json:"id"`
	Stream     string    `json:"stream"`
	App        string    `json:"app"`
	Name       string    `json:"name"`
	Begin      time.Time `json:"begin"`
	Duration   float64   `json:"duration"`
	Bytes      int       `json:"bytes"`
	Video      any       `json:"video"`
	Audio      any       `json:"audio"`
	Gaps       int       `json:"gaps"`
	GapSeconds float64   `json:"gap_seconds"`
	State      string    `json:"state"`
	URL        string    `json:"url,omitempty"`

	flv, mp4 []byte
	failing  map[string]int // by ending: with which status it is refused
}

// recorder is what the source has recorded; it answers as the server does. Its zero value
// records nothing.
type recorder struct {
	mu         sync.Mutex
	on         bool
	recordings []*fakeRecording // the newest first
	asked      map[string]int   // by path: how often
	ranges     []string         // of requests for files
	wants      string           // the query without which recordings are refused; empty for none
	why        string           // they are, as the client is told
	growing    func() time.Duration
	media      func(length time.Duration) []byte
}

// record adds a recording, the newest.
func (a *recorder) record(r *fakeRecording) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.on = true
	r.App, r.Name = r.Stream[:strings.LastIndexByte(r.Stream, '/')], r.Stream[strings.LastIndexByte(r.Stream, '/')+1:]
	a.recordings = append([]*fakeRecording{r}, a.recordings...)
}

func (a *recorder) count(path string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.asked[path]
}

func (a *recorder) rangesAsked() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string(nil), a.ranges...)
}

// demand refuses who does not show a query from now on, and says why.
func (a *recorder) demand(query, why string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.wants, a.why = query, why
}

// change changes a recording, under the lock.
func (a *recorder) change(f func(r []*fakeRecording)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f(a.recordings)
}

func (a *recorder) remove(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.recordings = slices.DeleteFunc(a.recordings, func(r *fakeRecording) bool { return r.ID == id })
}

// serve answers what is for the recorder, and reports whether it was.
func (a *recorder) serve(w http.ResponseWriter, r *http.Request) bool {
	api, isAPI := strings.CutPrefix(r.URL.Path, "/api/v1/recordings")
	file, isFile := strings.CutPrefix(r.URL.Path, "/rec/")
	if !isAPI && !isFile {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.asked == nil {
		a.asked = map[string]int{}
	}
	a.asked[r.URL.Path]++
	for _, recording := range a.recordings {
		if recording.State == "recording" && a.growing != nil {
			length := a.growing()
			recording.flv = a.media(length)
			recording.Duration, recording.Bytes = length.Seconds(), len(recording.flv)
		}
	}
	switch {
	case a.wants != "" && r.URL.RawQuery != a.wants:
		w.WriteHeader(http.StatusForbidden)
		json.NewEncoder(w).Encode(map[string]string{"error": "denied", "reason": a.why})
	case !a.on:
		http.Error(w, `{"reason":"nothing is recorded here"}`, http.StatusNotFound)
	case isFile:
		a.serveFile(w, r, file)
	case api == "":
		a.serveList(w, r)
	default:
		if found := a.find(strings.TrimPrefix(api, "/")); found != nil {
			json.NewEncoder(w).Encode(found)
			return true
		}
		http.Error(w, `{"reason":"no such recording"}`, http.StatusNotFound)
	}
	return true
}

func (a *recorder) find(key string) *fakeRecording {
	for _, r := range a.recordings {
		if key == r.Stream+"/"+r.ID || key == r.Stream+"/latest" {
			return r
		}
	}
	return nil
}

func (a *recorder) serveList(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	var limit int
	json.Unmarshal([]byte(query.Get("limit")), &limit)
	page, next, after := []*fakeRecording{}, "", query.Get("after")
	for _, recording := range a.recordings {
		if stream := query.Get("stream"); stream != "" && stream != recording.Stream || after != "" && recording.ID >= after {
			continue
		}
		if len(page) == limit {
			next = page[limit-1].ID
			break
		}
		page = append(page, recording)
	}
	json.NewEncoder(w).Encode(map[string]any{"recordings": page, "next": next})
}

func (a *recorder) serveFile(w http.ResponseWriter, r *http.Request, file string) {
	ending := filepath.Ext(file)
	recording := a.find(strings.TrimSuffix(file, ending))
	if recording == nil || ending == ".mp4" && recording.State == "recording" {
		http.Error(w, `{"reason":"no such recording"}`, http.StatusNotFound)
		return
	}
	w.Header().Set("Access-Control-Allow-Origin", "*") // as the server does
	w.Header().Set("Access-Control-Expose-Headers", "*")
	a.ranges = append(a.ranges, ending+" "+r.Header.Get("Range"))
	if status := recording.failing[ending]; status != 0 {
		http.Error(w, `{"reason":"it is made to fail"}`, status)
		return
	}
	data, kind := recording.flv, "video/x-flv"
	if ending == ".mp4" {
		data, kind = recording.mp4, "video/mp4"
	}
	w.Header().Set("Content-Type", kind)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
}

const reserve = 16 << 10 // of bytes for the metadata of a file, so that nothing moves behind it

// file returns an FLV file of so much of what the source publishes, as the server makes it.
func (s *source) file(length time.Duration) []byte {
	var video []byte
	r := flv.NewReader(bytes.NewReader(s.headers))
	body := []byte(nil)
	at := func() float64 { return float64(13 + reserve + len(body)) } // 13: FLV header and the first size
	for tag, err := r.Next(); err == nil; tag, err = r.Next() {
		if tag.Type == flv.TypeVideo {
			video = tag.Data
		}
		body = flv.AppendTag(body, tag)
	}
	times, positions := amf.StrictArray{0.0}, amf.StrictArray{float64(13 + reserve)}
	for base := 0; base < int(length.Milliseconds()); base += clipLength {
		for _, tag := range s.media {
			tag.Timestamp += uint32(base)
			if int(tag.Timestamp) > int(length.Milliseconds()) {
				break
			}
			if tag.Type == flv.TypeVideo && tag.Data[0]>>4 == 1 {
				times, positions = append(times, float64(tag.Timestamp)/1000), append(positions, at())
			}
			body = flv.AppendTag(body, tag)
		}
	}
	metadata := amf.ECMAArray{
		{Name: "duration", Value: length.Seconds()},
		{Name: "hasVideo", Value: video != nil}, {Name: "hasAudio", Value: true},
		{Name: "keyframes", Value: amf.Object{{Name: "times", Value: times}, {Name: "filepositions", Value: positions}}},
	}
	data := amf.AppendAMF0(nil, "onMetaData", metadata)
	if len(data) > reserve-15 {
		panic("the reserve is too small")
	}
	data = append(data, make([]byte, reserve-15-len(data))...) // 15: header and size of the tag
	file := flv.AppendHeader(nil, true, true)
	file = flv.AppendTag(file, flv.Tag{Type: flv.TypeScript, Data: data})
	return append(file, body...)
}

// film is a finished recording of a minute, with its MP4.
func film(t *testing.T, s *source, id string) *fakeRecording {
	t.Helper()
	const length = time.Minute
	r := &fakeRecording{
		ID: id, Stream: "live/demo", Begin: time.Date(2026, 11, 28, 17, 5, 0, 0, time.UTC), Duration: length.Seconds(), State: "finished",
		Video: map[string]any{"codec": "H.264", "width": 640, "height": 360}, Audio: map[string]any{"codec": "AAC"},
		flv: s.file(length),
	}
	r.Bytes = len(r.flv)
	r.mp4 = asMP4(t, r.flv)
	return r
}

var (
	mp4Once sync.Once
	mp4Made []byte
)

// asMP4 has ffmpeg write a film as MP4; all films are alike.
func asMP4(t *testing.T, film []byte) []byte {
	t.Helper()
	mp4Once.Do(func() {
		out := filepath.Join(t.TempDir(), "film.mp4")
		cmd := exec.Command("ffmpeg", "-v", "error", "-f", "flv", "-i", "-", "-c", "copy", "-movflags", "+faststart", out)
		cmd.Stdin = bytes.NewReader(film)
		message, err := cmd.CombinedOutput()
		assert.NoError(t, err, string(message))
		mp4Made, err = os.ReadFile(out)
		assert.NoError(t, err)
	})
	require.NotEmpty(t, mp4Made)
	return mp4Made
}

// grow has the recording that is written grow as s goes on.
func (a *recorder) grow(s *source) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.growing = func() time.Duration { return time.Since(s.began) }
	a.media = s.file
}

func (a *recorder) stopGrowing() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.growing = nil
}

// recordIt has what is live recorded, from where the source began.
func (s *source) recordIt(id string) {
	s.recorded.grow(s)
	s.recorded.record(&fakeRecording{
		ID: id, Stream: "live/demo", Begin: s.began.UTC(), State: "recording",
		Video: map[string]any{"codec": "H.264", "width": 640, "height": 360}, Audio: map[string]any{"codec": "AAC"},
	})
}

// What the tests' recorder makes is what programs take.
func TestRecorderMakesPlayableFiles(t *testing.T) {
	if _, err := exec.LookPath("ffprobe"); err != nil {
		leaveOut(t, "ffprobe is missing; apt-get install ffmpeg")
	}
	s := newSource(t, false)
	cmd := exec.Command("ffprobe", "-v", "warning", "-show_entries", "format=duration", "-of", "csv=p=0", "-")
	cmd.Stdin = bytes.NewReader(s.file(30 * time.Second))
	out, err := cmd.CombinedOutput()
	require.NoError(t, err)
	assert.Equal(t, "30.000000\n", string(out))

	s.recorded.record(film(t, s, "a"))
	r := httptest.NewRecorder()
	require.True(t, s.recorded.serve(r, httptest.NewRequest("GET", "/rec/live/demo/a.mp4", nil)))
	assert.Equal(t, 200, r.Code)
}
