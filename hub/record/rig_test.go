package record

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"sluice/flv"
	"sluice/flv/amf"
	"sluice/hub"
	"sluice/hub/archive"
	"sluice/hub/archive/flvfile"
)

// TestMain fails the package if goroutines are left when its tests have ended.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var key = hub.Key{App: "live", Name: "cam"}

// bodies are codec headers: H.264 of 640x360, the same with other parameters, 360x640, and AAC
// of two rates.
var bodies = map[string]string{
	"360p":   "1700000000" + "0142c01effe1000a6742c01eda0280bfe54001000468ce3c01",
	"harm":   "1700000000" + "0142c01effe1000a6742c01eda0280bfe54001000468ce3c02",
	"turned": "1700000000" + "0142c01effe1000a6742c01eda05c147974001000468ce3c01",
	"aac":    "af001210",
	"aac48":  "af001190",
	"aac1":   "95006d703461011210", // of a further track, Enhanced RTMP v2
	"a1":     "95016d70346101ffff",
	"v1":     "a6016176633101000000ff",
}

// words are the tags of tests: K:1 and P:2 are key and inter frames, A:3 is sound, and a
// word of bodies a codec header; @TIME stands behind it.
func tagOf(t testing.TB, word string) flv.Tag {
	word, at, _ := strings.Cut(word, "@")
	name, payload, _ := strings.Cut(word, ":")
	tag := flv.Tag{Type: flv.TypeVideo}
	_, err := fmt.Sscan(at, &tag.Timestamp)
	require.NoError(t, err, word)
	switch name {
	case "K":
		tag.Data = append([]byte{0x17, 1, 0, 0, 0}, payload...)
	case "P":
		tag.Data = append([]byte{0x27, 1, 0, 0, 0}, payload...)
	case "H": // HEVC
		tag.Data = append([]byte{0x1c, 1, 0, 0, 0}, payload...)
	case "hevc":
		tag.Data = append([]byte{0x1c, 0, 0, 0, 0}, "hvcC"...)
	case "A":
		tag.Type, tag.Data = flv.TypeAudio, append([]byte{0xaf, 1}, payload...)
	case "text":
		tag.Type, tag.Data = flv.TypeScript, amf.AppendAMF0(nil, "onTextData", amf.Object{{Name: "text", Value: payload}})
	case "meta":
		tag.Type, tag.Data = flv.TypeScript, amf.AppendAMF0(nil, "onMetaData", amf.ECMAArray{{Name: "encoder", Value: payload}})
	default:
		body, err := hex.DecodeString(bodies[name])
		require.NoError(t, err)
		require.NotEmpty(t, body, name)
		if tag.Data = body; body[0] == 0xaf || body[0] == 0x95 {
			tag.Type = flv.TypeAudio
		}
	}
	return tag
}

// wordOf is the inverse, with a time of choice.
func wordOf(tag flv.Tag, ms int64) string {
	at := fmt.Sprintf("@%d", ms)
	for name, body := range bodies {
		if hex.EncodeToString(tag.Data) == body {
			return name + at
		}
	}
	switch d := tag.Data; {
	case tag.Type == flv.TypeScript && bytes.Contains(d, []byte("onMetaData")):
		return "meta" + at
	case tag.Type == flv.TypeScript:
		return "text:" + string(d[len(d)-5:len(d)-3]) + at
	case tag.Type == flv.TypeAudio:
		return "A:" + string(d[2:]) + at
	case d[1] == 0:
		return "hevc" + at
	default:
		return map[byte]string{0x17: "K", 0x27: "P", 0x1c: "H"}[d[0]] + ":" + strings.TrimRight(string(d[5:]), ".") + at
	}
}

// rig is a hub whose streams are recorded.
type rig struct {
	t    testing.TB
	dir  string
	hub  *hub.Hub
	arc  *archive.Archive
	rec  *Recorder
	log  *logged
	pub  *hub.Publisher
	disk *faultyFS

	mu     sync.Mutex
	events []Event
}

type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// newRig makes a rig, which ends with the test.
func newRig(t testing.TB, change ...func(*Config)) *rig {
	t.Helper()
	return newRigOn(t, archive.Config{}, change...)
}

// newRigOn is newRig with bounds of the archive.
func newRigOn(t testing.TB, kept archive.Config, change ...func(*Config)) *rig {
	t.Helper()
	g := &rig{t: t, dir: t.TempDir(), log: &logged{}}
	root, err := os.OpenRoot(g.dir)
	require.NoError(t, err)
	t.Cleanup(func() { root.Close() })
	g.disk = &faultyFS{FS: flvfile.Root(root)}
	log := slog.New(slog.NewTextHandler(g.log, nil))
	kept.Dir, kept.FS, kept.Logger = g.dir, g.disk, log
	g.arc, err = archive.Open(kept)
	require.NoError(t, err)
	g.hub = hub.New(hub.Config{PublisherGrace: 5 * time.Second, Observe: func(e hub.Event) { g.rec.Observe(e) }})
	cfg := Config{Hub: g.hub, Archive: g.arc, Logger: log, Observe: g.observe}
	for _, c := range change {
		c(&cfg)
	}
	g.rec = New(cfg)
	t.Cleanup(g.close)
	return g
}

func (g *rig) observe(e Event) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.events = append(g.events, e)
}

// story is what the observer was told.
func (g *rig) story() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var words []string
	for _, e := range g.events {
		words = append(words, [...]string{"begun", "finished", "gap"}[e.Kind])
	}
	return strings.Join(words, " ")
}

// close ends everything; calling it again does nothing.
func (g *rig) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if g.pub != nil {
		g.pub.Close()
	}
	assert.NoError(g.t, g.hub.Shutdown(ctx))
	assert.NoError(g.t, g.rec.Close(ctx))
	assert.NoError(g.t, g.arc.Close())
}

// publish begins to publish the stream.
func (g *rig) publish(how string) {
	g.t.Helper()
	session := g.hub.NewSession(hub.RolePublish, key, hub.Client{Protocol: "test", Publishing: how})
	var err error
	g.pub, err = g.hub.Publish(session, hub.PublishOptions{})
	require.NoError(g.t, err)
}

// send publishes words, each when its time has come.
func (g *rig) send(words string) {
	g.t.Helper()
	for word := range strings.FieldsSeq(words) {
		g.sendTag(tagOf(g.t, word))
	}
}

func (g *rig) sendTag(tag flv.Tag) {
	g.t.Helper()
	require.NoError(g.t, g.pub.Write(tag))
}

// film publishes GOPs of a second, of ten pictures and ten packets of sound, from a time on, in
// real time. It returns what was published.
func (g *rig) film(from, seconds int) (words []string) {
	g.t.Helper()
	for ms := from; ms < from+1000*seconds; ms += 100 {
		kind := "P"
		if ms%1000 == 0 {
			kind = "K"
		}
		pair := fmt.Sprintf("%s:%d@%d A:%d@%d", kind, ms, ms, ms, ms)
		g.send(pair)
		words = append(words, strings.Fields(pair)...)
		time.Sleep(100 * time.Millisecond)
	}
	return words
}

// recordings returns the recordings of the stream, the oldest first.
func (g *rig) recordings() []archive.Recording {
	g.t.Helper()
	all, _, err := g.arc.Recordings(key, "", 1000)
	require.NoError(g.t, err)
	for i, j := 0, len(all)-1; i < j; i, j = i+1, j-1 {
		all[i], all[j] = all[j], all[i]
	}
	return all
}

// read returns the packets of a recording in words, without metadata.
func (g *rig) read(id string) []string {
	g.t.Helper()
	f, _, err := g.arc.Open(key, id)
	require.NoError(g.t, err)
	defer f.Close()
	c := f.Cursor()
	headers, err := c.Headers()
	require.NoError(g.t, err)
	var words []string
	for _, h := range headers {
		if h.Type != flv.TypeScript {
			words = append(words, wordOf(h.Tag, h.Time))
		}
	}
	for {
		p, err := c.Next()
		if errors.Is(err, io.EOF) || errors.Is(err, flvfile.ErrNotYet) {
			return words
		}
		require.NoError(g.t, err)
		words = append(words, wordOf(p.Tag, p.Time))
	}
}

// frames leaves codec headers out.
func frames(words []string) (out []string) {
	for _, w := range words {
		name, _, _ := strings.Cut(w, "@")
		if _, header := bodies[name]; !header && name != "hevc" && name != "meta" {
			out = append(out, w)
		}
	}
	return out
}

// names leaves the times out.
func names(words []string) (out []string) {
	for _, w := range words {
		name, _, _ := strings.Cut(w, "@")
		out = append(out, name)
	}
	return out
}

// faultyFS is a file system whose files fail or hang when told to.
type faultyFS struct {
	flvfile.FS
	mu      sync.Mutex
	fails   error         // of writes and of creating
	partial int           // bytes that are written all the same
	hangs   chan struct{} // writes wait for its end
	writing int           // how many do
	most    int
	calls   int
	open    int // handles
}

func (f *faultyFS) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *faultyFS) OpenFile(name string, flag int, perm os.FileMode) (flvfile.Handle, error) {
	f.mu.Lock()
	fails := f.fails
	f.mu.Unlock()
	if fails != nil && flag&os.O_CREATE != 0 {
		return nil, &os.PathError{Op: "open", Path: filepath.Base(name), Err: fails}
	}
	h, err := f.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	f.set(func() { f.open++ })
	return &faultyFile{h, f}, nil
}

type faultyFile struct {
	flvfile.Handle
	fs *faultyFS
}

func (f *faultyFile) Close() error {
	f.fs.set(func() { f.fs.open-- })
	return f.Handle.Close()
}

func (f *faultyFile) WriteAt(p []byte, at int64) (int, error) {
	fs := f.fs
	fs.mu.Lock()
	fails, partial, hangs := fs.fails, fs.partial, fs.hangs
	fs.calls++
	fs.writing++
	fs.most = max(fs.most, fs.writing)
	fs.mu.Unlock()
	defer fs.set(func() { fs.writing-- })
	if hangs != nil {
		<-hangs
	}
	if fails != nil {
		n, _ := f.Handle.WriteAt(p[:min(partial, len(p))], at)
		return n, &os.PathError{Op: "write", Path: "file", Err: fails}
	}
	return f.Handle.WriteAt(p, at)
}

// same compares words, and shows where they differ.
func same(t testing.TB, want, got []string, message string) {
	t.Helper()
	at := 0
	for at < len(want) && at < len(got) && want[at] == got[at] {
		at++
	}
	if at < len(want) || at < len(got) {
		from := max(0, at-3)
		t.Errorf("%s: %d words instead of %d; from word %d on %v instead of %v", message, len(got), len(want), from,
			got[min(from, len(got)):min(at+5, len(got))], want[min(from, len(want)):min(at+5, len(want))])
	}
}
