//go:build unix

package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/rtmp"
)

// How often TestKilledWhileRecording kills the program can be set from outside, as in
//
//	KILLS=100 go test -run KilledWhileRecording -v ./cmd/sluice
const killsEnv = "KILLS"

// Measures of that test.
const (
	killedFolders = 4 // that are recorded into at the same time
	killedStreams = 4 // in each
	// maxKillLoss is what the end of the process may cost of a stream.
	maxKillLoss = time.Second
)

// The process is killed while it records. At the next start everything is playable that the
// server had had a second before, nothing that stood there before has changed, and nothing is
// left that is not finished.
func TestKilledWhileRecording(t *testing.T) {
	kills := envNumber(t, killsEnv, 12)
	clip := readClip(t, "../../testdata/clips/h264-bframes-aac.flv")
	var folders []*killing
	for range killedFolders {
		folders = append(folders, &killing{dir: t.TempDir(), clip: clip, seen: map[string][sha256.Size]byte{}, files: map[string]int{}})
	}
	for range (kills + killedFolders - 1) / killedFolders {
		for _, k := range folders {
			k.start(t)
		}
		var beginning sync.WaitGroup
		for _, k := range folders {
			k.check(t)
			k.publish(t, &beginning)
		}
		beginning.Wait()
		clock := newStallMeter()
		time.Sleep(time.Duration(rand.IntN(2500)) * time.Millisecond)
		for _, k := range folders {
			k.kill(t)
		}
		stalled := clock.stop()
		for _, k := range folders {
			k.ended(stalled)
		}
	}
	for _, k := range folders {
		k.start(t)
		k.check(t) // what the last process has left
		t.Logf("%d recordings; at most %v of what the server had had was lost", len(k.seen), k.lost)
	}
}

// killing is one folder that one process after the other records into, until it is killed.
type killing struct {
	dir       string
	clip      []flv.Tag
	*launched                 // the present process
	running   sync.WaitGroup  // who publishes to it, and watches
	last      []*killedStream // what is published to it
	at        time.Time       // when it was killed
	files     map[string]int  // by key: how many there are
	seen      map[string][sha256.Size]byte
	lost      time.Duration // at the most
}

// start starts the program, which finishes what the one before has left.
func (k *killing) start(t *testing.T) {
	t.Helper()
	k.launched = launch(t, "SLUICE_RECORD_DIR="+k.dir, "SLUICE_RECORD_MIN_FREE=0", "SLUICE_LOG_LEVEL=warn")
}

// launched is a process that a test ends in its own way.
type launched struct {
	process
	out *output
}

// launch starts the program on free ports. It is killed with the test at the latest.
func launch(t *testing.T, environ ...string) *launched {
	t.Helper()
	p := &launched{process{cmd: command(t, environ...)}, newOutput()}
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	require.NoError(t, p.cmd.Start())
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		p.cmd.Wait()
		if t.Failed() {
			t.Log(p.out)
		}
	})
	return p
}

// serves waits until it serves.
func (p *launched) serves(t *testing.T) {
	t.Helper()
	p.rtmp = p.out.find(t, `rtmp://(127\.0\.0\.1:\d+)/live/NAME\n`)[1]
	p.http = p.out.find(t, `http://(127\.0\.0\.1:\d+)/ in a browser`)[1]
}

// publish publishes to it, until it is killed.
func (k *killing) publish(t *testing.T, beginning *sync.WaitGroup) {
	for i := range killedStreams {
		s := newKilledStream(fmt.Sprintf("live/%d", i), k.clip)
		k.last = append(k.last, s)
		beginning.Add(1)
		p := &k.launched.process
		k.running.Go(func() { s.watch(t, p, sync.OnceFunc(beginning.Done)) })
		k.running.Go(func() { s.publish(t, p) })
	}
}

// kill kills the program.
func (k *killing) kill(t *testing.T) {
	t.Helper()
	k.at = time.Now()
	require.NoError(t, k.cmd.Process.Kill())
}

// ended notes what must be recorded.
func (k *killing) ended(stalled time.Duration) {
	k.running.Wait()
	for _, s := range k.last {
		s.killed(k.at, stalled)
	}
}

// check compares what the process before has left with what it had had, after the next one
// has started.
func (k *killing) check(t *testing.T) {
	t.Helper()
	p := k.launched
	p.serves(t)
	noParts(t, k.dir)
	for _, s := range k.last {
		before := k.files[s.key]
		all := p.finished(t, s.key, before)
		if len(all) == before && s.safe == 0 {
			continue // it was killed before it wrote anything
		}
		require.Len(t, all, before+1, "recordings of %s", s.key)
		k.files[s.key]++
		r := all[before]
		got := framesOf(t, p.download(t, r))
		want := make([]flv.Tag, len(got))
		for i := range got {
			want[i] = s.frame(i)
		}
		sameFrames(t, rebase(want), got, r.URL)
		assert.GreaterOrEqual(t, len(got), s.safe, "%s: frames, of %d that the server had had, the last of them at %d ms; %d ms are recorded",
			r.URL, s.had, s.frame(s.had).Timestamp, s.frame(len(got)).Timestamp)
		k.lost = max(k.lost, time.Duration(s.frame(s.had).Timestamp-s.frame(min(len(got), s.had)).Timestamp)*time.Millisecond)
		if s == k.last[0] { // one is enough
			k.probe(t, s.key, r)
		}
	}
	k.last = nil
	for _, name := range filesIn(t, k.dir) {
		if filepath.Ext(name) != ".flv" {
			continue
		}
		file, err := os.ReadFile(filepath.Join(k.dir, name))
		require.NoError(t, err)
		sum := sha256.Sum256(file)
		if old, known := k.seen[name]; known {
			assert.Equal(t, old, sum, "%s has changed", name)
		}
		k.seen[name] = sum
	}
	require.Len(t, k.seen, len(p.finished(t, "", 0)), "files")
}

// probe has ffprobe read the file, where there is one.
func (k *killing) probe(t *testing.T, key string, r listed) {
	t.Helper()
	if _, err := exec.LookPath("ffprobe"); err != nil {
		return
	}
	path := filepath.Join(k.dir, filepath.FromSlash(key), r.ID+".flv")
	var complaints bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "ffprobe", "-v", "warning", "-show_entries", "format=duration", "-of", "csv=p=0", path)
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	require.NoError(t, err, path)
	assert.Empty(t, complaints.String(), path)
	duration, err := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
	require.NoError(t, err)
	assert.InDelta(t, r.Duration, duration, 0.002, path)
}

// killedStream is a stream that is published until the server is killed: a clip, again and
// again, with times that go on.
type killedStream struct {
	key    string
	header []flv.Tag
	frames []flv.Tag
	sent   chan time.Time // when each frame was sent

	received []time.Time   // when each frame had come out of the server again, for a viewer
	late     time.Duration // how long that took at the most

	safe int // frames that must be in the recording
	had  int // frames that the server had had when it was killed
}

func newKilledStream(key string, clip []flv.Tag) *killedStream {
	s := &killedStream{key: key, sent: make(chan time.Time, 1<<16)}
	for _, tag := range clip {
		if p, err := tag.Packet(); err == nil && tag.Type != flv.TypeScript && p.Kind == flv.KindFrame {
			s.frames = append(s.frames, tag)
		}
		if tag.Timestamp == 0 && len(s.header) < 3 {
			s.header = append(s.header, tag)
		}
	}
	return s
}

// clipPeriod is how long the clip is, in ms.
const clipPeriod = 5100

// frame returns the nth frame of the stream.
func (s *killedStream) frame(n int) flv.Tag {
	tag := s.frames[n%len(s.frames)]
	tag.Timestamp += uint32(n/len(s.frames)) * clipPeriod
	return tag
}

// publish publishes at the stream's pace until the server is gone.
func (s *killedStream) publish(t *testing.T, p *process) {
	var c rtmp.Client
	publisher, err := c.Publish(t.Context(), "rtmp://"+p.rtmp+"/"+s.key)
	if !assert.NoError(t, err) {
		return
	}
	defer publisher.Close()
	for _, tag := range s.header {
		publisher.WriteTag(tag)
	}
	began := time.Now()
	for n := 0; err == nil; n++ {
		tag := s.frame(n)
		time.Sleep(time.Until(began.Add(time.Duration(tag.Timestamp) * time.Millisecond)))
		s.sent <- time.Now()
		err = publisher.WriteTag(tag)
	}
}

// watch notes when the frames come, until the server is gone; begun is called at the first.
func (s *killedStream) watch(t *testing.T, p *process, begun func()) {
	defer begun()
	res, err := http.Get("http://" + p.http + "/" + s.key + ".flv")
	if !assert.NoError(t, err) {
		return
	}
	defer res.Body.Close()
	in := flv.NewReader(res.Body)
	for {
		tag, err := in.Next()
		if err != nil {
			return
		}
		packet, err := tag.Packet()
		if tag.Type == flv.TypeScript || err != nil || packet.Kind != flv.KindFrame {
			continue
		}
		if want := s.frame(len(s.received)); !bytes.Equal(want.Data, tag.Data) {
			assert.Fail(t, "the viewer has got another frame")
			return
		}
		now := time.Now()
		s.received = append(s.received, now)
		s.late = max(s.late, now.Sub(<-s.sent))
		begun()
	}
}

// killed notes what must be recorded.
func (s *killedStream) killed(at time.Time, stalled time.Duration) {
	s.had = len(s.received)
	at = at.Add(-maxKillLoss - max(stalled, s.late))
	s.safe, _ = slices.BinarySearchFunc(s.received, at, time.Time.Compare)
}

// stallMeter measures for how long this machine stands still, as seen from here.
type stallMeter struct {
	done, ended chan struct{}
	worst       time.Duration
}

func newStallMeter() *stallMeter {
	m := &stallMeter{done: make(chan struct{}), ended: make(chan struct{})}
	go func() {
		defer close(m.ended)
		const every = 5 * time.Millisecond
		for last := time.Now(); ; {
			select {
			case <-time.After(every):
			case <-m.done:
				return
			}
			now := time.Now()
			m.worst = max(m.worst, now.Sub(last)-every)
			last = now
		}
	}()
	return m
}

// stop ends it, and returns the longest time.
func (m *stallMeter) stop() time.Duration {
	close(m.done)
	<-m.ended
	return m.worst
}
