package check

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"sluice/flv"
)

// Bounds of looking at a recording.
const (
	maxList      = 1 << 20 // bytes of the list
	listed       = 20      // recordings in it
	maxRecording = 4 << 20 // bytes that are read of one
	readSeconds  = 3       // of it that are read
)

// recorded is a recording as Sluice's API lists it.
type recorded struct {
	Stream, ID, State, URL string
}

// watchRecordings looks at the recordings of each server that answers over HTTP.
func (t *tester) watchRecordings(ctx context.Context, ways []way, r *report) {
	if ctx.Err() != nil || slices.Contains(t.skip, "recording") {
		return
	}
	silent := func(w *way) bool {
		return slices.ContainsFunc(r.Outputs, func(row *row) bool {
			return row.URL == w.shown && !row.NotTried && row.trace.commanded.IsZero()
		})
	}
	rows, notes := make([]*row, len(ways)), make([]string, len(ways))
	var watching sync.WaitGroup
	for i := range ways {
		if w := &ways[i]; (w.protocol == "http" || w.protocol == "https") && !silent(w) {
			watching.Go(func() { rows[i], notes[i] = t.recording(ctx, w) })
		}
	}
	watching.Wait()
	for i := range ways {
		if rows[i] != nil {
			r.Outputs = append(r.Outputs, rows[i])
		}
		if notes[i] != "" {
			r.Notes = append(r.Notes, notes[i])
		}
	}
}

// recording looks at the recordings of a server that lists some (GET /api/v1/recordings): the newest
// finished one is read from its beginning, and by a range. Those of a test are never recorded. A
// server without a list, or with an empty one, has no row.
func (t *tester) recording(ctx context.Context, w *way) (r *row, note string) {
	ctx, cancel := context.WithTimeout(ctx, t.times.open)
	defer cancel()
	client := t.httpClient(w)
	defer client.CloseIdleConnections()
	one, private := t.newest(ctx, client, w)
	switch {
	case private:
		return nil, w.shown + " lists its recordings to nobody, so that none was looked at"
	case one == nil:
		return nil, ""
	}
	r = &row{Protocol: "recording", URL: w.shown, trace: trace{began: time.Now()}}
	path := one.URL
	if q := query("key", t.watchKey, "token", t.watchToken); q != "" {
		path += "?" + q
	}
	if err := readRecording(ctx, client, w.shown+path, r); err != nil {
		r.fail(t.recordingFault(ctx, one, err))
		return r, ""
	}
	r.OK = true
	return r, ""
}

// httpClient returns a client of a way.
func (t *tester) httpClient(w *way) *http.Client {
	transport := &http.Transport{TLSClientConfig: t.tlsConfig(w), DisableCompression: true, MaxResponseHeaderBytes: maxHead}
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// newest returns the newest finished recording that is listed, nil if there is none.
func (t *tester) newest(ctx context.Context, client *http.Client, w *way) (one *recorded, private bool) {
	address := fmt.Sprintf("%s/api/v1/recordings?limit=%d", w.shown, listed)
	if q := query("key", t.watchKey, "token", t.watchToken); q != "" {
		address += "&" + q
	}
	answer, err := get(ctx, client, address, "")
	if err != nil {
		return nil, false
	}
	defer answer.Body.Close()
	var list struct {
		Recordings []recorded
		Private    bool
	}
	if answer.StatusCode != http.StatusOK || json.NewDecoder(io.LimitReader(answer.Body, maxList)).Decode(&list) != nil {
		return nil, false
	}
	i := slices.IndexFunc(list.Recordings, func(r recorded) bool { return r.State == "finished" && strings.HasPrefix(r.URL, "/") })
	if i < 0 {
		return nil, list.Private
	}
	return &list.Recordings[i], false
}

func get(ctx context.Context, client *http.Client, address, ranged string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("User-Agent", agent)
	if ranged != "" {
		request.Header.Set("Range", ranged)
	}
	return client.Do(request)
}

// Errors of recordings.
var (
	errRange      = errors.New("a range of it is not answered as one")
	errNoKeyFrame = errors.New("its video does not begin with a codec header and a key frame")
	errGoesBack   = errors.New("its timestamps go back")
	errEmpty      = errors.New("there is no frame in it")
)

// readRecording reads the beginning of a recording, and fills in its row.
func readRecording(ctx context.Context, client *http.Client, address string, r *row) error {
	answer, err := get(ctx, client, address, "")
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	r.trace.commanded = time.Now()
	if answer.StatusCode != http.StatusOK {
		return &answerError{status: answer.StatusCode}
	}
	c := &recordedTags{trace: &r.trace}
	first := &firstByte{r: io.LimitReader(answer.Body, maxRecording), trace: &r.trace}
	reader := flv.NewReader(bufio.NewReaderSize(first, bodyBuffer))
	for !c.enough() {
		tag, err := reader.Next()
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) && c.count() > 0 { // also at maxRecording
			break
		}
		if err != nil {
			return err
		}
		if err := c.take(tag); err != nil {
			return err
		}
	}
	if r.Frames = &c.frames; c.count() == 0 {
		return errEmpty
	}
	ranged, err := get(ctx, client, address, "bytes=0-2")
	if err != nil {
		return err
	}
	defer ranged.Body.Close()
	start, _ := io.ReadAll(io.LimitReader(ranged.Body, 4))
	if ranged.StatusCode != http.StatusPartialContent || string(start) != "FLV" {
		return errRange
	}
	return nil
}

// recordedTags looks at the tags of a recording.
type recordedTags struct {
	frames frames
	trace  *trace
	config bool // of the video
	begun  bool
	last   [bothTracks]uint32
}

func (c *recordedTags) count() int { return c.frames.Video + c.frames.Audio }

// enough reports whether there is a picture, and so many seconds were read.
func (c *recordedTags) enough() bool {
	return c.count() > 0 && max(c.last[trackAudio], c.last[trackVideo]) > readSeconds*1000
}

func (c *recordedTags) take(tag flv.Tag) error {
	track, count := trackVideo, &c.frames.Video
	if tag.Type == flv.TypeAudio {
		track, count = trackAudio, &c.frames.Audio
	} else if tag.Type != flv.TypeVideo {
		return nil
	}
	p, err := tag.Packet()
	if err != nil {
		return err
	}
	if track == trackVideo && p.Kind == flv.KindConfig {
		c.config = true
	}
	if p.Kind != flv.KindFrame {
		return nil
	}
	if track == trackVideo && !c.begun {
		if !c.config || !p.Key {
			return errNoKeyFrame
		}
		c.begun = true
		c.trace.picture = time.Now()
	}
	if tag.Timestamp < c.last[track] {
		return errGoesBack
	}
	c.last[track] = tag.Timestamp
	*count++
	return nil
}

// recordingFault returns what is wrong with a recording.
func (t *tester) recordingFault(ctx context.Context, one *recorded, err error) fault {
	name := printable(one.Stream + "/" + one.ID)
	var answer *answerError
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return interrupted
	case errors.As(err, &answer) && (answer.status == 401 || answer.status == 403):
		return faultf("denied-watch", "the recording %s is listed, and may not be watched (HTTP status %d): look at %s", name, answer.status, permissions(false))
	case errors.As(err, &answer):
		return faultf("recording", "the recording %s is listed, and not there (HTTP status %d): look at the folder of recordings, and at a proxy's paths", name, answer.status)
	case isTimeout(err):
		return faultf("recording", "the recording %s does not come in %v: look at the disk, and at a proxy in front", name, t.times.open)
	case errors.Is(err, errRange):
		return faultf("recording", "of the recording %s %v, so that players cannot seek: look at a proxy in front, which has to pass on Range", name, errRange)
	}
	return faultf("recording", "the recording %s is not whole (%s): look at the file and the disk", name, t.clean(last(err).Error()))
}
